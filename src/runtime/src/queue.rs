//! A queue of keys: each waits at most once, none is worked on twice at a time, some come back later.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    hash::Hash,
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::{sync::Notify, time::Instant};

use crate::measures;

/// A queue of keys. Cloning gives another handle to the same queue.
///
/// ```text
///            add                      next                    done
///   (none) ──────▶ waiting (once) ──────────▶ running ───────────────▶ (none)
///      ▲               ▲                         │ add: again = true ──▶ waiting
///      └── add_after ──┴─ when the time comes    │
/// ```
pub struct Queue<T> {
    inner: Arc<Inner<T>>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

struct Inner<T> {
    state: Mutex<State<T>>,
    wake: Notify,
    /// Where the number of ready keys is shown.
    depth: OnceLock<IntGauge>,
}

impl<T> Inner<T> {
    fn show_depth(&self, state: &State<T>) {
        if let Some(depth) = self.depth.get() {
            depth.set(i64::try_from(state.ready.len()).unwrap_or(i64::MAX));
        }
    }
}

struct State<T> {
    ready: VecDeque<T>,
    waiting: HashSet<T>,
    running: HashSet<T>,
    again: HashSet<T>,
    timers: BTreeMap<(Instant, u64), T>,
    due: HashMap<T, (Instant, u64)>,
    sequence: u64,
}

impl<T: Clone + Eq + Hash> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone + Eq + Hash> Queue<T> {
    /// An empty queue.
    pub fn new() -> Self {
        let state = State {
            ready: VecDeque::new(),
            waiting: HashSet::new(),
            running: HashSet::new(),
            again: HashSet::new(),
            timers: BTreeMap::new(),
            due: HashMap::new(),
            sequence: 0,
        };
        Self { inner: Arc::new(Inner { state: Mutex::new(state), wake: Notify::new(), depth: OnceLock::new() }) }
    }

    /// Asks for a pass as soon as one can run.
    pub fn add(&self, key: T) {
        let mut state = self.inner.state.lock();
        if state.add(key) {
            self.inner.show_depth(&state);
            drop(state);
            self.inner.wake.notify_one();
        }
    }

    /// Shows the queue's depth under this name; the first name counts.
    pub(crate) fn measure(&self, name: &str) {
        self.inner.depth.get_or_init(|| measures::depth(name));
    }

    /// Asks for a pass in `delay`, unless one is due sooner. Every pass clears it: what a pass still wants later, it says.
    pub fn add_after(&self, key: T, delay: Duration) {
        let mut state = self.inner.state.lock();
        let at = Instant::now() + delay;
        if state.due.get(&key).is_some_and(|(due, _)| *due <= at) {
            return;
        }
        state.cancel(&key);
        state.sequence += 1;
        let timer = (at, state.sequence);
        state.timers.insert(timer, key.clone());
        state.due.insert(key, timer);
        drop(state);
        self.inner.wake.notify_one();
    }

    /// How many keys are ready to be worked on.
    pub fn len(&self) -> usize {
        self.inner.state.lock().ready.len()
    }

    /// Whether no key is ready.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for the next key. It counts as running until the ticket is dropped. For one caller at a time.
    pub(crate) async fn next(&self) -> Ticket<T> {
        loop {
            let next_timer = {
                let mut state = self.inner.state.lock();
                state.ring();
                let taken = state.take();
                self.inner.show_depth(&state);
                if let Some(key) = taken {
                    return Ticket { key, queue: self.clone() };
                }
                state.timers.keys().next().map(|(at, _)| *at)
            };
            let woken = self.inner.wake.notified();
            match next_timer {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, woken).await;
                }
                None => woken.await,
            }
        }
    }
}

impl<T: Clone + Eq + Hash> State<T> {
    /// True when somebody has to be woken.
    fn add(&mut self, key: T) -> bool {
        if self.running.contains(&key) {
            self.again.insert(key);
            return false;
        }
        let new = self.waiting.insert(key.clone());
        if new {
            self.ready.push_back(key);
        }
        new
    }

    fn take(&mut self) -> Option<T> {
        let key = self.ready.pop_front()?;
        self.waiting.remove(&key);
        self.running.insert(key.clone());
        self.cancel(&key);
        Some(key)
    }

    fn ring(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let key = entry.remove();
            self.due.remove(&key);
            self.add(key);
        }
    }

    fn cancel(&mut self, key: &T) {
        if let Some(timer) = self.due.remove(key) {
            self.timers.remove(&timer);
        }
    }
}

/// A key that is being worked on.
pub(crate) struct Ticket<T: Clone + Eq + Hash> {
    pub key: T,
    queue: Queue<T>,
}

impl<T: Clone + Eq + Hash> Drop for Ticket<T> {
    fn drop(&mut self) {
        let mut state = self.queue.inner.state.lock();
        state.running.remove(&self.key);
        if state.again.remove(&self.key) {
            state.add(self.key.clone());
            self.queue.inner.show_depth(&state);
            drop(state);
            self.queue.inner.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_waits_once_and_never_runs_twice_at_a_time() {
        let queue = Queue::new();
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.len(), 2);
        let a = queue.next().await;
        queue.add("a");
        queue.add("a");
        let b = queue.next().await;
        assert_eq!((a.key, b.key), ("a", "b"));
        assert!(queue.is_empty());
        drop(a);
        assert_eq!(queue.next().await.key, "a");
        drop(b);
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_sooner_of_two_delays_counts_and_a_pass_clears_it() {
        let queue = Queue::new();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(9));
        queue.add_after("a", Duration::from_secs(3));
        queue.add_after("a", Duration::from_secs(5));
        drop(queue.next().await);
        assert_eq!(start.elapsed().as_secs(), 3);
        assert!(tokio::time::timeout(Duration::from_secs(60), queue.next()).await.is_err());

        queue.add_after("a", Duration::from_secs(1));
        queue.add("a");
        drop(queue.next().await);
        assert!(tokio::time::timeout(Duration::from_secs(60), queue.next()).await.is_err());
    }

    #[tokio::test]
    async fn a_waiting_consumer_is_woken() {
        let queue = Queue::new();
        let consumer = tokio::spawn({
            let queue = queue.clone();
            async move { queue.next().await.key }
        });
        tokio::task::yield_now().await;
        queue.add("a");
        assert_eq!(consumer.await.unwrap(), "a");
    }
}
