//! What every store must do, as one generic test.
//!
//! An implementation calls [`holds`] with a function that makes an empty store.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;

use crate::{Error, Event, Expect, Guard, Object, Outcome, Range, Revision, Store, Watch, WatchItem};

/// Runs the whole contract, each part on a store of its own.
pub async fn holds<S: Store, F: Future<Output = S>>(make: impl Fn() -> F) {
    create_update_delete(make().await).await;
    a_write_that_meets_something_else_changes_nothing(make().await).await;
    a_guarded_write_needs_the_other_key_unchanged(make().await).await;
    every_write_has_a_revision_of_its_own(make().await).await;
    lists_page_through_one_snapshot(make().await).await;
    a_prefix_is_not_a_word(make().await).await;
    watches_see_all_writes_in_order(make().await).await;
    a_watch_goes_on_where_another_stopped(make().await).await;
    a_watch_tells_progress(make().await).await;
    compaction_forgets_the_past_only(make().await).await;
    one_of_many_writers_wins(make().await).await;
}

fn bytes(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

async fn done(store: &impl Store, key: &str, expect: Expect, value: Option<Bytes>) -> Object {
    match store.write(key, expect, value, None).await.unwrap() {
        Outcome::Done(object) => object,
        other => panic!("{key}: expected {expect:?}, found {other:?}"),
    }
}

async fn create(store: &impl Store, key: &str, value: &str) -> Revision {
    done(store, key, Expect::Absent, bytes(value)).await.modified
}

fn keys(objects: &[Object]) -> Vec<String> {
    objects.iter().map(|object| object.key.to_string()).collect()
}

async fn next_event(watch: &mut Watch) -> std::sync::Arc<Event> {
    loop {
        let item = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("an event in time");
        match item.expect("the watch goes on") {
            WatchItem::Event(event) => return event,
            WatchItem::Progress(_) => {}
            WatchItem::Compacted => panic!("compacted"),
        }
    }
}

async fn create_update_delete(store: impl Store) {
    let start = store.current().await.unwrap();
    assert!(store.get("/a").await.unwrap().object.is_none());
    let made = done(&store, "/a", Expect::Absent, bytes("1")).await;
    assert_eq!((made.created, made.modified), (start + 1, start + 1));
    let changed = done(&store, "/a", Expect::Modified(made.modified), bytes("2")).await;
    assert_eq!((changed.created, changed.modified, &changed.value[..]), (start + 1, start + 2, &b"2"[..]));
    let got = store.get("/a").await.unwrap();
    assert_eq!((got.object, got.revision), (Some(changed.clone()), start + 2));
    let gone = done(&store, "/a", Expect::Modified(changed.modified), None).await;
    assert_eq!((gone.modified, &gone.value[..]), (start + 3, &b"2"[..]), "a deletion keeps the last value");
    assert!(store.get("/a").await.unwrap().object.is_none());
    let again = done(&store, "/a", Expect::Absent, bytes("3")).await;
    assert_eq!(again.created, start + 4, "a key made again is a new one");
    assert_eq!(store.current().await.unwrap(), start + 4);
}

async fn a_write_that_meets_something_else_changes_nothing(store: impl Store) {
    let first = create(&store, "/a", "1").await;
    let there = store.get("/a").await.unwrap().object;
    assert_eq!(store.write("/a", Expect::Absent, bytes("2"), None).await.unwrap(), Outcome::Differs(there.clone()));
    assert_eq!(
        store.write("/a", Expect::Modified(first + 7), bytes("2"), None).await.unwrap(),
        Outcome::Differs(there.clone())
    );
    assert_eq!(
        store.write("/a", Expect::Modified(first - 1), None, None).await.unwrap(),
        Outcome::Differs(there.clone())
    );
    assert_eq!(store.write("/b", Expect::Modified(first), bytes("2"), None).await.unwrap(), Outcome::Differs(None));
    assert_eq!(store.write("/b", Expect::Modified(first), None, None).await.unwrap(), Outcome::Differs(None));
    assert_eq!(store.get("/a").await.unwrap().object, there);
    assert_eq!(store.current().await.unwrap(), first);
}

async fn a_guarded_write_needs_the_other_key_unchanged(store: impl Store) {
    let guard = |modified| Some(Guard { key: "/guard".into(), modified });
    let write = |expect, value, guard| store.write("/a", expect, value, guard);
    let start = store.current().await.unwrap();
    assert_eq!(write(Expect::Absent, bytes("1"), guard(start)).await.unwrap(), Outcome::Outdated(start));
    let first = create(&store, "/guard", "1").await;
    let Outcome::Done(made) = write(Expect::Absent, bytes("1"), guard(first)).await.unwrap() else { panic!() };
    let second = done(&store, "/guard", Expect::Modified(first), bytes("2")).await.modified;
    let expect = Expect::Modified(made.modified);
    assert_eq!(write(expect, bytes("2"), guard(first)).await.unwrap(), Outcome::Outdated(second));
    assert_eq!(store.current().await.unwrap(), second, "nothing was written");
    assert!(matches!(write(expect, bytes("2"), guard(second)).await.unwrap(), Outcome::Done(_)));
    // Both in one group: the guard changes first, whatever the disk has by then.
    let (gone, late) = tokio::join!(
        store.write("/guard", Expect::Modified(second), None, None),
        store.write("/b", Expect::Absent, bytes("1"), guard(second)),
    );
    let Outcome::Done(gone) = gone.unwrap() else { panic!() };
    assert_eq!(late.unwrap(), Outcome::Outdated(gone.modified));
}

async fn every_write_has_a_revision_of_its_own(store: impl Store) {
    let start = store.current().await.unwrap();
    let writes = (0..100).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { create(&store, &format!("/k/{n:03}"), "x").await })
    });
    let mut revisions = Vec::new();
    for write in writes.collect::<Vec<_>>() {
        revisions.push(write.await.unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (start + 1..=start + 100).collect::<Vec<_>>());
}

async fn lists_page_through_one_snapshot(store: impl Store) {
    for name in ["e", "c", "a", "d", "b"] {
        create(&store, &format!("/list/{name}"), name).await;
    }
    create(&store, "/other/a", "x").await;
    let all = store.range(Range::all("/list/")).await.unwrap();
    assert_eq!(keys(&all.objects), ["/list/a", "/list/b", "/list/c", "/list/d", "/list/e"]);
    assert_eq!((all.remaining, all.revision), (0, store.current().await.unwrap()));

    let first = store.range(Range { limit: 2, ..Range::all("/list/") }).await.unwrap();
    assert_eq!((keys(&first.objects), first.remaining), (vec!["/list/a".into(), "/list/b".into()], 3));
    // Between two pages: one goes, one comes, one changes.
    let c = store.get("/list/c").await.unwrap().object.unwrap();
    done(&store, "/list/c", Expect::Modified(c.modified), None).await;
    create(&store, "/list/bb", "new").await;
    let d = store.get("/list/d").await.unwrap().object.unwrap();
    done(&store, "/list/d", Expect::Modified(d.modified), bytes("changed")).await;

    let page =
        |limit, after: &str, at| Range { limit, after: Some(after.to_owned()), at: Some(at), ..Range::all("/list/") };
    let second = store.range(page(2, "/list/b", first.revision)).await.unwrap();
    assert_eq!((keys(&second.objects), second.remaining), (vec!["/list/c".into(), "/list/d".into()], 1));
    assert_eq!(&second.objects[1].value[..], b"d", "as it was");
    assert_eq!(second.objects[1], d);
    assert_eq!(second.revision, first.revision);
    let third = store.range(page(0, "/list/d", first.revision)).await.unwrap();
    assert_eq!((keys(&third.objects), third.remaining), (vec!["/list/e".into()], 0));
    let now = store.range(Range::all("/list/")).await.unwrap();
    assert_eq!(keys(&now.objects), ["/list/a", "/list/b", "/list/bb", "/list/d", "/list/e"]);

    let current = store.current().await.unwrap();
    let future = store.range(Range { at: Some(current + 1), ..Range::all("/list/") }).await;
    assert!(matches!(future, Err(Error::Future { .. })), "{future:?}");
}

async fn a_prefix_is_not_a_word(store: impl Store) {
    for key in ["/p/a/x", "/p/a/ü", "/p/ab/y", "/p/b/z"] {
        create(&store, key, "v").await;
    }
    assert_eq!(keys(&store.range(Range::all("/p/a/")).await.unwrap().objects), ["/p/a/x", "/p/a/ü"]);
    assert_eq!(store.range(Range::all("/p/a")).await.unwrap().objects.len(), 3);
    assert!(store.range(Range::all("/q")).await.unwrap().objects.is_empty());
}

async fn watches_see_all_writes_in_order(store: impl Store) {
    let start = create(&store, "/w/before", "0").await;
    let mut watch = store.watch("/w/", start).await.unwrap();
    let made = done(&store, "/w/a", Expect::Absent, bytes("1")).await;
    create(&store, "/elsewhere", "x").await;
    let changed = done(&store, "/w/a", Expect::Modified(made.modified), bytes("2")).await;
    let gone = done(&store, "/w/a", Expect::Modified(changed.modified), None).await;

    let event = next_event(&mut watch).await;
    assert_eq!((event.is_create(), event.deleted, &event.object), (true, false, &made));
    let event = next_event(&mut watch).await;
    assert_eq!((event.previous.as_ref(), &event.object), (Some(&made), &changed));
    let event = next_event(&mut watch).await;
    assert_eq!((event.deleted, event.previous.as_ref(), &event.object), (true, Some(&changed), &gone));

    // Many writers, two watchers: the same order for both, equal to the order of revisions.
    let after = store.current().await.unwrap();
    let mut one = store.watch("/w/", after).await.unwrap();
    let writers = (0..8).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..50 {
                create(&store, &format!("/w/{writer}-{n}"), "v").await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let mut two = store.watch("/w/", after).await.unwrap();
    for n in 1..=400 {
        let (a, b) = (next_event(&mut one).await, next_event(&mut two).await);
        assert_eq!(a, b);
        assert_eq!(a.revision(), after + n);
    }
}

async fn a_watch_goes_on_where_another_stopped(store: impl Store) {
    let start = store.current().await.unwrap();
    let mut want = Vec::new();
    for n in 0..2000 {
        want.push(create(&store, &format!("/far/{n}"), &"v".repeat(100)).await);
    }
    let mut watch = store.watch("/far/", start).await.unwrap();
    for revision in &want {
        assert_eq!(next_event(&mut watch).await.revision(), *revision);
    }
    let mut later = store.watch("/far/", want[1499]).await.unwrap();
    assert_eq!(next_event(&mut later).await.revision(), want[1500]);
}

async fn a_watch_tells_progress(store: impl Store) {
    let start = create(&store, "/quiet/a", "x").await;
    let mut watch = store.watch("/quiet/", start).await.unwrap();
    assert_eq!(watch.next().await, Some(WatchItem::Progress(start)), "at once, when it has nothing to deliver");
    let moved = create(&store, "/loud/a", "x").await;
    let item = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("progress in time");
    assert_eq!(item, Some(WatchItem::Progress(moved)));
}

async fn compaction_forgets_the_past_only(store: impl Store) {
    let mut model = BTreeMap::new();
    let first = create(&store, "/c/a", "1").await;
    let changed = done(&store, "/c/a", Expect::Modified(first), bytes("2")).await;
    let b = create(&store, "/c/b", "1").await;
    done(&store, "/c/b", Expect::Modified(b), None).await;
    let middle = create(&store, "/c/d", "1").await;
    model.insert("/c/a", changed.clone());
    let mut old_watch = store.watch("/c/", first).await.unwrap();
    let last = done(&store, "/c/a", Expect::Modified(changed.modified), bytes("3")).await;

    store.compact(middle).await.unwrap();
    assert!(matches!(
        store.range(Range { at: Some(middle - 1), ..Range::all("/c/") }).await,
        Err(Error::Compacted { .. })
    ));
    assert!(matches!(store.watch("/c/", middle - 1).await.err(), Some(Error::Compacted { .. })));
    let page = store.range(Range { at: Some(middle), ..Range::all("/c/") }).await.unwrap();
    assert_eq!(keys(&page.objects), ["/c/a", "/c/d"]);
    assert_eq!(&page.objects[0], &model["/c/a"]);
    let event = next_event(&mut store.watch("/c/", middle).await.unwrap()).await;
    assert_eq!((event.previous.as_ref(), &event.object), (Some(&changed), &last));
    assert_eq!(store.get("/c/a").await.unwrap().object, Some(last));
    // A watch that began earlier either still has everything or says that it has not.
    match old_watch.next().await.expect("an answer") {
        WatchItem::Compacted => assert_eq!(old_watch.next().await, None),
        WatchItem::Event(event) => assert_eq!(event.revision(), first + 1),
        WatchItem::Progress(revision) => panic!("progress to {revision} past undelivered events"),
    }
    store.compact(middle).await.unwrap();
    let current = store.current().await.unwrap();
    assert!(matches!(store.compact(current + 5).await, Err(Error::Future { .. })));
}

async fn one_of_many_writers_wins(store: impl Store) {
    let mut at = create(&store, "/race", "0").await;
    for round in 0..20 {
        let tries = (0..8).map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                store.write("/race", Expect::Modified(at), bytes(&n.to_string()), None).await.unwrap()
            })
        });
        let mut won = Vec::new();
        for attempt in tries.collect::<Vec<_>>() {
            if let Outcome::Done(object) = attempt.await.unwrap() {
                won.push(object.modified);
            }
        }
        assert_eq!(won, [at + 1], "round {round}");
        at = won[0];
    }
}
