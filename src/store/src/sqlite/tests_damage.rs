//! Files that are damaged, cut off, of an older release, or on a full disk.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::{Event, Expect, Outcome, Range, Revision, Store};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    (folder, path)
}

fn small() -> Options {
    Options { reserve: 0, ..Options::default() }
}

fn open(path: &Path) -> Result<SqliteStore, Error> {
    SqliteStore::open_with(path, small())
}

async fn put(store: &SqliteStore, key: &str, value: impl Into<Bytes>) -> Result<Revision, Error> {
    let seen = store.get(key).await?.object;
    let expect = seen.map_or(Expect::Absent, |seen| Expect::Modified(seen.modified));
    match store.write(key, expect, Some(value.into()), None).await? {
        Outcome::Done(object) => Ok(object.modified),
        Outcome::Differs(_) | Outcome::Outdated(_) => panic!("nobody else writes"),
    }
}

async fn live(store: &SqliteStore) -> Vec<(String, String)> {
    let page = store.range(Range::all("/")).await.unwrap();
    let text = |object: &crate::Object| (object.key.to_string(), String::from_utf8_lossy(&object.value).into_owned());
    page.objects.iter().map(text).collect()
}

/// A store with three objects, closed.
async fn three(path: &Path) -> Revision {
    let store = open(path).unwrap();
    put(&store, "/a", "first").await.unwrap();
    put(&store, "/a", "second").await.unwrap();
    put(&store, "/b", "other").await.unwrap();
    put(&store, "/c", "third").await.unwrap()
}

#[tokio::test]
async fn a_store_of_the_first_release_opens_and_reads_right() {
    let (_folder, path) = folder();
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/store-format-1.db"), &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    for _ in 0..2 {
        let store = open(&path).unwrap();
        let objects = store.range(Range::all("/")).await.unwrap().objects;
        let said = |object: &crate::Object| {
            (object.key.to_string(), object.created, object.modified, object.value.len(), object.value.first().copied())
        };
        assert_eq!(
            objects.iter().map(said).collect::<Vec<_>>(),
            [
                ("/networks/shop/blue".to_owned(), 1026, 1026, 9000, Some(b'x')),
                ("/secrets/shop/key-\u{fc}".to_owned(), 1024, 1025, 6, Some(b's')),
                ("/servers/shop/web-1".to_owned(), 1001, 1021, 8, Some(b'{')),
            ]
        );
        assert_eq!(&objects[1].value[..], b"s4cret");
        // History as far back as it was compacted, and rows with and without checksums in one answer.
        let mut watch = store.watch("/", 1019).await.unwrap();
        let mut revisions = Vec::new();
        while let Some(crate::WatchItem::Event(event)) = futures::StreamExt::next(&mut watch).await {
            revisions.push(event.revision());
        }
        assert_eq!(revisions[..7], [1020, 1021, 1022, 1023, 1024, 1025, 1026]);
        assert!(matches!(store.watch("/", 1018).await.err(), Some(Error::Compacted { .. })));
        put(&store, "/new", "new").await.unwrap();
        let Outcome::Done(_) =
            store.write("/new", Expect::Modified(store.current().await.unwrap()), None, None).await.unwrap()
        else {
            panic!()
        };
    }
    let number = |pragma: &str| Connection::open(&path).unwrap().query_row(pragma, [], |row| row.get::<_, i64>(0));
    assert_eq!((number("PRAGMA user_version").unwrap(), number("PRAGMA auto_vacuum").unwrap()), (2, 2));
}

#[tokio::test]
async fn nobody_else_reads_its_files() {
    let (folder, path) = folder();
    for name in ["store.db", "store.db-wal", "store.lock"] {
        fs::write(folder.path().join(name), "").unwrap();
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let store = SqliteStore::open(&path).unwrap();
    put(&store, "/a", "1").await.unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
}

#[tokio::test]
async fn a_damaged_object_is_named_and_can_be_dropped() {
    let (_folder, path) = folder();
    let last = three(&path).await;
    let bytes = fs::read(&path).unwrap();
    let at = bytes.windows(6).position(|window| window == b"second").unwrap();
    fs::File::options().write(true).open(&path).unwrap().write_all_at(b"S", at as u64).unwrap();

    let refused = open(&path).err().unwrap();
    assert!(matches!(&refused, Error::DamagedObjects { objects, .. } if objects == &[("/a".to_owned(), last - 2)]));
    assert!(
        refused.to_string().contains("/a (revision") && refused.to_string().contains("--drop-damaged"),
        "{refused}"
    );

    let store = SqliteStore::open_with(&path, Options { drop_damaged: true, ..small() }).unwrap();
    assert_eq!(live(&store).await, [("/b".into(), "other".into()), ("/c".into(), "third".into())]);
    assert!(matches!(store.watch("/", last - 1).await.err(), Some(Error::Compacted { .. })), "watches list again");
    drop(store);
    let store = open(&path).unwrap();
    assert_eq!(live(&store).await.len(), 2, "not even the version before comes back");
    put(&store, "/a", "anew").await.unwrap();
    let kept: i64 = Connection::open(&path)
        .unwrap()
        .query_row("SELECT COUNT(*) FROM damaged WHERE key = '/a'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, 2);
}

/// Whichever byte is changed: the store opens as it was, or it says what is wrong. (All were tried; here every fourth.)
#[tokio::test]
async fn no_changed_byte_goes_unnoticed() {
    let (_folder, path) = folder();
    let last = three(&path).await;
    let whole = fs::read(&path).unwrap();
    let expected = live(&open(&path).unwrap()).await;
    let whole_again = fs::read(&path).unwrap();
    assert_eq!(whole.len(), whole_again.len());
    let mut noticed = 0;
    for at in (100..whole.len()).filter(|at| whole[*at] != 0).step_by(4) {
        let (_folder, copy) = folder_with(&whole, at);
        match open(&copy) {
            Ok(store) => {
                assert_eq!(live(&store).await, expected, "byte {at}");
                assert!(store.current().await.unwrap() >= last);
            }
            Err(
                Error::Damaged { .. } | Error::DamagedObjects { .. } | Error::Database { .. } | Error::Format { .. },
            ) => {
                noticed += 1;
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    assert!(noticed > 20, "{noticed}");
}

fn folder_with(bytes: &[u8], changed: usize) -> (TempDir, PathBuf) {
    let (folder, path) = folder();
    let mut bytes = bytes.to_vec();
    bytes[changed] ^= 0x01;
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[tokio::test]
async fn what_is_no_database_any_more_says_what_to_do() {
    let (_folder, path) = folder();
    three(&path).await;
    let length = fs::metadata(&path).unwrap().len();
    fs::File::options().write(true).open(&path).unwrap().write_all_at(&[0x55; 4096], 0).unwrap();
    let refused = open(&path).err().unwrap();
    assert!(matches!(refused, Error::Damaged { .. }), "{refused}");
    assert!(refused.to_string().contains("put back a copy"), "{refused}");
    fs::File::options().write(true).open(&path).unwrap().set_len(length / 2).unwrap();
    assert!(matches!(open(&path).err().unwrap(), Error::Damaged { .. }));
}

/// The files of a store as they are while it runs: the last writes are only in the write-ahead log.
async fn snapshot(to: &Path) -> (Vec<Revision>, u64) {
    let (folder, path) = folder();
    let mut store = open(&path).unwrap();
    let mut revisions = Vec::new();
    for n in 0..20 {
        if n == 10 {
            // Closing takes what is in the write-ahead log over into the file.
            drop(store);
            store = open(&path).unwrap();
        }
        revisions.push(put(&store, &format!("/k/{n:02}"), "v".repeat(3000)).await.unwrap());
    }
    for name in ["store.db", "store.db-wal", "store.revision"] {
        fs::copy(folder.path().join(name), to.join(name)).unwrap();
    }
    // Zeros follow what was written.
    let log = fs::read(to.join("store.db-wal")).unwrap();
    (revisions, log.iter().rposition(|byte| *byte != 0).unwrap() as u64)
}

#[tokio::test]
async fn a_write_ahead_log_that_lost_its_end_is_noticed_and_no_revision_is_used_twice() {
    for damage in ["cut", "changed", "removed", "whole"] {
        let (folder, path) = folder();
        let (revisions, length) = snapshot(folder.path()).await;
        let last = *revisions.last().unwrap();
        let wal = folder.path().join("store.db-wal");
        let file = fs::File::options().write(true).open(&wal).unwrap();
        match damage {
            "cut" => file.set_len(length - 9000).unwrap(),
            "changed" => file.write_all_at(b"damaged", length - 12_000).unwrap(),
            "removed" => fs::remove_file(&wal).unwrap(),
            _ => {}
        }
        let store = open(&path).unwrap();
        assert_eq!(store.current().await.unwrap(), last, "{damage}");
        let lists_again = matches!(store.watch("/", last - 1).await.err(), Some(Error::Compacted { .. }));
        assert_eq!(lists_again, damage != "whole", "{damage}");
        let left = live(&store).await.len();
        assert_eq!(left == 20, damage == "whole", "{damage}: {left}");
        assert_eq!(put(&store, "/new", "new").await.unwrap(), last + 1, "{damage}");
        drop(store);
        assert_eq!(open(&path).unwrap().current().await.unwrap(), last + 1, "{damage}");
    }
}

#[tokio::test]
async fn the_file_shrinks_after_a_compaction() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    let mut last = 0;
    for _ in 0..40 {
        last = put(&store, "/a", vec![b'x'; 1 << 20]).await.unwrap();
    }
    assert!(store.appended() >= 40 << 20);
    store.compact(last).await.unwrap();
    drop(store);
    // What was left to do when it closed is done by the next one.
    let store = open(&path).unwrap();
    let last = put(&store, "/a", "small").await.unwrap();
    store.compact(last).await.unwrap();
    for _ in 0..2000 {
        put(&store, "/b", "small").await.unwrap();
        if fs::metadata(&path).unwrap().len() < 8 << 20 {
            return;
        }
    }
    panic!("{} bytes for two rows", fs::metadata(&path).unwrap().len());
}

#[test]
fn a_full_disk_takes_deletions_and_small_changes_and_opens() {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("SKIPPED: only root can make a small disk");
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().to_owned();
    // A mount namespace is a thread's; the store's own thread inherits it.
    let on_a_small_disk = move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        mount(Some("tmpfs"), &disk, Some("tmpfs"), MsFlags::empty(), Some("size=64m")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(full_disk(&disk));
    };
    std::thread::spawn(on_a_small_disk).join().unwrap();
}

async fn full_disk(disk: &Path) {
    let path = disk.join("store.db");
    let options = || Options { headroom: 16 << 20, reserve: 8 << 20, ..Options::default() };
    let store = SqliteStore::open_with(&path, options()).unwrap();
    let mut objects = Vec::new();
    for n in 0..8 {
        put(&store, &format!("/k/{n}"), vec![b'x'; 300_000]).await.unwrap();
        objects.push(format!("/k/{n}"));
    }
    assert!(disk.join("store.reserve").exists());
    // Somebody else fills it up, to the last byte.
    let filler = fs::File::create(disk.join("filler")).unwrap();
    let mut at = 0;
    while filler.write_all_at(&[0; 65536], at).is_ok() {
        at += 65536;
    }
    assert!(matches!(put(&store, "/k/new", "{}").await, Err(Error::Full)));
    assert!(matches!(put(&store, "/k/0", vec![b'y'; 310_000]).await, Err(Error::Full)));
    for _ in 0..4 {
        put(&store, "/k/0", vec![b'y'; 300_100]).await.unwrap();
    }
    assert!(!disk.join("store.reserve").exists(), "it was given back");
    let seen = store.get("/k/1").await.unwrap().object.unwrap();
    assert!(matches!(store.write("/k/1", Expect::Modified(seen.modified), None, None).await, Ok(Outcome::Done(_))));
    drop(store);

    let store = SqliteStore::open_with(&path, options()).unwrap();
    for key in objects.iter().filter(|key| *key != "/k/1") {
        let seen = store.get(key).await.unwrap().object.unwrap();
        store.write(key, Expect::Modified(seen.modified), None, None).await.unwrap();
    }
    let current = store.current().await.unwrap();
    store.compact(current).await.unwrap();
    // With room on the disk again everything is taken, and the reserve is made anew.
    filler.set_len(0).unwrap();
    put(&store, "/k/new", vec![b'z'; 400_000]).await.unwrap();
    assert!(disk.join("store.reserve").exists());
}

#[test]
fn what_is_derived_of_an_event_is_computed_once() {
    #[derive(Default)]
    struct Labels(std::sync::OnceLock<usize>);
    let object = crate::Object { key: "/a".into(), value: Bytes::from_static(b"{}"), created: 1, modified: 1 };
    let event = Arc::new(Event { object, deleted: false, previous: None, derived: crate::Derived::default() });
    assert_eq!(*event.derive::<Labels>().unwrap().0.get_or_init(|| 1), 1);
    assert_eq!(*event.derive::<Labels>().unwrap().0.get_or_init(|| panic!("computed twice")), 1);
    assert!(event.derive::<String>().is_none(), "one type only");
}
