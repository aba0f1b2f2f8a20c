//! Watches: readers with a cursor.
//!
//! A watch has no queue that writers fill. It remembers how far it has read and, when woken, reads on from memory, or from
//! the log when it is far behind. So a slow reader costs nothing and delays nobody; when compaction passes it, its watch
//! ends with [`WatchItem::Compacted`].

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use futures::stream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Cache;
use super::memory::Recent;
use super::watchers::Subscription;
use crate::{Error, Event, Revision, Watch, WatchItem};

/// How many events are read at a time.
const BATCH: usize = 256;

struct Cursor {
    cache: Arc<Cache>,
    prefix: String,
    /// Everything up to here was read.
    read: Revision,
    /// Everything up to here was delivered.
    delivered: Revision,
    last_delivery: Instant,
    caught_up_once: bool,
    ready: VecDeque<Arc<Event>>,
    subscription: Subscription,
    /// Ends when it is time to look whether there is progress to tell, or before: it is not set anew with each delivery.
    timer: Option<Pin<Box<Sleep>>>,
}

pub(super) fn start(cache: Arc<Cache>, prefix: &str, after: Revision) -> Result<Watch, Error> {
    let compacted = cache.compacted();
    if after < compacted {
        return Err(Error::Compacted { requested: after, compacted });
    }
    let subscription = cache.watchers.subscribe(prefix);
    let cursor = Cursor {
        cache,
        prefix: prefix.to_owned(),
        read: after,
        delivered: after,
        last_delivery: Instant::now(),
        caught_up_once: false,
        ready: VecDeque::new(),
        subscription,
        timer: None,
    };
    Ok(Box::pin(stream::unfold(Some(cursor), |cursor| async { cursor?.next().await })))
}

impl Cursor {
    async fn next(mut self) -> Option<(WatchItem, Option<Self>)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.deliver(event.revision());
                return Some((WatchItem::Event(event), Some(self)));
            }
            let caught_up = match self.read_on().await {
                Ok(caught_up) => caught_up,
                Err(Error::Compacted { .. }) => return Some((WatchItem::Compacted, None)),
                Err(error) => {
                    tracing::warn!(%error, prefix = self.prefix, "a watch ended because the log could not be read");
                    return None;
                }
            };
            if !self.ready.is_empty() || !caught_up {
                continue;
            }
            let due = !self.caught_up_once || self.last_delivery.elapsed() >= self.cache.options.progress;
            if (self.read > self.delivered || !self.caught_up_once) && due {
                self.caught_up_once = true;
                self.deliver(self.read);
                return Some((WatchItem::Progress(self.read), Some(self)));
            }
            self.rest().await;
        }
    }

    fn deliver(&mut self, revision: Revision) {
        self.delivered = revision;
        self.last_delivery = Instant::now();
    }

    /// Reads the next events, from memory if it reaches back so far. True when nothing is left to read.
    async fn read_on(&mut self) -> Result<bool, Error> {
        let (recent, current) = {
            let memory = self.cache.memory.read();
            (memory.since(&self.prefix, self.read, BATCH), memory.current())
        };
        match recent {
            Recent::Events(events, until) => {
                self.ready.extend(events);
                self.read = until;
            }
            Recent::TooOld => {
                let events = self.cache.past.events(self.prefix.clone(), self.read, current, BATCH).await?;
                self.read = match events.last() {
                    Some(last) if events.len() == BATCH => last.revision(),
                    _ => current,
                };
                self.ready.extend(events);
            }
        }
        Ok(self.read >= current)
    }

    /// Waits until something under the prefix has changed, or until it is time to say that the revision has moved.
    ///
    /// After a delivery the time of the next progress is waited for once; from then on the interval of all watches
    /// ([`Watchers`](super::watchers::Watchers)) wakes this one.
    async fn rest(&mut self) {
        let due = self.last_delivery + self.cache.options.progress;
        if self.timer.is_none() && (self.read > self.delivered || Instant::now() < due) {
            self.timer = Some(Box::pin(sleep_until(due)));
        }
        let Some(timer) = self.timer.as_mut() else { return self.subscription.woken().await };
        // Both lead to another look.
        tokio::select! {
            () = self.subscription.woken() => {}
            () = timer => self.timer = None,
        }
    }
}
