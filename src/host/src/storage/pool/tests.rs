//! A real pool in a temporary folder, looked at with the real `qemu-img`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::storage::{DirectoryPools, PoolConfig, PoolSpec, Pools};

const OWNER: FileOwner = FileOwner { uid: 64055, gid: 64055 };
const MIB: u64 = 1 << 20;

fn name(name: &str) -> FileName {
    FileName::new("shop", name, "5f0e").unwrap()
}

fn pool() -> (tempfile::TempDir, DirectoryPool) {
    let folder = tempfile::tempdir().unwrap();
    let pool = DirectoryPool::open(&Claim::of(&folder.path().join("pool")), OWNER).unwrap();
    (folder, pool)
}

fn qemu_img(args: &[&str]) -> String {
    let done = Command::new("qemu-img").args(args).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "qemu-img {args:?}: {text}");
    text
}

/// An image of 8 MiB whose first sectors hold a pattern.
fn image(pool: &DirectoryPool) -> FileName {
    let image = name("debian");
    let path = pool.image_path(&image);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    qemu_img(&["create", "-q", "-f", "qcow2", path.to_str().unwrap(), "8M"]);
    qemu_io(&path, "write -P 0xab 0 64k");
    image
}

fn qemu_io(path: &Path, command: &str) {
    let done = Command::new("qemu-io").args(["-f", "qcow2", "-c", command]).arg(path).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && !text.contains("rror") && !text.contains("fail"), "{command}: {text}");
}

/// A process that holds the file as a running QEMU does.
fn held(path: &Path) -> Child {
    let mut child = Command::new("qemu-io")
        .args(["-f", "qcow2"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut greeting = [0; 1];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut greeting).unwrap();
    child
}

#[tokio::test]
async fn a_clone_is_its_image_and_more_room() {
    let (folder, pool) = pool();
    let (image, volume) = (image(&pool), name("web-1-root"));
    pool.create_clone(&volume, &image, 64 * MIB).await.unwrap();
    pool.create_clone(&volume, &image, 64 * MIB).await.unwrap();

    let seen = pool.look(&volume).await.unwrap().unwrap();
    assert_eq!((seen.size, seen.in_use), (64 * MIB, false));
    assert_eq!(seen.image, Some(BackingImage { image: image.clone(), path: pool.image_path(&image) }));
    assert!(seen.allocated < MIB, "{}", seen.allocated);
    let about = fs::metadata(&seen.path).unwrap();
    assert_eq!((about.uid(), about.gid(), about.permissions().mode() & 0o7777), (64055, 64055, 0o600));
    assert_eq!(pool.list().await.unwrap(), std::slice::from_ref(&volume));
    assert_eq!(pool.clones_of(&image).await.unwrap(), std::slice::from_ref(&volume));
    assert!(fs::read_dir(pool.incoming()).unwrap().next().is_none(), "nothing is left half made");

    let path = seen.path.to_str().unwrap();
    assert!(qemu_img(&["check", "-f", "qcow2", path]).contains("No errors"));
    let info = qemu_img(&["info", "-f", "qcow2", "--output=json", path]);
    assert!(info.contains(r#""backing-filename": "../../images/shop/debian.5f0e.qcow2""#), "{info}");
    assert!(info.contains(r#""backing-filename-format": "qcow2""#), "{info}");
    qemu_io(&seen.path, "read -P 0xab 0 64k");
    qemu_io(&seen.path, "write -P 0xcd 60M 1M");
    assert!(qemu_img(&["check", "-f", "qcow2", path]).contains("No errors"));

    let moved = folder.path().join("moved");
    fs::rename(pool.root(), &moved).unwrap();
    qemu_io(&moved.join("volumes/shop/web-1-root.5f0e.qcow2"), "read -P 0xab 0 64k");
}

#[tokio::test]
async fn what_a_guest_writes_to_its_disk_changes_nothing_about_its_file() {
    let (folder, pool) = pool();
    let (image, volume) = (image(&pool), name("web-1-root"));
    pool.create_clone(&volume, &image, 64 * MIB).await.unwrap();
    let before = pool.look(&volume).await.unwrap().unwrap();
    let trap = folder.path().join("trap");
    qemu_img(&["create", "-q", "-f", "qcow2", "-u", "-b", "/etc/shadow", "-F", "raw", trap.to_str().unwrap(), "1M"]);
    qemu_io(&before.path, &format!("write -s {} 0 192k", trap.display()));
    let after = pool.look(&volume).await.unwrap().unwrap();
    assert_eq!((after.image, after.size), (before.image, before.size));
    let info = qemu_img(&["info", "-f", "qcow2", "--backing-chain", "--output=json", after.path.to_str().unwrap()]);
    assert!(!info.contains("shadow"), "{info}");
    let image = qemu_img(&["check", "-f", "qcow2", pool.image_path(&image).to_str().unwrap()]);
    assert!(image.contains("No errors"));
}

#[tokio::test]
async fn what_is_there_and_differs_is_left_alone() {
    let (_folder, pool) = pool();
    let (image, volume) = (image(&pool), name("data"));
    pool.create_blank(&volume, 16 * MIB).await.unwrap();
    qemu_io(&pool.volume_path(&volume), "write -P 0x11 0 64k");
    let other_size = pool.create_blank(&volume, 32 * MIB).await;
    assert!(matches!(other_size, Err(VolumeError::Different { .. })), "{other_size:?}");
    let other_base = pool.create_clone(&volume, &image, 16 * MIB).await;
    assert!(matches!(other_base, Err(VolumeError::Different { .. })), "{other_base:?}");
    pool.create_blank(&volume, 16 * MIB).await.unwrap();
    qemu_io(&pool.volume_path(&volume), "read -P 0x11 0 64k");
}

#[tokio::test]
async fn what_cannot_be_made_is_said() {
    let (_folder, pool) = pool();
    let (image, volume) = (image(&pool), name("v"));
    let small = pool.create_clone(&volume, &image, 4 * MIB).await;
    assert!(
        matches!(small, Err(VolumeError::SmallerThanImage { size, image }) if (size, image) == (4 * MIB, 8 * MIB)),
        "{small:?}"
    );
    assert!(matches!(pool.create_clone(&volume, &name("none"), MIB).await, Err(VolumeError::NoImage { .. })));
    for size in [0, 511, u64::MAX - 511] {
        assert!(matches!(pool.create_blank(&volume, size).await, Err(VolumeError::Size { .. })), "{size}");
    }
    assert_eq!(pool.look(&volume).await.unwrap(), None);
    assert!(fs::read_dir(pool.incoming()).unwrap().next().is_none());
}

#[tokio::test]
async fn a_disk_that_a_qemu_has_open_is_not_removed() {
    let (_folder, pool) = pool();
    let volume = name("data");
    pool.create_blank(&volume, 16 * MIB).await.unwrap();
    let path = pool.volume_path(&volume);
    let mut qemu = held(&path);
    assert!(pool.look(&volume).await.unwrap().unwrap().in_use);
    assert!(matches!(pool.delete(&volume).await, Err(VolumeError::InUse { .. })));
    assert!(path.exists());
    qemu.kill().unwrap();
    qemu.wait().unwrap();
    pool.delete(&volume).await.unwrap();
    pool.delete(&volume).await.unwrap();
    assert!(!path.exists() && !path.parent().unwrap().exists());
    assert_eq!(pool.look(&volume).await.unwrap(), None);
}

#[tokio::test]
async fn a_file_that_is_not_a_volume_is_an_error_and_never_an_absence() {
    let (folder, pool) = pool();
    pool.create_blank(&name("good"), MIB).await.unwrap();
    let path = pool.volume_path(&name("bad"));
    fs::write(&path, [0; 4096]).unwrap();
    assert!(matches!(pool.look(&name("bad")).await, Err(VolumeError::NotOurs { .. })));
    fs::remove_file(&path).unwrap();
    qemu_img(&["create", "-q", "-f", "qcow2", "-u", "-b", "/etc/shadow", "-F", "raw", path.to_str().unwrap(), "1M"]);
    assert!(matches!(pool.look(&name("bad")).await, Err(VolumeError::NotOurs { .. })));
    assert!(
        pool.clones_of(&name("debian")).await.is_err(),
        "who uses an image is not known while one volume cannot be read"
    );
    fs::remove_file(&path).unwrap();
    fs::write(folder.path().join("else"), "").unwrap();
    symlink(folder.path().join("else"), &path).unwrap();
    assert!(matches!(pool.look(&name("bad")).await, Err(VolumeError::File { .. })), "links are not followed");
    fs::write(pool.root().join("volumes/stray"), "").unwrap();
    fs::write(pool.root().join("volumes/shop/stray"), "").unwrap();
    assert_eq!(pool.list().await.unwrap(), [name("bad"), name("good")]);
}

#[tokio::test]
async fn folders_are_roots_and_only_to_pass_through() {
    let (_folder, pool) = pool();
    pool.create_blank(&name("v"), MIB).await.unwrap();
    for (path, mode) in
        [("", 0o711), ("images", 0o711), ("volumes", 0o711), ("volumes/shop", 0o711), ("incoming", 0o700)]
    {
        let about = fs::metadata(pool.root().join(path)).unwrap();
        assert_eq!((about.uid(), about.permissions().mode() & 0o7777), (0, mode), "{path}");
    }
    fs::write(pool.incoming().join("left-over"), "").unwrap();
    let second = DirectoryPool::open(&Claim::of(pool.root()), OWNER);
    assert!(matches!(second, Err(VolumeError::Taken { .. })), "{second:?}");
    let root = pool.root().to_owned();
    drop(pool);
    let pool = DirectoryPool::open(&Claim::of(&root), OWNER).unwrap();
    assert!(fs::read_dir(pool.incoming()).unwrap().next().is_none());
    assert!(pool.look(&name("v")).await.unwrap().is_some());
}

#[tokio::test]
async fn pools_are_opened_once_and_kept_where_they_belong() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("pools");
    fs::create_dir(&state).unwrap();
    let pools = DirectoryPools::new(state, vec![folder.path().to_owned()], OWNER, Default::default()).unwrap();
    let spec = |name: &str, uid: &str, folder: Option<&str>| PoolSpec {
        name: name.into(),
        uid: uid.into(),
        config: PoolConfig::Directory { folder: folder.map(Into::into) },
    };
    let first = pools.open(&spec("default", "1", None)).await.unwrap();
    first.volumes.create_blank(&name("v"), MIB).await.unwrap();
    let again = pools.open(&spec("default", "1", None)).await.unwrap();
    assert!(again.volumes.look(&name("v")).await.unwrap().is_some());
    assert_eq!(again.volumes.root(), folder.path().join("pools/default"));
    let nvme = folder.path().join("nvme");
    let fast = pools.open(&spec("fast", "2", nvme.to_str())).await.unwrap();
    assert_eq!(fast.volumes.root(), nvme);
    assert!(matches!(pools.open(&spec("../etc", "3", None)).await, Err(VolumeError::Name(_))));
    let elsewhere = pools.open(&spec("other", "4", Some("/srv/other"))).await;
    assert!(matches!(elsewhere, Err(VolumeError::NotAllowed { .. })), "{elsewhere:?}");
    // The StoragePool was deleted and made again, as after the loss of the store: its disks are still there.
    drop((first, again));
    let anew = pools.open(&spec("default", "5", None)).await.unwrap();
    assert!(anew.volumes.look(&name("v")).await.unwrap().is_some());
}

#[test]
fn a_new_disk_leaves_room_for_the_store_and_one_that_is_there_needs_none() {
    for (mib, kept) in [(16, 2 * MIB), (1024, 64 * MIB)] {
        crate::storage::full_disk::on(mib, move |root| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let pool = DirectoryPool::open(&Claim::of(root), OWNER).unwrap();
            runtime.block_on(async {
                pool.create_blank(&name("before"), MIB).await.unwrap();
                // Takes room without writing any.
                let filler = fs::File::create(root.join("filler")).unwrap();
                let fill = |left: u64| {
                    filler.set_len(0).unwrap();
                    let length = pool.space_now().unwrap().available - left;
                    let length = libc::off_t::try_from(length).unwrap();
                    nix::fcntl::fallocate(&filler, nix::fcntl::FallocateFlags::empty(), 0, length).unwrap();
                };
                fill(kept);
                let full = pool.create_blank(&name("v"), MIB).await;
                assert!(matches!(&full, Err(VolumeError::NoSpace { pool }) if pool == root), "{full:?}");
                assert!(full.unwrap_err().to_string().contains("delete Volumes or Images"));
                pool.create_blank(&name("before"), MIB).await.unwrap();
                assert!(pool.look(&name("before")).await.unwrap().is_some());
                pool.delete(&name("before")).await.unwrap();
                fill(kept + MIB);
                pool.create_blank(&name("v"), MIB).await.unwrap();
            });
        });
    }
}

#[test]
fn a_full_pool_is_named_and_keeps_nothing_half_made() {
    crate::storage::full_disk::on(2, |root| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let pool = DirectoryPool::open(&Claim::of(root), OWNER).unwrap();
        runtime.block_on(async {
            let space = pool.space().await.unwrap();
            assert_eq!(space.capacity, 2 * MIB);
            fs::write(root.join("filler"), vec![1; usize::try_from(space.available - 8192).unwrap()]).unwrap();
            let full = pool.create_blank(&name("v"), MIB).await;
            assert!(matches!(&full, Err(VolumeError::NoSpace { pool }) if pool == root), "{full:?}");
            assert_eq!(pool.look(&name("v")).await.unwrap(), None);
            assert!(fs::read_dir(pool.incoming()).unwrap().next().is_none());
            fs::remove_file(root.join("filler")).unwrap();
            pool.create_blank(&name("v"), MIB).await.unwrap();
        });
    });
}
