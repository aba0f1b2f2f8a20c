//! Follows a watch into the cache, notifies the subscribers, and starts over after errors.

use std::{collections::BTreeSet, fmt::Debug, pin::pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use kube::{Resource, runtime::watcher};
use tracing::{debug, warn};

use super::{
    State,
    cache::{Cache, Change},
    item::{Item, Unreadable},
};
use crate::{Chain, Key};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Runs until aborted; kube's watcher never ends by itself, it only needs a pause after an error.
pub(super) async fn follow<K>(
    stream: impl Stream<Item = watcher::Result<watcher::Event<Item<K>>>>,
    state: Arc<State<K>>,
) where
    K: Resource<DynamicType = ()> + Debug,
{
    let mut stream = pin!(stream);
    let mut listed = BTreeSet::new();
    let mut pause = None;
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                // A list that began may fail as the last one did: only one that ended, or a change, is a success.
                let works = !matches!(event, watcher::Event::Init | watcher::Event::InitApply(_));
                if works && pause.take().is_some() {
                    debug!(kind = %K::kind(&()), "the watch goes on");
                }
                take_in(event, &mut listed, &state);
            }
            Err(error) => {
                let next = pause.map_or(FIRST_PAUSE, |last: Duration| (last * 2).min(LONGEST_PAUSE));
                if pause.is_none() {
                    warn!(kind = %K::kind(&()), error = %Chain(&error), "the watch broke, trying again");
                }
                tokio::time::sleep(next).await;
                pause = Some(next);
            }
        }
    }
}

/// One event of the watch. `listed` collects the keys of a list while it lasts.
fn take_in<K: Resource<DynamicType = ()>>(
    event: watcher::Event<Item<K>>,
    listed: &mut BTreeSet<Key>,
    state: &State<K>,
) {
    match event {
        watcher::Event::Init => listed.clear(),
        watcher::Event::InitApply(item) => {
            listed.insert(Key::of(&item));
            put(state, item);
        }
        watcher::Event::InitDone => {
            state.unreadable.lock().retain(|key, _| listed.contains(key));
            change(state, |cache| cache.retain(listed));
            listed.clear();
            state.synced.send_if_modified(|synced| !std::mem::replace(synced, true));
        }
        watcher::Event::Apply(item) => put(state, item),
        watcher::Event::Delete(item) => {
            let key = Key::of(&item);
            state.unreadable.lock().remove(&key);
            change(state, |cache| cache.remove(&key).into_iter().collect());
        }
    }
}

fn put<K: Resource<DynamicType = ()>>(state: &State<K>, item: Item<K>) {
    match item {
        Item::Read(object) => {
            state.unreadable.lock().remove(&Key::of(&object));
            change(state, |cache| cache.put(object).into_iter().collect());
        }
        Item::Unreadable(object) => unreadable(state, *object),
    }
}

/// The cache keeps what it could read of this object before: that is old, but nobody takes the object for gone. Of an
/// earlier object of the name it keeps nothing.
fn unreadable<K: Resource<DynamicType = ()>>(state: &State<K>, object: Unreadable) {
    let key = object.key();
    change(state, |cache| {
        let another = cache.get(&key).is_some_and(|old| old.meta().uid != object.metadata.uid);
        another.then(|| cache.remove(&key)).flatten().into_iter().collect()
    });
    let mut all = state.unreadable.lock();
    let same = |old: &Unreadable| {
        old.error == object.error
            && old.metadata.uid == object.metadata.uid
            && old.metadata.generation == object.metadata.generation
    };
    if !all.get(&key).is_some_and(same) {
        warn!(kind = %K::kind(&()), %key, error = object.error, "an object cannot be read");
        state.news.add(key.clone());
    }
    all.insert(key, object);
}

fn change<K>(state: &State<K>, make: impl FnOnce(&mut Cache<K>) -> Vec<Change<K>>) {
    let handlers = state.handlers.lock();
    let changes = make(&mut state.cache.write());
    for (old, new) in &changes {
        handlers.iter().for_each(|handler| handler(old.as_ref(), new.as_ref()));
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt;
    use parking_lot::Mutex;
    use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};

    use super::*;
    use crate::{Queue, Shared, shared::StopOnDrop};

    fn map(name: &str, version: &str) -> ConfigMap {
        let mut map = ConfigMap::default();
        map.metadata.name = Some(name.into());
        map.metadata.resource_version = Some(version.into());
        map
    }

    fn item(name: &str, version: &str) -> Item<ConfigMap> {
        Item::Read(map(name, version))
    }

    fn bad(name: &str, uid: &str) -> Item<ConfigMap> {
        let mut metadata = map(name, "9").metadata;
        metadata.uid = Some(uid.into());
        Item::Unreadable(Box::new(Unreadable { metadata, error: "data: no".into(), ready: None }))
    }

    fn shared() -> Shared<ConfigMap> {
        Shared { state: Arc::new(State::new(Vec::new())), _watch: Arc::new(StopOnDrop(Vec::new())) }
    }

    fn changes(shared: &Shared<ConfigMap>) -> Arc<Mutex<Vec<String>>> {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let log = changes.clone();
        shared.on_change(move |old, new| {
            let version = |map: Option<&Arc<ConfigMap>>| {
                map.map_or("-".to_owned(), |map| format!("{}@{}", map.name_any(), map.resource_version().unwrap()))
            };
            log.lock().push(format!("{} {}", version(old), version(new)));
        });
        changes
    }

    #[tokio::test(start_paused = true)]
    async fn subscribers_hear_old_and_new_and_a_relist_reports_only_differences() {
        let shared = shared();
        let changes = changes(&shared);
        let events = vec![
            Ok(Init),
            Ok(InitApply(item("a", "1"))),
            Ok(InitApply(item("b", "2"))),
            Ok(InitDone),
            Ok(Apply(item("a", "3"))),
            Err(watcher::Error::NoResourceVersion),
            Ok(Init),
            Ok(InitApply(item("a", "3"))),
            Ok(InitApply(item("c", "5"))),
            Ok(InitDone),
            Ok(Delete(item("c", "6"))),
        ];
        follow(stream::iter(events), shared.state.clone()).await;
        assert_eq!(*changes.lock(), ["- a@1", "- b@2", "a@1 a@3", "- c@5", "b@2 -", "c@5 -"]);
        shared.synced().await;
    }

    #[tokio::test]
    async fn a_late_subscriber_hears_first_what_is_there() {
        let shared = shared();
        follow(stream::iter(vec![Ok(Init), Ok(InitApply(item("a", "1"))), Ok(InitDone)]), shared.state.clone()).await;
        let changes = changes(&shared);
        let queue = Queue::new();
        shared.feed_own(&queue);
        assert_eq!(*changes.lock(), ["- a@1"]);
        assert_eq!(queue.len(), 1);
    }

    #[tokio::test]
    async fn it_is_not_synced_before_the_whole_list_came() {
        let shared = shared();
        follow(stream::iter(vec![Ok(Init), Ok(InitApply(item("a", "1")))]), shared.state.clone()).await;
        assert!(!*shared.state.synced.borrow());
    }

    #[tokio::test]
    async fn what_cannot_be_read_hides_nothing_else_and_is_never_taken_for_gone() {
        let shared = shared();
        let changes = changes(&shared);
        let mut a = map("a", "1");
        a.metadata.uid = Some("u".into());
        let events = vec![
            Ok(Init),
            Ok(InitApply(Item::Read(a))),
            Ok(InitApply(bad("b", "v"))),
            Ok(InitApply(item("c", "3"))),
            Ok(InitDone),
            Ok(Apply(bad("a", "u"))),
            Ok(Apply(bad("a", "u"))),
        ];
        follow(stream::iter(events), shared.state.clone()).await;
        shared.synced().await;
        assert_eq!(*changes.lock(), ["- a@1", "- c@3"]);
        assert_eq!(shared.unreadable_in("").len(), 2);
        assert_eq!(shared.state.news.len(), 2, "each is news once");

        // Another object of that name; then one that can be read; then a list without the last one.
        let events = vec![
            Ok(Apply(bad("a", "w"))),
            Ok(Apply(item("a", "5"))),
            Ok(Init),
            Ok(InitApply(item("a", "5"))),
            Ok(InitDone),
        ];
        follow(stream::iter(events), shared.state.clone()).await;
        assert_eq!(changes.lock()[2..], ["a@1 -", "- a@5", "c@3 -"]);
        assert!(shared.unreadable_in("").is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_fails_again_and_again_is_tried_ever_more_seldom() {
        let shared = shared();
        let begun = tokio::time::Instant::now();
        let fails = || [Ok(Init), Ok(InitApply(item("a", "1"))), Err(watcher::Error::NoResourceVersion)];
        follow(stream::iter((0..4).flat_map(|_| fails())), shared.state.clone()).await;
        assert_eq!(begun.elapsed(), FIRST_PAUSE * (1 + 2 + 4 + 8));
    }
}
