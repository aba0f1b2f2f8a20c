//! The live values and the newest events, in memory.
//!
//! Reads of live objects and watches that keep up never touch the disk. Objects and events share their bytes; events are
//! bounded in number and size, and older ones are read from the log again.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::CacheOptions;
use crate::{Event, Object, Page, Range, Revision};

/// The state after the newest durable write.
pub(super) struct Memory {
    live: BTreeMap<Arc<str>, Object>,
    recent: VecDeque<Arc<Event>>,
    recent_bytes: usize,
    bounds: CacheOptions,
    current: Revision,
}

/// What [`Memory::since`] found.
pub(super) enum Recent {
    /// Matching events, and the revision up to which the search went.
    Events(Vec<Arc<Event>>, Revision),
    /// The wanted revisions are no longer in memory.
    TooOld,
}

impl Memory {
    pub fn new(live: BTreeMap<Arc<str>, Object>, current: Revision, bounds: CacheOptions) -> Self {
        Self { live, recent: VecDeque::new(), recent_bytes: 0, bounds, current }
    }

    pub fn current(&self) -> Revision {
        self.current
    }

    pub fn get(&self, key: &str) -> Option<&Object> {
        self.live.get(key)
    }

    /// Adds one durable write, the one after the current revision.
    pub fn publish(&mut self, event: Arc<Event>) {
        self.current = event.revision();
        if event.deleted {
            self.live.remove(&event.object.key);
        } else {
            self.live.insert(event.object.key.clone(), event.object.clone());
        }
        self.recent_bytes += size(&event);
        self.recent.push_back(event);
        while self.recent.len() > self.bounds.recent_events || self.recent_bytes > self.bounds.recent_bytes {
            let Some(old) = self.recent.pop_front() else { break };
            self.recent_bytes -= size(&old);
        }
    }

    /// A page of what is live; `range.at` is not looked at.
    pub fn page(&self, range: &Range) -> Page {
        let start = match &range.after {
            Some(after) if after.as_str() >= range.prefix.as_str() => Bound::Excluded(after.as_str()),
            _ => Bound::Included(range.prefix.as_str()),
        };
        let mut rest = self
            .live
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&range.prefix))
            .map(|(_, object)| object);
        let limit = if range.limit == 0 { usize::MAX } else { range.limit };
        let objects = rest.by_ref().take(limit).cloned().collect();
        Page { objects, revision: self.current, remaining: rest.count() }
    }

    /// Whether nothing under `prefix` changed after `revision`; `None` when memory does not reach back so far.
    pub fn unchanged_since(&self, prefix: &str, revision: Revision) -> Option<bool> {
        match self.since(prefix, revision, 1) {
            Recent::Events(events, _) => Some(events.is_empty()),
            Recent::TooOld => None,
        }
    }

    /// Up to `limit` events under `prefix` after `revision`.
    pub fn since(&self, prefix: &str, revision: Revision, limit: usize) -> Recent {
        if revision >= self.current {
            return Recent::Events(Vec::new(), revision);
        }
        if self.recent.front().is_none_or(|oldest| oldest.revision() > revision + 1) {
            return Recent::TooOld;
        }
        let start = self.recent.partition_point(|event| event.revision() <= revision);
        let mut found = Vec::new();
        for event in self.recent.range(start..) {
            if event.object.key.starts_with(prefix) {
                found.push(event.clone());
                if found.len() == limit {
                    return Recent::Events(found, event.revision());
                }
            }
        }
        Recent::Events(found, self.current)
    }
}

fn size(event: &Event) -> usize {
    event.object.value.len() + event.previous.as_ref().map_or(0, |previous| previous.value.len()) + 256
}
