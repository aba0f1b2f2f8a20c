//! Imports into a real pool: from files, and from a server of the test's own on loopback.

mod bad;
mod from_http;
mod server;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::*;
use crate::storage::sandbox::Sandbox;
use crate::storage::{Claim, DirectoryPool, FileOwner, Volumes};

const OWNER: FileOwner = FileOwner { uid: 64055, gid: 64055 };
const MIB: usize = 1 << 20;

/// A pool, a folder of allowed sources beside it, and an importer between them.
struct World {
    folder: tempfile::TempDir,
    pool: DirectoryPool,
    importer: Importer,
    progress: watch::Sender<Progress>,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Rules)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sources = folder.path().join("sources");
        fs::create_dir(&sources).unwrap();
        let pool = DirectoryPool::open(&Claim::of(&folder.path().join("pool")), OWNER).unwrap();
        let mut rules = Rules { folders: Folders(vec![sources]), ..Rules::default() };
        change(&mut rules);
        let importer = Importer::new(pool.clone(), rules.into(), Sandbox::qemu_img().unwrap());
        Self { folder, pool, importer, progress: watch::Sender::default() }
    }

    /// Puts a file among the sources.
    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join("sources").join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    async fn import(&self, source: &Source, checksum: Option<&Checksum>) -> Result<Imported, ImportError> {
        let fetched = self.importer.fetch(source, checksum, &self.progress).await?;
        self.importer.convert(&image(), fetched, &self.progress).await
    }

    async fn import_file(&self, path: &str) -> Result<Imported, ImportError> {
        self.import(&Source::File { path: path.into() }, None).await
    }

    /// Nothing is in the pool, and nothing half made.
    async fn assert_nothing_came(&self) {
        assert_eq!(self.importer.look(&image()).await.unwrap(), None);
        assert_eq!(self.importer.list().await.unwrap(), []);
        assert!(fs::read_dir(self.pool.incoming()).unwrap().next().is_none(), "something is left");
    }
}

fn image() -> FileName {
    FileName::new("shop", "debian-12", "5f0e").unwrap()
}

fn sha256(bytes: &[u8]) -> Checksum {
    Checksum::Sha256(Sha256::digest(bytes).into())
}

/// Bytes that are no other format's: a boot sector's mark and a pattern.
fn raw_disk() -> Vec<u8> {
    let mut disk: Vec<u8> = (0..4 * MIB).map(|at| (at / 4096 % 251) as u8).collect();
    disk[..512].fill(0);
    disk[510..512].copy_from_slice(b"\x55\xaa");
    disk
}

fn qemu_img(args: &[&str], paths: &[&Path]) {
    let done = Command::new("qemu-img").args(args).args(paths).output().unwrap();
    assert!(done.status.success(), "qemu-img {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn assert_same_disk(path: &Path, disk: &[u8]) {
    let raw = tempfile::NamedTempFile::new().unwrap();
    qemu_img(&["convert", "-f", "qcow2", "-O", "raw"], &[path, raw.path()]);
    assert!(fs::read(raw.path()).unwrap() == disk, "the disk differs");
}

#[tokio::test]
async fn a_raw_file_becomes_a_read_only_qcow2_to_clone() {
    let world = World::new();
    let disk = raw_disk();
    world.put("disk.img", &disk);
    let imported = world.import(&Source::File { path: "disk.img".into() }, Some(&sha256(&disk))).await.unwrap();
    let length = disk.len() as u64;
    assert_eq!(imported, Imported { format: Format::Raw, digest: sha256(&disk), length, virtual_size: length });

    let seen = world.importer.look(&image()).await.unwrap().unwrap();
    assert_eq!(seen.virtual_size, length);
    assert_eq!(seen.path, world.pool.root().join("images/shop/debian-12.5f0e.qcow2"));
    let about = fs::metadata(&seen.path).unwrap();
    assert_eq!((about.uid(), about.gid(), about.permissions().mode() & 0o7777), (0, 0, 0o444));
    assert_same_disk(&seen.path, &disk);
    assert!(fs::read_dir(world.pool.incoming()).unwrap().next().is_none());
    assert!(matches!(*world.progress.borrow(), Progress::Converting { .. }));

    let volume = FileName::new("shop", "web-1-root", "77aa").unwrap();
    world.pool.create_clone(&volume, &image(), length).await.unwrap();
    assert_same_disk(&world.pool.volume_path(&volume), &disk);
    let used = world.importer.delete(&image()).await;
    assert!(matches!(&used, Err(VolumeError::HasClones { clone, .. }) if *clone == volume.to_string()), "{used:?}");
    world.pool.delete(&volume).await.unwrap();
    world.importer.delete(&image()).await.unwrap();
    world.importer.delete(&image()).await.unwrap();
    world.assert_nothing_came().await;
}

#[tokio::test]
async fn every_complete_qcow2_is_converted() {
    let disk = raw_disk();
    for (what, options) in [
        ("plain", &["-O", "qcow2"][..]),
        ("compressed", &["-O", "qcow2", "-c"]),
        ("zstd", &["-O", "qcow2", "-c", "-o", "compression_type=zstd"]),
        ("old", &["-O", "qcow2", "-o", "compat=0.10"]),
        ("large clusters", &["-O", "qcow2", "-o", "cluster_size=2M"]),
        ("small clusters", &["-O", "qcow2", "-o", "cluster_size=512"]),
        ("extended", &["-O", "qcow2", "-o", "extended_l2=on"]),
        ("lazy", &["-O", "qcow2", "-o", "lazy_refcounts=on"]),
    ] {
        let world = World::new();
        let raw = world.put("raw", &disk);
        let path = world.folder.path().join("sources/image.qcow2");
        qemu_img(&[&["convert", "-f", "raw"], options].concat(), &[&raw, &path]);
        let imported = world.import_file("image.qcow2").await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!((imported.format, imported.virtual_size), (Format::Qcow2, disk.len() as u64), "{what}");
        assert_eq!(imported.digest, sha256(&fs::read(&path).unwrap()), "{what}");
        assert_same_disk(&world.pool.image_path(&image()), &disk);
    }
}

#[tokio::test]
async fn an_import_that_is_given_up_leaves_nothing() {
    let world = World::new();
    world.put("disk.img", &[&raw_disk()[..], &vec![0xee; 128 * MIB]].concat());
    let mut progress = world.progress.subscribe();
    tokio::select! {
        done = world.import_file("disk.img") => panic!("it was too fast: {done:?}"),
        _ = progress.wait_for(|now| matches!(now, Progress::Downloading { done, .. } if *done > 0)) => {}
    }
    world.assert_nothing_came().await;
    tokio::select! {
        done = world.import_file("disk.img") => panic!("it was too fast: {done:?}"),
        _ = progress.wait_for(|now| matches!(now, Progress::Converting { .. })) => {}
    }
    world.assert_nothing_came().await;
}

#[tokio::test]
async fn a_second_import_of_the_same_image_changes_nothing() {
    let world = World::new();
    world.put("disk.img", &raw_disk());
    world.import_file("disk.img").await.unwrap();
    let before = fs::metadata(world.pool.image_path(&image())).unwrap().ino();
    world.put("disk.img", &vec![0xee; MIB]);
    world.import_file("disk.img").await.unwrap();
    assert_eq!(fs::metadata(world.pool.image_path(&image())).unwrap().ino(), before);
    assert_same_disk(&world.pool.image_path(&image()), &raw_disk());
}
