//! Counts the programs that are started for networks: each costs more than all else that a look does.

use std::sync::atomic::{AtomicU64, Ordering};

static STARTED: AtomicU64 = AtomicU64::new(0);

/// How many `nft` and `iptables` this process has started.
pub fn programs_started() -> u64 {
    STARTED.load(Ordering::Relaxed)
}

/// One more is about to be started.
pub(super) fn count_one() {
    STARTED.fetch_add(1, Ordering::Relaxed);
}
