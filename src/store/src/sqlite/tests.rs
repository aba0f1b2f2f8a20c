//! The contract, and what only an embedded store has: a file, a restart, a lock.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tempfile::TempDir;

use super::*;
use crate::{Got, Page, Range, Revision, Store, Watch, WatchItem, contract};

/// A store whose folder lives as long as it does.
#[derive(Clone)]
struct Temporary(SqliteStore, #[allow(dead_code, reason = "kept so that the folder stays")] Arc<TempDir>);

impl Store for Temporary {
    async fn get(&self, key: &str) -> Result<Got, Error> {
        self.0.get(key).await
    }
    async fn range(&self, range: Range) -> Result<Page, Error> {
        self.0.range(range).await
    }
    async fn write(
        &self,
        key: &str,
        expect: Expect,
        value: Option<Bytes>,
        guard: Option<Guard>,
    ) -> Result<Outcome, Error> {
        self.0.write(key, expect, value, guard).await
    }
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.0.watch(prefix, after).await
    }
    async fn current(&self) -> Result<Revision, Error> {
        self.0.current().await
    }
    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.0.compact(revision).await
    }
    fn appended(&self) -> u64 {
        self.0.appended()
    }
}

fn temporary(options: Options) -> Temporary {
    let folder = tempfile::tempdir().unwrap();
    Temporary(SqliteStore::open_with(&folder.path().join("store.db"), options).unwrap(), Arc::new(folder))
}

fn quick() -> Options {
    Options { progress: Duration::from_millis(50), ..Options::default() }
}

async fn put(store: &SqliteStore, key: &str, value: &'static str) -> Revision {
    let seen = store.get(key).await.unwrap().object;
    let expect = seen.map_or(Expect::Absent, |seen| Expect::Modified(seen.modified));
    match store.write(key, expect, Some(Bytes::from_static(value.as_bytes())), None).await.unwrap() {
        Outcome::Done(object) => object.modified,
        Outcome::Differs(_) | Outcome::Outdated(_) => panic!("nobody else writes"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    contract::holds(|| async { temporary(quick()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_with_hardly_any_memory() {
    contract::holds(|| async { temporary(Options { recent_events: 2, group: 3, ..quick() }) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loses_nothing_and_goes_on_counting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    let first = put(&store, "/a", "1").await;
    let second = put(&store, "/a", "2").await;
    let third = put(&store, "/b", "1").await;
    let Outcome::Done(gone) = store.write("/b", Expect::Modified(third), None, None).await.unwrap() else { panic!() };
    drop(store);

    let store = SqliteStore::open_with(&path, Options { first_revision: 5, ..quick() }).unwrap();
    assert_eq!(store.current().await.unwrap(), gone.modified);
    let page = store.range(Range::all("/")).await.unwrap();
    assert_eq!((page.objects.len(), page.objects[0].modified, page.objects[0].created), (1, second, first));
    // A watch from before the restart resumes with every event.
    let mut watch = store.watch("/", first).await.unwrap();
    let mut seen = Vec::new();
    while let Some(WatchItem::Event(event)) = watch.next().await {
        seen.push((event.revision(), event.deleted, event.previous.as_ref().map(|previous| previous.modified)));
    }
    assert_eq!(seen, [(second, false, Some(first)), (third, false, None), (gone.modified, true, Some(third))]);
    // Even when the newest row, a deletion, was compacted away.
    store.compact(gone.modified).await.unwrap();
    drop((store, watch));
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.current().await.unwrap(), gone.modified);
    assert!(matches!(store.watch("/", second).await.err(), Some(Error::Compacted { .. })));
}

#[tokio::test]
async fn an_empty_store_begins_above_any_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    let older = SqliteStore::open(&folder.path().join("older.db")).unwrap();
    let last = put(&older, "/a", "1").await;
    std::thread::sleep(Duration::from_millis(2));
    let newer = SqliteStore::open(&folder.path().join("newer.db")).unwrap();
    assert!(newer.current().await.unwrap() > last);
}

#[tokio::test]
async fn a_second_opener_is_kept_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    assert!(matches!(SqliteStore::open(&path), Err(Error::Locked { .. })));
    drop(store);
    SqliteStore::open(&path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_left_behind_by_compaction_is_told_so() {
    let store = temporary(Options { recent_events: 4, ..quick() }).0;
    let first = put(&store, "/a", "1").await;
    let mut watch = store.watch("/", first).await.unwrap();
    let mut last = first;
    for _ in 0..20 {
        last = put(&store, "/a", "again").await;
    }
    store.compact(last).await.unwrap();
    assert_eq!(watch.next().await, Some(WatchItem::Compacted));
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn compaction_makes_the_file_forget() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    let mut last = 0;
    for _ in 0..1500 {
        last = put(&store, "/a", "value").await;
    }
    store.compact(last).await.unwrap();
    drop(store);
    let rows: i64 =
        rusqlite::Connection::open(&path).unwrap().query_row("SELECT COUNT(*) FROM log", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    drop(SqliteStore::open(&path).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(SqliteStore::open(&path), Err(Error::Format { found: 99, .. })));
}

#[tokio::test]
async fn a_group_that_cannot_be_kept_is_kept_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    let first = put(&store, "/a", "1").await;
    // As a disk that is full: every insert into the log fails.
    let saboteur = rusqlite::Connection::open(&path).unwrap();
    saboteur
        .execute_batch("CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        .unwrap();
    let lost = store.write("/a", Expect::Modified(first), Some(Bytes::from_static(b"2")), None).await;
    assert!(matches!(lost, Err(Error::NotKept { .. })), "{lost:?}");
    assert_eq!(store.current().await.unwrap(), first);
    saboteur.execute_batch("DROP TRIGGER full").unwrap();
    assert_eq!(put(&store, "/a", "3").await, first + 1);
}
