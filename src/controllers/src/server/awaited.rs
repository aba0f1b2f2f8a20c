//! What Servers wait for that is not ours: the ConfigMaps and Secrets of their cloudInit.
//!
//! There are many of them and a controller has no business with most, so they are not watched, but for those of a
//! namespace while a Server in it misses one: then their metadata is, which is never kept. A settled cloud has no such
//! watch. Where it is refused (a role may allow to read Secrets and not to list them), a look comes later each time.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    fmt::Debug,
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{WatchStreamExt, watcher, watcher::Event},
};
use nubium_runtime::{Key, Queue};
use parking_lot::Mutex;
use tokio::{task::AbortHandle, time::Instant};

/// How soon a missing object is looked for again, watched or not.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const LAST_LOOK: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum SourceKind {
    ConfigMap,
    Secret,
}

/// One object that is missing, or a key that it lacks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MissingSource {
    pub kind: SourceKind,
    pub name: String,
    pub key: Option<String>,
}

impl fmt::Display for MissingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, key } = self;
        match key {
            Some(key) => write!(f, "key {key} of {kind:?} {name}"),
            None => write!(f, "{kind:?} {name}"),
        }
    }
}

/// Who waits for what. Cloning gives another handle.
#[derive(Clone)]
pub(super) struct Awaited {
    client: Client,
    queue: Queue<Key>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    waiting: HashMap<Key, Waiting>,
    /// By kind and namespace.
    watches: HashMap<(SourceKind, String), AbortHandle>,
}

struct Waiting {
    since: Instant,
    sources: BTreeSet<MissingSource>,
}

impl Awaited {
    pub fn new(client: Client, queue: Queue<Key>) -> Self {
        Self { client, queue, state: Arc::default() }
    }

    /// Takes down what a Server misses now, and gives the time after which to look again, if no event comes sooner.
    pub fn miss(&self, server: &Key, missing: &[MissingSource]) -> Option<Duration> {
        let mut state = self.state.lock();
        if missing.is_empty() {
            if state.waiting.remove(server).is_some() {
                state.stop_watches();
            }
            return None;
        }
        let since = state.waiting.get(server).map_or_else(Instant::now, |waiting| waiting.since);
        state.waiting.insert(server.clone(), Waiting { since, sources: missing.iter().cloned().collect() });
        for source in missing {
            let watched = (source.kind, server.namespace.clone());
            state.watches.entry(watched).or_insert_with(|| self.watch(source.kind, &server.namespace));
        }
        state.stop_watches();
        // As long again as it has waited so far.
        Some(since.elapsed().clamp(FIRST_LOOK, LAST_LOOK))
    }

    fn watch(&self, kind: SourceKind, namespace: &str) -> AbortHandle {
        let (client, state) = (self.client.clone(), Arc::downgrade(&self.state));
        let (queue, namespace) = (self.queue.clone(), namespace.to_owned());
        let here = namespace.clone();
        let wake = move |name: &str| wake(&state, &queue, kind, &here, name);
        match kind {
            SourceKind::ConfigMap => tokio::spawn(follow::<ConfigMap>(Api::namespaced(client, &namespace), wake)),
            SourceKind::Secret => tokio::spawn(follow::<Secret>(Api::namespaced(client, &namespace), wake)),
        }
        .abort_handle()
    }
}

impl State {
    /// Ends the watches that nobody needs.
    fn stop_watches(&mut self) {
        let Self { waiting, watches } = self;
        watches.retain(|(kind, namespace), watch| {
            let needed = waiting.iter().any(|(server, waiting)| {
                server.namespace == *namespace && waiting.sources.iter().any(|source| source.kind == *kind)
            });
            if !needed {
                watch.abort();
            }
            needed
        });
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.watches.values().for_each(AbortHandle::abort);
    }
}

/// An object came or changed: whoever waits for it looks again.
fn wake(state: &Weak<Mutex<State>>, queue: &Queue<Key>, kind: SourceKind, namespace: &str, name: &str) {
    let Some(state) = state.upgrade() else { return };
    let state = state.lock();
    for (server, waiting) in &state.waiting {
        let meant = |source: &MissingSource| source.kind == kind && source.name == name;
        if server.namespace == namespace && waiting.sources.iter().any(meant) {
            queue.add(server.clone());
        }
    }
}

/// Reports the name of every object that is there and of each that comes or changes. Runs until aborted.
async fn follow<K>(objects: Api<PartialObjectMeta<K>>, wake: impl Fn(&str))
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + 'static,
{
    let mut events = pin!(watcher(objects, watcher::Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        if let Ok(Event::InitApply(object) | Event::Apply(object)) = event {
            wake(&object.name_any());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    fn missing(kind: SourceKind, name: &str) -> MissingSource {
        MissingSource { kind, name: name.to_owned(), key: None }
    }

    /// A client of an API server that never answers.
    fn awaited() -> Awaited {
        let config = kube::Config::new("http://192.0.2.1:1".parse().unwrap());
        Awaited::new(Client::try_from(config).unwrap(), Queue::new())
    }

    fn watched(awaited: &Awaited) -> usize {
        awaited.state.lock().watches.len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_comes_later_each_time_up_to_half_a_minute_and_afresh_when_it_was_found() {
        let (awaited, web, keys) = (awaited(), Key::new("shop", "web"), [missing(SourceKind::ConfigMap, "keys")]);
        let mut looks = Vec::new();
        for _ in 0..8 {
            let next = awaited.miss(&web, &keys).unwrap();
            looks.push(next.as_secs());
            sleep(next).await;
        }
        assert_eq!(looks, [1, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(awaited.miss(&web, &[]), None);
        assert_eq!(awaited.miss(&web, &keys), Some(FIRST_LOOK));
    }

    #[tokio::test]
    async fn a_namespace_is_watched_once_while_a_server_in_it_misses_something_and_no_longer() {
        let awaited = awaited();
        let (web, db, other) = (Key::new("shop", "web"), Key::new("shop", "db"), Key::new("lab", "web"));
        awaited.miss(&web, &[missing(SourceKind::ConfigMap, "keys"), missing(SourceKind::Secret, "data")]);
        awaited.miss(&db, &[missing(SourceKind::ConfigMap, "other-keys")]);
        assert_eq!(watched(&awaited), 2);
        awaited.miss(&other, &[missing(SourceKind::Secret, "data")]);
        assert_eq!(watched(&awaited), 3);
        awaited.miss(&web, &[]);
        assert_eq!(watched(&awaited), 2, "db still waits for a ConfigMap of shop");
        awaited.miss(&db, &[]);
        awaited.miss(&other, &[]);
        assert_eq!(watched(&awaited), 0);
    }

    #[tokio::test]
    async fn only_who_waits_for_an_object_of_that_name_is_woken() {
        let awaited = awaited();
        awaited.miss(&Key::new("shop", "web"), &[missing(SourceKind::Secret, "data")]);
        let woken = |kind, namespace, name| {
            wake(&Arc::downgrade(&awaited.state), &awaited.queue, kind, namespace, name);
            awaited.queue.len()
        };
        assert_eq!(woken(SourceKind::ConfigMap, "shop", "data"), 0);
        assert_eq!(woken(SourceKind::Secret, "lab", "data"), 0);
        assert_eq!(woken(SourceKind::Secret, "shop", "other"), 0);
        assert_eq!(woken(SourceKind::Secret, "shop", "data"), 1);
    }
}
