//! One watch and one cache per kind per process, read by every controller in it.
//!
//! kube's `Controller` holds a watch and a cache of its own for each kind that it looks at; five controllers that look
//! at Servers would decode each Server five times and keep five copies. Here the watch feeds one cache, and whoever
//! wants to know of changes subscribes.

mod cache;
mod item;
mod report;
mod watch;

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use kube::{Api, Client, Resource, runtime::watcher};
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use tokio::{sync::watch as signal, task::AbortHandle};

use crate::{Key, Queue, Recorder};
use cache::{Cache, Index};
use item::Item;
pub use item::Unreadable;

type Handler<K> = Box<dyn Fn(Option<&Arc<K>>, Option<&Arc<K>>) + Send + Sync>;

/// Reads of one kind, from memory. Cloning is cheap; the watch ends with the last clone.
pub struct Shared<K> {
    state: Arc<State<K>>,
    _watch: Arc<StopOnDrop>,
}

impl<K> Clone for Shared<K> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), _watch: self._watch.clone() }
    }
}

struct State<K> {
    cache: RwLock<Cache<K>>,
    /// Locked over each change and the calls of its handlers, so that a new subscriber misses none and hears none twice.
    handlers: Mutex<Vec<Handler<K>>>,
    synced: signal::Sender<bool>,
    /// Objects that are there and cannot be decoded.
    unreadable: Mutex<BTreeMap<Key, Unreadable>>,
    /// Keys whose object became unreadable, or unreadable in another way.
    news: Queue<Key>,
}

impl<K: Resource<DynamicType = ()>> State<K> {
    fn new(indexes: Vec<Index<K>>) -> Self {
        let (synced, _) = signal::channel(false);
        Self {
            cache: RwLock::new(Cache::new(indexes)),
            handlers: Mutex::new(Vec::new()),
            synced,
            unreadable: Mutex::default(),
            news: Queue::new(),
        }
    }
}

/// The tasks of a watch.
struct StopOnDrop(Vec<AbortHandle>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// A watch that has not begun: indexes are named here.
pub struct SharedBuilder<K> {
    api: Api<K>,
    selector: watcher::Config,
    indexes: Vec<Index<K>>,
    recorder: Option<Recorder>,
}

impl<K> SharedBuilder<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// Only objects whose fields match, such as `status.host=a`.
    pub fn fields(mut self, selector: &str) -> Self {
        self.selector = self.selector.fields(selector);
        self
    }

    /// Adds a lookup: `values` says under which words an object is found by [`Shared::by`].
    pub fn index(mut self, name: &'static str, values: impl Fn(&K) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.indexes.push(Index { name, values: Box::new(values) });
        self
    }

    /// Says of each object that cannot be decoded that it is so: by `Ready=False` with the reason `Unreadable`, and by an
    /// Event. For the one process that may write the status of every object of the kind.
    pub fn report_unreadable(mut self, recorder: Recorder) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// Begins to watch. Must be called within a tokio runtime.
    pub fn start(self) -> Shared<K> {
        let state = Arc::new(State::new(self.indexes));
        let items = items_of::<K>(self.api.clone().into_client(), self.api.namespace().unwrap_or_default());
        let mut tasks = Vec::new();
        if let Some(recorder) = self.recorder {
            let report = report::run_reports(self.api.into_client(), recorder, state.clone());
            tasks.push(tokio::spawn(report).abort_handle());
        }
        let stream = watcher(items, self.selector);
        tasks.push(tokio::spawn(watch::follow(stream, state.clone())).abort_handle());
        Shared { state, _watch: Arc::new(StopOnDrop(tasks)) }
    }
}

/// The API of a kind in that namespace, or of all for none, that decodes each object by itself.
fn items_of<K: Resource<DynamicType = ()>>(client: Client, namespace: &str) -> Api<Item<K>> {
    match namespace {
        "" => Api::all_with(client, &()),
        namespace => Api::namespaced_with(client, namespace, &()),
    }
}

impl<K> Shared<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// A watch over all that `api` covers, such as `Api::all(client)`.
    pub fn builder(api: Api<K>) -> SharedBuilder<K> {
        SharedBuilder { api, selector: watcher::Config::default(), indexes: Vec::new(), recorder: None }
    }

    /// Waits until everything that existed at the start is in the cache.
    pub async fn synced(&self) {
        let mut synced = self.state.synced.subscribe();
        // The sender lives in the state that self holds.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    /// The object of that key, if the cache has it. Absence here never means that something may be destroyed.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.state.cache.read().get(key)
    }

    /// The objects of a namespace that are there and cannot be decoded: what they say counts as unknown, not as nothing.
    /// One that could be read before is in the cache as it was then.
    pub fn unreadable_in(&self, namespace: &str) -> Vec<Unreadable> {
        let unreadable = self.state.unreadable.lock();
        unreadable.iter().filter(|(key, _)| key.namespace == namespace).map(|(_, object)| object.clone()).collect()
    }

    /// All objects, by key.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.state.cache.read().list()
    }

    /// The objects that the named index files under `value`, by key.
    ///
    /// # Panics
    /// When no such index was named to the builder.
    pub fn by(&self, index: &'static str, value: &str) -> Vec<Arc<K>> {
        self.state.cache.read().by(index, value)
    }

    /// Calls `handler` with (old, new) for everything in the cache, as (None, object), and then for every change.
    ///
    /// It runs on the watch's task: it may read caches and fill queues, and must not block or subscribe.
    pub fn on_change(&self, handler: impl Fn(Option<&Arc<K>>, Option<&Arc<K>>) + Send + Sync + 'static) {
        let mut handlers = self.state.handlers.lock();
        for object in self.list() {
            handler(None, Some(&object));
        }
        handlers.push(Box::new(handler));
    }

    /// Puts into `queue` the keys that `keys` names for the object as it was and as it is, at every change.
    pub fn feed<T>(&self, queue: &Queue<T>, keys: impl Fn(&K) -> Vec<T> + Send + Sync + 'static)
    where
        T: Clone + Eq + std::hash::Hash + Send + 'static,
    {
        let queue = queue.clone();
        self.on_change(move |old, new| {
            for object in [old, new].into_iter().flatten() {
                keys(object).into_iter().for_each(|key| queue.add(key));
            }
        });
    }

    /// Puts the key of every object that changes into `queue`.
    pub fn feed_own(&self, queue: &Queue<Key>) {
        self.feed(queue, |object| vec![Key::of(object)]);
    }
}
