//! The next step towards the wish. Pure.

use super::desired::Wish;
use super::observe::{Import, Seen};

/// One step; each is idempotent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Begin to fetch; what comes of it is seen in a later look.
    Start,
    /// Stop fetching, and throw away what came.
    Stop,
    /// Remove the file.
    Delete,
}

/// The table in the module's documentation.
pub fn next(wish: Wish, seen: &Seen) -> Option<Step> {
    match (wish, seen.file.is_some(), &seen.import) {
        (Wish::Present, false, Import::Idle | Import::Failed { due: true, .. }) => Some(Step::Start),
        (Wish::Present, false, Import::Running { .. } | Import::Failed { due: false, .. } | Import::Unsafe { .. }) => {
            None
        }
        (Wish::Present | Wish::Keep, true, _) => None,
        (Wish::Keep, false, _) => None,
        (Wish::Gone, _, Import::Running { .. }) => Some(Step::Stop),
        (Wish::Gone, true, Import::Idle | Import::Failed { .. } | Import::Unsafe { .. }) => Some(Step::Delete),
        (Wish::Gone, false, Import::Idle | Import::Failed { .. } | Import::Unsafe { .. }) => None,
    }
}
