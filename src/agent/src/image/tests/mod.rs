//! Images against a simulated pool: what is asserted is the pool and the words people read.

mod passes;
mod turns;

use std::time::Duration;

use nubium_api::{FileSource, HttpSource, Image, ImageHost, ImageSource, ImageSpec};
use nubium_host::storage::Refused;
use nubium_host::storage::image::Progress;
use nubium_host::storage::{FileName, VolumeError};
use nubium_runtime::{Key, Queue};
use nubium_testkit::storage::{SimPools, SimSource, Verb, full};

use super::*;

const SIZE: u64 = 8 << 20;
const POOL: &str = "default";
const PATH: &str = "debian.qcow2";
const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

struct World {
    pools: SimPools,
    imports: Imports,
    queue: Queue<Key>,
}

impl World {
    fn new() -> Self {
        let queue = Queue::new();
        Self { pools: SimPools::new(), imports: Imports::new(queue.clone()), queue }
    }

    async fn pass(&self, want: &Desired) -> Looked {
        converge(want, POOL, &self.pools.images(), &self.imports).await
    }

    /// Passes, with the time between them that each asks for, until `reason` is told.
    async fn until(&self, want: &Desired, reason: &str) -> ImageHost {
        for _ in 0..200 {
            let told = entry(want, &self.pass(want).await);
            if told.reason.as_deref() == Some(reason) {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("{reason} was never told, but {:?}", entry(want, &self.pass(want).await));
    }
}

fn file() -> FileName {
    FileName::new("shop", "debian-12", "5f0e").unwrap()
}

fn image(checksum: bool) -> Image {
    let source = ImageSource { http: None, file: Some(FileSource { path: PATH.into() }) };
    let checksum = checksum.then(|| nubium_api::Checksum { sha256: Some(SHA256.into()), sha512: None });
    let mut image = Image::new("debian-12", ImageSpec { source, checksum, default_user: None });
    image.metadata.namespace = Some("shop".into());
    image.metadata.uid = Some("5f0e".into());
    image.metadata.finalizers = Some(vec!["nubium.dev/image".into()]);
    image
}

fn want(presence: Presence) -> Desired {
    desired::desired(&image(true), presence).unwrap()
}

#[tokio::test(start_paused = true)]
async fn reaches_the_desired_state_from_every_state() {
    for presence in [Presence::Present, Presence::Keep, Presence::Gone] {
        for there in [false, true] {
            for import in ["idle", "running", "failed", "unsafe"] {
                let case = format!("{presence:?}, file {there}, import {import}");
                let world = World::new();
                world.pools.put_source(PATH, SimSource::Slow { virtual_size: SIZE });
                match import {
                    "running" => drop(world.until(&want(Presence::Present), "Downloading").await),
                    "failed" => {
                        world.pools.fail_next(Verb::Import, full());
                        world.until(&want(Presence::Present), "ImportFailed").await;
                    }
                    "unsafe" => world.imports.recall_unsafe(POOL, &file(), "verdict".into()),
                    _ => {}
                }
                if there {
                    world.pools.put_image(file(), SIZE);
                }
                for _ in 0..10 {
                    world.pass(&want(presence)).await.unwrap();
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    world.pools.arrive();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let fetched = presence == Presence::Present && import != "unsafe"
                    || presence == Presence::Keep && import == "running";
                let expected = presence != Presence::Gone && (there || fetched);
                assert_eq!(world.pools.has_image(&file()), expected, "{case}");
                let told = entry(&want(presence), &world.pass(&want(presence)).await);
                assert_eq!(told.ready, Some(expected), "{case}: {told:?}");
                assert_eq!(told.released, (presence == Presence::Gone).then_some(true), "{case}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_can_get_better_is_tried_again_and_said_meanwhile() {
    let world = World::new();
    let told = world.until(&want(Presence::Present), "NotFound").await;
    assert!(told.message.unwrap().contains(PATH));
    world.pools.put_source(PATH, SimSource::WrongChecksum);
    let told = world.until(&want(Presence::Present), "ChecksumMismatch").await;
    assert!(told.message.unwrap().contains(SHA256));
    world.pools.put_source(PATH, SimSource::Good { virtual_size: SIZE });
    let told = world.until(&want(Presence::Present), "Imported").await;
    assert_eq!((told.ready, told.virtual_size), (Some(true), Some(SIZE as i64)));
    assert!(!world.queue.is_empty(), "an import that ends wakes its image");
}

#[tokio::test(start_paused = true)]
async fn a_try_again_does_not_make_the_words_flicker() {
    let world = World::new();
    world.until(&want(Presence::Present), "NotFound").await;
    for _ in 0..300 {
        let told = entry(&want(Presence::Present), &world.pass(&want(Presence::Present)).await);
        assert_eq!(told.reason.as_deref(), Some("NotFound"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn tries_become_rare() {
    let world = World::new();
    let mut waits = Vec::new();
    for _ in 0..10 {
        world.until(&want(Presence::Present), "NotFound").await;
        tokio::task::yield_now().await;
        let Ok(Seen { import: Import::Failed { wait, .. }, .. }) = world.pass(&want(Presence::Present)).await else {
            continue;
        };
        waits.push(wait.as_secs());
        tokio::time::sleep(wait).await;
        world.pass(&want(Presence::Present)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(waits.is_sorted() && waits.last().is_some_and(|last| (59..=60).contains(last)), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn verified_bytes_that_are_unsafe_end_it() {
    let world = World::new();
    world.pools.put_source(PATH, SimSource::Refused(Refused::BackingFile("/etc/shadow".into())));
    let told = world.until(&want(Presence::Present), "UnsafeImage").await;
    assert!(told.message.unwrap().contains("/etc/shadow"));
    world.pools.put_source(PATH, SimSource::Good { virtual_size: SIZE });
    tokio::time::sleep(Duration::from_secs(600)).await;
    let told = entry(&want(Presence::Present), &world.pass(&want(Presence::Present)).await);
    assert_eq!((told.reason.as_deref(), told.ready), (Some("UnsafeImage"), Some(false)));

    let world = World::new();
    world.pools.put_source(PATH, SimSource::Refused(Refused::TooLarge { size: 2, limit: 1 }));
    world.until(&want(Presence::Present), "SourceRefused").await; // this host's limit, which its admin can raise

    let unverified = desired::desired(&image(false), Presence::Present).unwrap();
    let world = World::new();
    world.pools.put_source(PATH, SimSource::Refused(Refused::Empty));
    world.until(&unverified, "NotAnImage").await;
    world.pools.put_source(PATH, SimSource::Good { virtual_size: SIZE });
    world.until(&unverified, "Imported").await;
}

#[tokio::test(start_paused = true)]
async fn a_long_download_tells_how_far_it_is_and_blocks_nobody() {
    let world = World::new();
    world.pools.put_source(PATH, SimSource::Slow { virtual_size: SIZE });
    world.pass(&want(Presence::Present)).await.unwrap();
    tokio::task::yield_now().await;
    let told = entry(&want(Presence::Present), &world.pass(&want(Presence::Present)).await);
    assert_eq!(told.fetched_bytes, None, "progress is looked at every two seconds");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let told = entry(&want(Presence::Present), &world.pass(&want(Presence::Present)).await);
    assert_eq!((told.fetched_bytes, told.total_bytes), (Some(SIZE as i64 / 2), Some(SIZE as i64)));
    assert_eq!(told.message.as_deref(), Some("50% fetched"));

    let mut other = image(true);
    other.metadata.name = Some("other".into());
    other.spec.source = ImageSource { http: Some(HttpSource { url: "http://x/y".into() }), file: None };
    let other = desired::desired(&other, Presence::Present).unwrap();
    world.pools.put_source("http://x/y", SimSource::Good { virtual_size: SIZE });
    world.until(&other, "Imported").await;
    assert!(!world.pools.has_image(&file()));
}

#[tokio::test]
async fn an_image_that_something_is_a_clone_of_stays() {
    let world = World::new();
    world.pools.put_image(file(), SIZE);
    let clone = FileName::new("shop", "web-1-root", "77aa").unwrap();
    world.pools.put_volume(clone, SIZE, Some(file()));
    let told = entry(&want(Presence::Gone), &world.pass(&want(Presence::Gone)).await);
    assert_eq!((told.reason.as_deref(), told.released), (Some("InUse"), None));
    assert!(told.message.unwrap().contains("web-1-root"));
    assert!(world.pools.has_image(&file()));
}

#[tokio::test]
async fn a_look_that_fails_is_never_an_absence() {
    let world = World::new();
    world.pools.put_image(file(), SIZE);
    let slow = || VolumeError::Slow { pool: "/simulated".into(), deadline: Duration::from_secs(30) };
    for presence in [Presence::Present, Presence::Gone] {
        world.pools.fail_next(Verb::Look, slow());
        let told = entry(&want(presence), &world.pass(&want(presence)).await);
        assert_eq!((told.ready, told.released, told.reason.as_deref()), (None, None, Some("PoolFailed")));
    }
    assert!(world.pools.has_image(&file()));
}

#[test]
fn progress_is_told_in_words() {
    let seen = |progress| Ok(Seen { file: None, import: Import::Running { progress, waits: None, last: None } });
    let told = |progress| entry(&want(Presence::Present), &seen(progress)).message.unwrap();
    assert_eq!(told(Progress::Downloading { done: 3 << 20, total: None }), "3 MiB fetched");
    assert_eq!(told(Progress::Downloading { done: 1, total: Some(0) }), "0 MiB fetched");
    assert_eq!(told(Progress::Converting { percent: 42 }), "42% converted");
}

#[test]
fn an_image_without_exactly_one_source_and_checksum_is_invalid() {
    let mut two = image(true);
    two.spec.source.http = Some(HttpSource { url: "http://x/".into() });
    assert_eq!(desired::desired(&two, Presence::Present), Err(Invalid::Source));
    let mut none = image(true);
    none.spec.checksum = Some(nubium_api::Checksum { sha256: None, sha512: None });
    assert_eq!(desired::desired(&none, Presence::Present), Err(Invalid::Checksums));
}
