//! The next step towards the presence. Pure.

use super::imports::Import;
use super::observe::Seen;
use crate::presence::Presence;

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
pub fn next(presence: Presence, seen: &Seen) -> Option<Step> {
    match (presence, seen.file.is_some(), &seen.import) {
        (Presence::Present, false, Import::Idle | Import::Failed { due: true, .. }) => Some(Step::Start),
        (
            Presence::Present,
            false,
            Import::Running { .. } | Import::Failed { due: false, .. } | Import::Unsafe { .. },
        ) => None,
        (Presence::Present | Presence::Keep, true, _) => None,
        (Presence::Keep, false, _) => None,
        (Presence::Gone, _, Import::Running { .. }) => Some(Step::Stop),
        (Presence::Gone, true, Import::Idle | Import::Failed { .. } | Import::Unsafe { .. }) => Some(Step::Delete),
        (Presence::Gone, false, Import::Idle | Import::Failed { .. } | Import::Unsafe { .. }) => None,
    }
}
