//! Volumes against a simulated pool.

mod both;
mod passes;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use nubium_api::{
    ConditionStatus, DeletionPolicy, HostPool, Image, Quantity, UnavailablePool, Volume, VolumeSpec, VolumeStatus,
    condition,
};
use nubium_host::storage::image::Rules;
use nubium_host::storage::{DirectoryPools, FileName, FileOwner, PoolConfig, PoolSpec, Pools, Space, VolumeError};
use nubium_testkit::storage::{SimPools, SimVolumes, Verb, full};

use super::*;

const MIB: u64 = 1 << 20;
const IMAGE_SIZE: u64 = 8 * MIB;

fn image_file() -> FileName {
    FileName::new("shop", "debian-12", "5f0e").unwrap()
}

fn image() -> Image {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "nubium.dev/v1alpha1", "kind": "Image",
        "metadata": {"name": "debian-12", "namespace": "shop", "uid": "5f0e"},
        "spec": {"source": {"file": {"path": "disk.img"}}},
    }))
    .unwrap()
}

#[tokio::test]
async fn an_image_that_is_being_deleted_serves_only_who_came_before() {
    let at = |second: i64| Some(Time(Timestamp::from_second(second).unwrap()));
    let pools = SimPools::new();
    pools.put_image(image_file(), IMAGE_SIZE);
    let mut image = image();
    image.metadata.deletion_timestamp = at(100);
    let mut volume = volume(Some("debian-12"), Some("16Mi"));
    volume.metadata.creation_timestamp = at(101);
    let late = desired::desired(&volume, Presence::Present, Some(&image)).unwrap();
    let looked = pass(&pools, &late).await;
    assert_eq!(told(&late, &looked, "Provisioned").unwrap().1, "ImageTerminating");
    assert!(!exists(&pools.volumes()).await);
    volume.metadata.creation_timestamp = at(100);
    let before = desired::desired(&volume, Presence::Present, Some(&image)).unwrap();
    pass(&pools, &before).await.unwrap();
    assert!(exists(&pools.volumes()).await);
}

fn file() -> FileName {
    FileName::new("shop", "web-1-root", "77aa").unwrap()
}

fn pool_spec() -> PoolSpec {
    PoolSpec { name: "default".into(), uid: "0d1e".into(), config: PoolConfig::Directory { folder: None } }
}

fn volume(image: Option<&str>, size: Option<&str>) -> Volume {
    let spec = VolumeSpec {
        size: size.map(|size| Quantity(size.into())),
        image: image.map(Into::into),
        pool: None,
        deletion_policy: None,
        made_for: None,
    };
    let mut volume = Volume::new("web-1-root", spec);
    volume.metadata.namespace = Some("shop".into());
    volume.metadata.uid = Some("77aa".into());
    volume.metadata.generation = Some(3);
    volume
}

fn want(volume: &Volume, presence: Presence) -> Desired {
    let image = volume.spec.image.as_ref().map(|_| image());
    desired::desired(volume, presence, image.as_ref()).unwrap()
}

async fn pass(pools: &SimPools, want: &Desired) -> Looked {
    converge(want, &pools.open(&pool_spec()).await.unwrap()).await
}

/// The word and the reason of a condition that a pass tells.
fn told(want: &Desired, looked: &Looked, type_: &str) -> Option<(ConditionStatus, String)> {
    let status = status(want, looked, None, Some(3));
    let found = condition(&status.conditions, type_)?;
    assert_eq!(found.observed_generation, Some(3));
    Some((found.status, found.reason.clone()))
}

async fn exists(volumes: &SimVolumes) -> bool {
    volumes.list().await.unwrap().contains(&file())
}

#[tokio::test]
async fn reaches_the_desired_state_from_every_state() {
    let all = [Presence::Present, Presence::Keep, Presence::Gone { retain: false }, Presence::Gone { retain: true }];
    for image in [None, Some("debian-12")] {
        for presence in all {
            for (there, made, image_there) in (0..8).map(|bits| (bits & 1 > 0, bits & 2 > 0, bits & 4 > 0)) {
                let case = format!(
                    "image {image:?}, {presence:?}, file {there}, made before {made}, image there {image_there}"
                );
                let pools = SimPools::new();
                if there {
                    pools.put_volume(file(), 16 * MIB, image.map(|_| image_file()));
                }
                if image_there {
                    pools.put_image(image_file(), IMAGE_SIZE);
                }
                let mut object = volume(image, Some("16Mi"));
                if made {
                    let capacity = Some(Quantity("16Mi".into()));
                    object.status = Some(VolumeStatus { capacity, ..VolumeStatus::default() });
                }
                let want = want(&object, presence);
                let looked = pass(&pools, &want).await;
                let can_make = !made && (image.is_none() || image_there);
                let expected = match presence {
                    Presence::Present => there || can_make,
                    Presence::Keep | Presence::Gone { retain: true } => there,
                    Presence::Gone { retain: false } => false,
                };
                assert_eq!(exists(&pools.volumes()).await, expected, "{case}");
                let provisioned = told(&want, &looked, "Provisioned").unwrap().0;
                assert_eq!(provisioned == ConditionStatus::True, expected, "{case}");
                let released = told(&want, &looked, "Released").map(|(word, _)| word);
                assert_eq!(
                    released,
                    matches!(presence, Presence::Gone { .. }).then_some(ConditionStatus::True),
                    "{case}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_clone_tells_its_size_its_format_and_what_it_depends_on() {
    let pools = SimPools::new();
    let want = want(&volume(Some("debian-12"), None), Presence::Present);
    let looked = pass(&pools, &want).await;
    assert_eq!(told(&want, &looked, "Provisioned"), Some((ConditionStatus::False, "WaitingForImage".into())));
    pools.put_image(image_file(), IMAGE_SIZE);
    let status = status(&want, &pass(&pools, &want).await, None, Some(3));
    assert_eq!(status.capacity, Some(Quantity("8Mi".into())));
    assert_eq!((status.format.as_deref(), status.image_uid.as_deref()), (Some("qcow2"), Some("5f0e")));
}

#[tokio::test]
async fn a_disk_that_is_lost_is_never_replaced_by_an_empty_one() {
    let pools = SimPools::new();
    let mut object = volume(None, Some("16Mi"));
    let made = status(
        &want(&object, Presence::Present),
        &pass(&pools, &want(&object, Presence::Present)).await,
        None,
        Some(3),
    );
    object.status = Some(made);
    pools.lose_volume(&file());
    let want = want(&object, Presence::Present);
    let looked = pass(&pools, &want).await;
    assert_eq!(told(&want, &looked, "Provisioned"), Some((ConditionStatus::False, "Lost".into())));
    assert!(!exists(&pools.volumes()).await);
    let status = status(&want, &looked, object.status.as_ref(), Some(3));
    assert_eq!(status.capacity, Some(Quantity("16Mi".into())), "what was recorded stays");
}

#[tokio::test]
async fn a_failed_step_is_reported_and_the_next_pass_finishes() {
    let pools = SimPools::new();
    let object = volume(None, Some("16Mi"));
    let (present, gone) = (want(&object, Presence::Present), want(&object, Presence::Gone { retain: false }));
    let slow = || VolumeError::Slow { pool: "/simulated".into(), deadline: Duration::from_secs(30) };
    pools.fail_next(Verb::Create, full());
    let looked = pass(&pools, &present).await;
    assert_eq!(told(&present, &looked, "Provisioned"), Some((ConditionStatus::False, "NoSpace".into())));
    assert!(pass(&pools, &present).await.unwrap().volume.is_some());
    for verb in [Verb::Look, Verb::Delete] {
        pools.fail_next(verb, slow());
        let looked = pass(&pools, &gone).await;
        assert_eq!(told(&gone, &looked, "Released"), Some((ConditionStatus::Unknown, "PoolFailed".into())), "{verb:?}");
        assert!(exists(&pools.volumes()).await);
    }
    let looked = pass(&pools, &gone).await;
    assert_eq!(told(&gone, &looked, "Released"), Some((ConditionStatus::True, "Released".into())));
}

#[tokio::test]
async fn what_a_running_server_has_open_is_not_released() {
    let pools = SimPools::new();
    pools.put_volume(file(), 16 * MIB, None);
    pools.set_in_use(&file(), true);
    for retain in [false, true] {
        let gone = want(&volume(None, Some("16Mi")), Presence::Gone { retain });
        let looked = pass(&pools, &gone).await;
        assert_eq!(told(&gone, &looked, "Released"), Some((ConditionStatus::False, "InUse".into())));
        assert_eq!(told(&gone, &looked, "Provisioned").unwrap().0, ConditionStatus::True);
    }
    assert!(exists(&pools.volumes()).await);
}

#[tokio::test]
async fn a_disk_smaller_than_its_image_says_how_large_it_must_be() {
    let pools = SimPools::new();
    pools.put_image(image_file(), IMAGE_SIZE);
    let want = want(&volume(Some("debian-12"), Some("4Mi")), Presence::Present);
    let looked = pass(&pools, &want).await;
    let status = status(&want, &looked, None, Some(3));
    let found = condition(&status.conditions, "Provisioned").unwrap();
    assert_eq!(found.reason, "SmallerThanImage");
    let needed = nubium_api::Quantity::from_bytes(IMAGE_SIZE);
    assert_eq!(
        found.message,
        format!("a disk of 4Mi cannot hold its image of {needed}: make one of at least {needed}")
    );
}

#[tokio::test]
async fn a_file_of_that_name_that_is_another_disk_is_left_alone() {
    let pools = SimPools::new();
    pools.put_image(image_file(), IMAGE_SIZE);
    pools.put_volume(file(), 32 * MIB, None);
    let want = want(&volume(Some("debian-12"), Some("16Mi")), Presence::Present);
    pass(&pools, &want).await.unwrap();
    let seen = pools.volumes().look(&file()).await.unwrap().unwrap();
    assert_eq!((seen.size, seen.image), (32 * MIB, None));
}

#[test]
fn a_missing_image_is_named() {
    let want = desired::desired(&volume(Some("debian-12"), None), Presence::Present, None).unwrap();
    let looked = Ok(Seen { volume: None, image: None });
    assert_eq!(told(&want, &looked, "Provisioned"), Some((ConditionStatus::False, "ImageNotFound".into())));
}

#[test]
fn a_volume_that_was_never_made_is_released_without_a_look() {
    let gone = Presence::Gone { retain: false };
    let word = |status: VolumeStatus| condition(&status.conditions, "Released").map(|found| found.status);
    assert_eq!(word(status::not_looked(gone, None, "PoolNotFound", "no".into(), Some(3))), Some(ConditionStatus::True));
    let made = VolumeStatus { capacity: Some(Quantity("1Gi".into())), ..VolumeStatus::default() };
    assert_eq!(
        word(status::not_looked(gone, Some(&made), "PoolNotFound", "no".into(), Some(3))),
        Some(ConditionStatus::Unknown)
    );
    assert_eq!(word(status::not_looked(Presence::Present, None, "PoolNotFound", "no".into(), Some(3))), None);
}

#[test]
fn the_desired_state_is_read_from_the_object() {
    assert_eq!(want(&volume(None, Some("1000")), Presence::Present).size, Some(1024));
    let mut retained = volume(None, Some("1Gi"));
    assert!(!desired::retains(&retained));
    retained.spec.deletion_policy = Some(DeletionPolicy::Retain);
    assert!(desired::retains(&retained));
    assert_eq!(desired::desired(&volume(None, None), Presence::Present, None), Err(Invalid::NoSize));
}

#[tokio::test]
async fn room_is_told_in_steps() {
    let pools = SimPools::new();
    pools.set_space(Space { capacity: 10 << 30, available: (1 << 30) - 1 });
    let directory = nubium_api::DirectoryPool { path: None };
    let pool = nubium_api::StoragePool::new("default", nubium_api::StoragePoolSpec { directory });
    let [mut made, mut other, waiting] = [(); 3].map(|()| volume(None, Some("1Ti")));
    let capacity = |size: &str| Some(VolumeStatus { capacity: Some(Quantity(size.into())), ..VolumeStatus::default() });
    (made.status, other.status, other.spec.pool) = (capacity("20Gi"), capacity("1Gi"), Some("fast".into()));
    let volumes = [made.clone(), made, other, waiting].map(Arc::new);
    let Room { pools: told, unavailable } = report(&[pool.into()], &volumes, &pools).await;
    let quantity = |text: &str| Quantity(text.into());
    let (name, promised) = ("default".to_owned(), Some(quantity("40Gi")));
    assert_eq!(told, [HostPool { name, capacity: quantity("10Gi"), free: quantity("960Mi"), promised }]);
    assert_eq!(unavailable, []);
}

#[tokio::test]
async fn a_pool_that_cannot_be_opened_is_told_and_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("somebody-else-s"), "").unwrap();
    std::fs::create_dir(folder.path().join("pools")).unwrap();
    let owner = FileOwner { uid: 64055, gid: 64055 };
    let allowed = vec![folder.path().to_owned()];
    let storage = DirectoryPools::new(folder.path().join("pools"), allowed, owner, Rules::default()).unwrap();
    let pool = |name: &str, path: Option<String>| {
        let directory = nubium_api::DirectoryPool { path };
        let mut pool = nubium_api::StoragePool::new(name, nubium_api::StoragePoolSpec { directory });
        pool.metadata.uid = Some(format!("uid-of-{name}"));
        Arc::new(pool)
    };
    let path = foreign.to_str().unwrap().to_owned();
    let Room { pools, unavailable } = report(&[pool("fast", Some(path)), pool("default", None)], &[], &storage).await;
    assert_eq!(pools.iter().map(|pool| pool.name.as_str()).collect::<Vec<_>>(), ["default"]);
    let [UnavailablePool { name, reason, message }] = unavailable.as_slice() else { panic!("{unavailable:?}") };
    assert_eq!((name.as_str(), reason.as_str()), ("fast", "PoolRefused"));
    assert!(message.contains("is not empty"), "{message}");
}
