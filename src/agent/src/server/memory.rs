//! What the loop over Servers remembers between passes. No decision rests on it, and all of it can be lost.

use nubium_runtime::{Key, StatusDebounce, WarnOnce};

use super::{Backoff, SeedCache, StartupReports};

#[derive(Default)]
pub struct Memory {
    pub seeds: SeedCache,
    pub backoff: Backoff,
    pub warnings: WarnOnce,
    /// The status of a Server that waits is written when that lasts.
    pub debounce: StatusDebounce,
    pub startup_reports: StartupReports,
}

impl Memory {
    /// The Server is no more. Its seed is filed under its UID, and is forgotten where that is known.
    pub fn forget(&self, key: &Key) {
        self.debounce.settled(key);
        self.backoff.forget(key);
        self.warnings.over(key);
    }
}
