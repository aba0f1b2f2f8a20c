//! Seconds since the machine was booted, asleep or awake: what deadlines are measured by. Nobody can set this clock.

use nix::time::{ClockId, clock_gettime};

/// Whole seconds since the machine was booted.
#[must_use]
pub fn since_boot() -> i64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has this clock since 2.6.39").tv_sec()
}
