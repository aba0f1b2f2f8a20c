//! A store over any log: the live objects and the newest events in memory, and the watches.
//!
//! ```text
//!  write ─▶ log: compare, make durable ─▶ tail ─▶ memory ─▶ answer ─▶ watches under that prefix are woken
//!  get, list now ──────────────────────────────▶ memory
//!  list at an old revision, watch from far back ─▶ the log's past
//! ```

mod memory;
mod watch;
mod watchers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::watch as notify;

use crate::log::{Loaded, Log, Past, Tail};
use crate::{Error, Event, Expect, Got, Guard, Outcome, Page, Range, Revision, Store, Watch};
use memory::Memory;
use watchers::Watchers;

/// Bounds of what is kept in memory.
#[derive(Debug, Clone, Copy)]
pub struct CacheOptions {
    /// How many of the newest events stay in memory for watches.
    pub recent_events: usize,
    /// How many bytes of values those events may hold.
    pub recent_bytes: usize,
    /// How long a watch may stay silent while the revision moves on.
    pub progress: Duration,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { recent_events: 4096, recent_bytes: 8 << 20, progress: Duration::from_secs(1) }
    }
}

/// A store that reads from memory and writes to a log. Clones share it; the log closes with the last one.
pub struct CachedStore<L> {
    log: Arc<L>,
    cache: Arc<Cache>,
}

impl<L> Clone for CachedStore<L> {
    fn clone(&self) -> Self {
        Self { log: self.log.clone(), cache: self.cache.clone() }
    }
}

/// What reads, watches and the log's tail share.
struct Cache {
    memory: RwLock<Memory>,
    /// The revision that memory has, for writes that wait for it.
    reached: notify::Sender<Revision>,
    compacted: AtomicU64,
    appended: AtomicU64,
    watchers: Arc<Watchers>,
    past: Arc<dyn Past>,
    options: CacheOptions,
}

impl Cache {
    fn compacted(&self) -> Revision {
        self.compacted.load(Ordering::Acquire)
    }

    fn publish(&self, events: Vec<Arc<Event>>) {
        let bytes: usize = events.iter().map(|event| event.object.value.len()).sum();
        let current = {
            let mut memory = self.memory.write();
            events.into_iter().for_each(|event| memory.publish(event));
            memory.current()
        };
        self.appended.fetch_add(bytes as u64, Ordering::Relaxed);
        self.reached.send_replace(current);
    }
}

/// Brings what is appended into memory, and wakes the watches that it concerns.
struct Published {
    cache: Arc<Cache>,
    /// What has changed since the watches were woken last.
    keys: Vec<Arc<str>>,
}

impl Tail for Published {
    fn take(&mut self, events: Vec<Arc<Event>>) {
        self.keys.extend(events.iter().map(|event| event.object.key.clone()));
        self.cache.publish(events);
    }

    fn wake(&mut self) {
        self.cache.watchers.wake(&self.keys);
        self.keys.clear();
    }
}

impl<L: Log> CachedStore<L> {
    /// A store over a log that was just opened, and had this state then.
    pub fn new(log: L, loaded: Loaded, options: CacheOptions) -> Self {
        let Loaded { live, current, compacted } = loaded;
        let cache = Arc::new(Cache {
            memory: RwLock::new(Memory::new(live, current, options)),
            reached: notify::Sender::new(current),
            compacted: AtomicU64::new(compacted),
            appended: AtomicU64::new(0),
            watchers: Arc::new(Watchers::new(options.progress)),
            past: log.past(),
            options,
        });
        log.follow(Box::new(Published { cache: cache.clone(), keys: Vec::new() }));
        Self { log: Arc::new(log), cache }
    }

    /// Returns when memory has this revision.
    async fn reach(&self, revision: Revision) -> Result<(), Error> {
        if self.cache.memory.read().current() >= revision {
            return Ok(());
        }
        let mut reached = self.cache.reached.subscribe();
        reached.wait_for(|current| *current >= revision).await.map(drop).map_err(|_| Error::Closed)
    }
}

impl<L: Log> Store for CachedStore<L> {
    async fn get(&self, key: &str) -> Result<Got, Error> {
        let memory = self.cache.memory.read();
        Ok(Got { object: memory.get(key).cloned(), revision: memory.current() })
    }

    async fn range(&self, range: Range) -> Result<Page, Error> {
        let cache = &self.cache;
        let Some(at) = range.at else { return Ok(cache.memory.read().page(&range)) };
        {
            let memory = cache.memory.read();
            let (current, compacted) = (memory.current(), cache.compacted());
            if at > current {
                return Err(Error::Future { requested: at, current });
            }
            if at < compacted {
                return Err(Error::Compacted { requested: at, compacted });
            }
            if memory.unchanged_since(&range.prefix, at) == Some(true) {
                return Ok(Page { revision: at, ..memory.page(&range) });
            }
        }
        cache.past.page(range, at).await
    }

    async fn write(
        &self,
        key: &str,
        expect: Expect,
        value: Option<Bytes>,
        guard: Option<Guard>,
    ) -> Result<Outcome, Error> {
        let outcome = self.log.append(key, expect, value, guard).await?;
        let seen = match &outcome {
            Outcome::Done(object) => Some(object.modified),
            Outcome::Differs(object) => object.as_ref().map(|object| object.modified),
            Outcome::Outdated(revision) => Some(*revision),
        };
        // Whoever hears of a revision finds it in the next read.
        if let Some(revision) = seen {
            self.reach(revision).await?;
        }
        Ok(outcome)
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        watch::start(self.cache.clone(), prefix, after)
    }

    async fn current(&self) -> Result<Revision, Error> {
        Ok(self.cache.memory.read().current())
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        let current = self.cache.memory.read().current();
        if revision > current {
            return Err(Error::Future { requested: revision, current });
        }
        self.cache.compacted.fetch_max(revision, Ordering::AcqRel);
        self.log.compact(revision).await
    }

    fn appended(&self) -> u64 {
        self.cache.appended.load(Ordering::Relaxed)
    }
}
