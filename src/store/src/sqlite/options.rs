//! How much the embedded store keeps in memory, and where an empty one begins to count.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Revision;
use crate::memory::Bounds;

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
    /// How long a watch may go without telling that the revision has moved.
    pub progress: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            first_revision: u64::try_from(now.as_micros()).unwrap_or(1),
            recent_events: 4096,
            recent_bytes: 8 << 20,
            group: 256,
            progress: Duration::from_secs(1),
        }
    }
}

impl Options {
    pub(super) fn recent(&self) -> Bounds {
        Bounds { events: self.recent_events, bytes: self.recent_bytes }
    }
}
