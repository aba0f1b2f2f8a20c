//! Bounds of the embedded store, and where an empty one begins to count.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{CacheOptions, Revision};

/// Bounds of an embedded store.
#[derive(Debug, Clone)]
pub struct Options {
    /// The revision before an empty store's first write. By default microseconds since 1970: higher than any revision
    /// of a store that was there before, so nobody who remembers one mistakes the new store for the old.
    pub first_revision: Revision,
    /// How many of the newest events stay in memory for watches.
    pub recent_events: usize,
    /// How many bytes of values those events may hold.
    pub recent_bytes: usize,
    /// How many writes may share one commit.
    pub group: usize,
    /// How long a watch may stay silent while the revision moves on.
    pub progress: Duration,
    /// Open although objects are damaged: they are taken out of the store, and their bytes kept in the table `damaged`.
    pub drop_damaged: bool,
    /// With less than this free on the disk, only deletions and changes that need hardly more room are taken.
    pub headroom: u64,
    /// How much is kept in a file of its own, and given back when even those find no room.
    pub reserve: u64,
}

impl Default for Options {
    fn default() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let CacheOptions { recent_events, recent_bytes, progress } = CacheOptions::default();
        Self {
            first_revision: u64::try_from(now.as_micros()).unwrap_or(1),
            recent_events,
            recent_bytes,
            group: 256,
            progress,
            drop_damaged: false,
            headroom: 64 << 20,
            reserve: 16 << 20,
        }
    }
}

impl Options {
    pub(super) fn cache(&self) -> CacheOptions {
        let &Self { recent_events, recent_bytes, progress, .. } = self;
        CacheOptions { recent_events, recent_bytes, progress }
    }
}
