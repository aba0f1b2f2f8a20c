//! Follows a watch into the cache, tells the subscribers, and starts over after errors.

use std::{collections::BTreeSet, fmt::Debug, pin::pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use kube::{Resource, runtime::watcher};
use tracing::{debug, warn};

use super::{
    State,
    cache::{Cache, Change},
};
use crate::{Chain, Key};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Runs until aborted; kube's watcher never ends by itself, it only needs a pause after an error.
pub(super) async fn follow<K>(stream: impl Stream<Item = watcher::Result<watcher::Event<K>>>, state: Arc<State<K>>)
where
    K: Resource<DynamicType = ()> + Debug,
{
    let mut stream = pin!(stream);
    let mut listed = BTreeSet::new();
    let mut pause = None;
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                if pause.take().is_some() {
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
fn take_in<K: Resource<DynamicType = ()>>(event: watcher::Event<K>, listed: &mut BTreeSet<Key>, state: &State<K>) {
    match event {
        watcher::Event::Init => listed.clear(),
        watcher::Event::InitApply(object) => {
            listed.insert(Key::of(&object));
            change(state, |cache| cache.put(object).into_iter().collect());
        }
        watcher::Event::InitDone => {
            change(state, |cache| cache.retain(listed));
            listed.clear();
            state.synced.send_if_modified(|synced| !std::mem::replace(synced, true));
        }
        watcher::Event::Apply(object) => change(state, |cache| cache.put(object).into_iter().collect()),
        watcher::Event::Delete(object) => {
            change(state, |cache| cache.remove(&Key::of(&object)).into_iter().collect());
        }
    }
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
    use parking_lot::{Mutex, RwLock};
    use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};

    use super::*;
    use crate::{Queue, Shared, shared::StopOnDrop};

    fn map(name: &str, version: &str) -> ConfigMap {
        let mut map = ConfigMap::default();
        map.metadata.name = Some(name.into());
        map.metadata.resource_version = Some(version.into());
        map
    }

    fn shared() -> Shared<ConfigMap> {
        let (synced, _) = tokio::sync::watch::channel(false);
        let state = State { cache: RwLock::new(Cache::new(Vec::new())), handlers: Mutex::new(Vec::new()), synced };
        let idle = tokio::spawn(std::future::pending::<()>());
        Shared { state: Arc::new(state), _watch: Arc::new(StopOnDrop(idle.abort_handle())) }
    }

    fn told(shared: &Shared<ConfigMap>) -> Arc<Mutex<Vec<String>>> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = told.clone();
        shared.on_change(move |old, new| {
            let version = |map: Option<&Arc<ConfigMap>>| {
                map.map_or("-".to_owned(), |map| format!("{}@{}", map.name_any(), map.resource_version().unwrap()))
            };
            log.lock().push(format!("{} {}", version(old), version(new)));
        });
        told
    }

    #[tokio::test(start_paused = true)]
    async fn subscribers_hear_old_and_new_and_a_relist_tells_only_differences() {
        let shared = shared();
        let told = told(&shared);
        let events = vec![
            Ok(Init),
            Ok(InitApply(map("a", "1"))),
            Ok(InitApply(map("b", "2"))),
            Ok(InitDone),
            Ok(Apply(map("a", "3"))),
            Err(watcher::Error::NoResourceVersion),
            Ok(Init),
            Ok(InitApply(map("a", "3"))),
            Ok(InitApply(map("c", "5"))),
            Ok(InitDone),
            Ok(Delete(map("c", "6"))),
        ];
        follow(stream::iter(events), shared.state.clone()).await;
        assert_eq!(*told.lock(), ["- a@1", "- b@2", "a@1 a@3", "- c@5", "b@2 -", "c@5 -"]);
        shared.synced().await;
    }

    #[tokio::test]
    async fn a_late_subscriber_hears_first_what_is_there() {
        let shared = shared();
        follow(stream::iter(vec![Ok(Init), Ok(InitApply(map("a", "1"))), Ok(InitDone)]), shared.state.clone()).await;
        let told = told(&shared);
        let queue = Queue::new();
        shared.feed_own(&queue);
        assert_eq!(*told.lock(), ["- a@1"]);
        assert_eq!(queue.len(), 1);
    }

    #[tokio::test]
    async fn it_is_not_synced_before_the_whole_list_came() {
        let shared = shared();
        follow(stream::iter(vec![Ok(Init), Ok(InitApply(map("a", "1")))]), shared.state.clone()).await;
        assert!(!*shared.state.synced.borrow());
    }
}
