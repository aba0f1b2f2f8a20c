//! One watch and one cache per kind per process, read by every controller in it.
//!
//! kube's `Controller` holds a watch and a cache of its own for each kind that it looks at; five controllers that look
//! at Servers would decode each Server five times and keep five copies. Here the watch feeds one cache, and whoever
//! wants to know of changes subscribes.

mod cache;
mod watch;

use std::{fmt::Debug, sync::Arc};

use kube::{Api, Resource, runtime::watcher};
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use tokio::{sync::watch as signal, task::AbortHandle};

use crate::{Key, Queue};
use cache::{Cache, Index};

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
    /// Locked over each change and its telling, so that a new subscriber misses none and hears none twice.
    handlers: Mutex<Vec<Handler<K>>>,
    synced: signal::Sender<bool>,
}

struct StopOnDrop(AbortHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A watch that has not begun: indexes are named here.
pub struct SharedBuilder<K> {
    api: Api<K>,
    selector: watcher::Config,
    indexes: Vec<Index<K>>,
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

    /// Begins to watch. Must be called within a tokio runtime.
    pub fn start(self) -> Shared<K> {
        let (synced, _) = signal::channel(false);
        let state =
            Arc::new(State { cache: RwLock::new(Cache::new(self.indexes)), handlers: Mutex::new(Vec::new()), synced });
        let stream = watcher(self.api, self.selector);
        let task = tokio::spawn(watch::follow(stream, state.clone()));
        Shared { state, _watch: Arc::new(StopOnDrop(task.abort_handle())) }
    }
}

impl<K> Shared<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// A watch over all that `api` covers, such as `Api::all(client)`.
    pub fn builder(api: Api<K>) -> SharedBuilder<K> {
        SharedBuilder { api, selector: watcher::Config::default(), indexes: Vec::new() }
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
