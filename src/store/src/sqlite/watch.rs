//! Watches: readers with a cursor.
//!
//! A watch holds no queue that writers fill. It remembers how far it has read and, woken by the revision moving, reads on
//! from memory, or from the log when it is far behind. So a reader that stands still costs nothing and holds nobody up;
//! when compaction passes it, it is told so.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream;
use tokio::sync::watch as notify;
use tokio::time::Instant;

use super::{Shared, run_blocking};
use crate::memory::Recent;
use crate::{Error, Event, Revision, Watch, WatchItem};

/// How many events are taken at a time.
const BATCH: usize = 256;

struct Cursor {
    shared: Arc<Shared>,
    prefix: String,
    /// Everything up to here was taken.
    taken: Revision,
    /// Everything up to here was told to the reader.
    told: Revision,
    last_told: Instant,
    caught_up_once: bool,
    ready: VecDeque<Arc<Event>>,
    moved: notify::Receiver<Revision>,
}

pub(super) fn start(shared: Arc<Shared>, prefix: String, after: Revision) -> Result<Watch, Error> {
    let compacted = shared.compacted();
    if after < compacted {
        return Err(Error::Compacted { requested: after, compacted });
    }
    let moved = shared.moved.subscribe();
    let cursor = Cursor {
        shared,
        prefix,
        taken: after,
        told: after,
        last_told: Instant::now(),
        caught_up_once: false,
        ready: VecDeque::new(),
        moved,
    };
    Ok(Box::pin(stream::unfold(Some(cursor), |cursor| async { cursor?.next().await })))
}

impl Cursor {
    async fn next(mut self) -> Option<(WatchItem, Option<Self>)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.tell(event.revision());
                return Some((WatchItem::Event(event), Some(self)));
            }
            match self.take().await {
                Ok(()) => {}
                Err(Error::Compacted { .. }) => return Some((WatchItem::Compacted, None)),
                Err(error) => {
                    tracing::warn!(%error, prefix = self.prefix, "a watch ended because the log could not be read");
                    return None;
                }
            }
            if !self.ready.is_empty() || self.taken < *self.moved.borrow() {
                continue;
            }
            let due = !self.caught_up_once || self.last_told.elapsed() >= self.shared.options.progress;
            if (self.taken > self.told || !self.caught_up_once) && due {
                self.caught_up_once = true;
                self.tell(self.taken);
                return Some((WatchItem::Progress(self.taken), Some(self)));
            }
            self.rest().await?;
        }
    }

    fn tell(&mut self, revision: Revision) {
        self.told = revision;
        self.last_told = Instant::now();
    }

    /// Takes the next events, from memory if it reaches back so far.
    async fn take(&mut self) -> Result<(), Error> {
        let (recent, current) = {
            let memory = self.shared.memory.read();
            (memory.since(&self.prefix, self.taken, BATCH), memory.current())
        };
        match recent {
            Recent::Events(events, until) => {
                self.ready.extend(events);
                self.taken = until;
            }
            Recent::TooOld => {
                let (shared, prefix, taken) = (self.shared.clone(), self.prefix.clone(), self.taken);
                let events = run_blocking(move || shared.reader.events(&prefix, taken, current, BATCH)).await?;
                self.taken = match events.last() {
                    Some(last) if events.len() == BATCH => last.revision(),
                    _ => current,
                };
                self.ready.extend(events);
            }
        }
        Ok(())
    }

    /// Waits until the revision moves, or until it is time to tell that it has. `None` when the store is closed.
    async fn rest(&mut self) -> Option<()> {
        let moved = self.moved.changed();
        if self.taken > self.told {
            let due = self.last_told + self.shared.options.progress;
            return match tokio::time::timeout_at(due, moved).await {
                Ok(moved) => moved.ok(),
                Err(_) => Some(()),
            };
        }
        moved.await.ok()
    }
}
