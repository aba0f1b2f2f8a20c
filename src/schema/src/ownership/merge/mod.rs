//! The rules of ownership between managers.
//!
//! Two kinds of writes: an *update* gives the new object, and its manager comes to own what it changed; an *apply* gives
//! the part of the object that its manager cares for, and the manager owns just that: what it changes of others'
//! is a conflict (or taken from them by force), and what it said last time, says no longer and nobody else owns goes away.

mod conflict;
mod convert;
mod prune;
mod updater;

use std::collections::BTreeMap;

pub use conflict::{Conflict, Conflicts};
pub use convert::{ConvertError, Converter, SameVersion};
pub use updater::{MergeError, Refusal, Updater};

use super::Set;

/// What each manager owns. `K` identifies a manager.
pub type Managers<K> = BTreeMap<K, Owned>;

/// What one manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    pub set: Set,
    /// The version of the kind that the set's places are of: `apps/v1`.
    pub version: String,
    /// Whether the manager applies (rather than updates).
    pub applied: bool,
}
