//! Counts the elementary steps of algorithms on user-given lists, in unit tests only.
//!
//! The bound that a test asserts is on this count and not on wall time, so that a quadratic algorithm fails on any
//! machine. Product code calls [`step`] where a list item is looked at; outside of tests it is nothing.

#[cfg(not(test))]
#[inline(always)]
pub(crate) fn step() {}

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
pub(crate) fn step() {
    STEPS.set(STEPS.get() + 1);
}

/// How many steps `work` takes.
#[cfg(test)]
pub(crate) fn count<T>(work: impl FnOnce() -> T) -> u64 {
    let before = STEPS.get();
    std::hint::black_box(work());
    STEPS.get() - before
}

#[cfg(test)]
mod tests;
