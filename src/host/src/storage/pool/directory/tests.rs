//! Which folders become pools, and that no other folder is touched.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::*;

const OWNER: FileOwner = FileOwner { uid: 64055, gid: 64055 };

fn open(claim: &Claim) -> Result<DirectoryPool, VolumeError> {
    DirectoryPool::open(claim, OWNER)
}

fn folder(path: &Path, mode: u32) {
    fs::create_dir_all(path).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Everything below a folder: path, mode, and when it was changed last.
fn listing(root: &Path) -> Vec<(PathBuf, u32, i64, i64)> {
    let about = fs::symlink_metadata(root).unwrap();
    let mut all = vec![(root.to_owned(), about.mode(), about.ctime(), about.ctime_nsec())];
    if about.is_dir() {
        let mut below: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
        below.sort();
        all.extend(below.iter().flat_map(|path| listing(path)));
    }
    all
}

#[test]
fn a_foreign_folder_is_refused_and_left_as_it_was() {
    type Case = (&'static str, fn(&Path), fn(&VolumeError) -> bool);
    let cases: [Case; 8] = [
        (
            "a folder with an `incoming` of somebody else's",
            |root| {
                folder(&root.join("incoming"), 0o755);
                fs::write(root.join("incoming/mail"), "keep me").unwrap();
            },
            |error| matches!(error, VolumeError::NotEmpty { entry, .. } if entry == "incoming"),
        ),
        (
            "two of our folders, not empty",
            |root| {
                folder(&root.join("images"), 0o711);
                folder(&root.join("incoming"), 0o700);
                fs::write(root.join("incoming/mail"), "keep me").unwrap();
            },
            |error| matches!(error, VolumeError::NotEmpty { .. }),
        ),
        (
            "a home",
            |root| fs::write(root.join(".profile"), "").unwrap(),
            |error| matches!(error, VolumeError::NotEmpty { .. }),
        ),
        ("a private folder", |root| folder(root, 0o700), |error| matches!(error, VolumeError::FolderMode { .. })),
        (
            "a folder that all can write to",
            |root| folder(root, 0o1777),
            |error| matches!(error, VolumeError::FolderMode { mode: 0o1777, .. }),
        ),
        (
            "another pool's",
            |root| Mark { name: "fast".into(), uid: "9".into() }.write(root).unwrap(),
            |error| matches!(error, VolumeError::OtherPool { name, .. } if name == "fast"),
        ),
        (
            "a link",
            |root| {
                fs::remove_dir(root).unwrap();
                folder(&root.with_file_name("target"), 0o755);
                symlink("target", root).unwrap();
            },
            |error| matches!(error, VolumeError::Link { .. }),
        ),
        (
            "a file",
            |root| {
                fs::remove_dir(root).unwrap();
                fs::write(root, "").unwrap();
            },
            |error| matches!(error, VolumeError::Link { .. }),
        ),
    ];
    for (what, prepare, expected) in cases {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("pool");
        folder(&root, 0o755);
        prepare(&root);
        let before = listing(parent.path());
        let error = open(&Claim::of(&root)).expect_err(what);
        assert!(expected(&error), "{what}: {error:?}");
        assert_eq!(listing(parent.path()), before, "{what}");
    }
}

#[test]
fn a_path_stays_in_what_the_admin_allowed() {
    let parent = tempfile::tempdir().unwrap();
    let allowed = parent.path().join("pools");
    folder(&allowed, 0o755);
    folder(&parent.path().join("beside"), 0o755);
    symlink("../beside", allowed.join("link")).unwrap();
    let claim = |path: &str| Claim { allowed: vec![allowed.clone()], ..Claim::of(Path::new(path)) };
    let named = |below: &str| format!("{}/{below}", allowed.display());
    for path in [named("../beside"), named("a/../../beside"), "/etc".into(), format!("{}x", allowed.display())] {
        let error = open(&claim(&path)).expect_err(&path);
        assert!(matches!(error, VolumeError::NotAllowed { .. }), "{path}: {error:?}");
    }
    let through = open(&claim(&named("link/pool"))).unwrap_err();
    assert!(matches!(through, VolumeError::Link { .. }), "{through:?}");
    assert!(fs::read_dir(parent.path().join("beside")).unwrap().next().is_none());

    // The admin's own folder may be a link, and may be a pool itself.
    symlink("pools", parent.path().join("by-link")).unwrap();
    let by_link = parent.path().join("by-link");
    let below = Claim { allowed: vec![by_link.clone()], ..Claim::of(&by_link.join("a/b")) };
    let pool = open(&below).unwrap();
    assert_eq!(fs::metadata(pool.root()).unwrap().mode() & 0o7777, 0o711);
    assert_eq!(fs::metadata(&allowed).unwrap().mode() & 0o7777, 0o755, "what was there keeps its mode");
}

#[test]
fn no_pool_is_inside_another() {
    let parent = tempfile::tempdir().unwrap();
    let outer = parent.path().join("outer");
    let records = Records(parent.path().join("records"));
    let claim = |root: &Path| Claim {
        mark: Mark { name: "other".into(), uid: "2".into() },
        allowed: vec![parent.path().to_owned()],
        records: records.clone(),
        ..Claim::of(root)
    };
    let pool = open(&Claim::of(&outer)).unwrap();
    for below in ["incoming/inner", "images/inner", "new/inner"] {
        let error = open(&claim(&outer.join(below))).expect_err(below);
        assert!(matches!(&error, VolumeError::Inside { outer: named, .. } if *named == outer), "{below}: {error:?}");
    }
    let admins = Claim { allowed: vec![outer.join("incoming")], ..claim(&outer.join("incoming/inner")) };
    assert!(matches!(open(&admins), Err(VolumeError::Inside { .. })), "whatever the admin allowed");
    drop(pool);
    let around = open(&claim(parent.path())).unwrap_err();
    assert!(matches!(around, VolumeError::FolderMode { .. } | VolumeError::NotEmpty { .. }), "{around:?}");
}

#[test]
fn a_mark_that_is_missing_means_that_the_file_system_is() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("pool");
    let claim = Claim::of(&root);
    let pool = open(&claim).unwrap();
    fs::rename(&root, parent.path().join("elsewhere")).unwrap();
    assert!(matches!(pool.is_there(), Err(VolumeError::NotMounted { .. })));
    assert!(matches!(open(&claim), Err(VolumeError::NotMounted { .. })), "it is not made again");
    assert!(!root.exists());
    folder(&root, 0o711);
    assert!(matches!(pool.is_there(), Err(VolumeError::NotMounted { .. })));
    drop(pool);
    assert!(matches!(open(&claim), Err(VolumeError::NotMounted { .. })));
    assert!(fs::read_dir(&root).unwrap().next().is_none(), "nothing fills the folder below the mount point");
    fs::remove_dir(&root).unwrap();
    fs::rename(parent.path().join("elsewhere"), &root).unwrap();
    open(&claim).unwrap();
}

#[test]
fn a_pool_of_before_there_were_marks_is_marked_once() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("pool");
    folder(&root, 0o711);
    folder(&root.join("images"), 0o711);
    folder(&root.join("volumes"), 0o711);
    folder(&root.join("incoming"), 0o700);
    fs::write(root.join("images/a"), "kept").unwrap();
    fs::write(root.join("incoming/half"), "").unwrap();
    drop(open(&Claim::of(&root)).unwrap());
    assert_eq!(fs::read(root.join("images/a")).unwrap(), b"kept");
    assert!(!root.join("incoming/half").exists());
    fs::remove_file(root.join(mark::MARK)).unwrap();
    assert!(matches!(open(&Claim::of(&root)), Err(VolumeError::NotMounted { .. })));
}
