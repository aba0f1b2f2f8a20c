//! Versioned objects over bytes: get, list, watch, compare-and-swap, compaction.
//!
//! A store is one ordered log. Every write takes the next [`Revision`], names one key, and is on stable storage before
//! anyone hears of it; watchers then see all writes in that order. What a key held at an older revision can be read
//! until the log is [compacted](Store::compact) above it. That is all an API server needs of its storage: object
//! versions, lists that keep their snapshot over many pages, and watches that go on where they stopped.
//!
//! The store knows no kinds and no HTTP; values are opaque. A [`CachedStore`] has all of that over any [`Log`], which only
//! appends, compacts and reads the past; [`SqliteStore`] is the one over a local file. One generic contract test says
//! what any store must do.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod any;
mod cached;
#[cfg(test)]
mod contract;
mod error;
mod log;
mod model;
mod sqlite;

use std::future::Future;

use bytes::Bytes;

pub use any::AnyStore;
pub use cached::{CacheOptions, CachedStore};
pub use error::Error;
pub use log::{Loaded, Log, Past, Tail};
pub use model::{Derived, Event, Expect, Got, Guard, Object, Outcome, Page, Range, Revision, Watch, WatchItem};
pub use sqlite::{Options, SqliteLog, SqliteStore};

/// A store of versioned objects.
///
/// Keys are plain text, ordered by their bytes; a prefix names a range of them.
pub trait Store: Clone + Send + Sync + 'static {
    /// The live object under `key`, and the revision at which that was true.
    fn get(&self, key: &str) -> impl Future<Output = Result<Got, Error>> + Send;

    /// The objects under a prefix, ordered by key, all of one revision.
    ///
    /// # Errors
    /// [`Error::Compacted`] when the revision asked for is gone, [`Error::Future`] when it is yet to come.
    fn range(&self, range: Range) -> impl Future<Output = Result<Page, Error>> + Send;

    /// Writes `value` under `key`, or deletes the key when there is no value, if what is there now is as `expect`ed.
    ///
    /// A write that meets something else changes nothing and takes no revision: it answers [`Outcome::Differs`], or
    /// [`Outcome::Outdated`] when it is the `guard` that does not hold any more.
    fn write(
        &self,
        key: &str,
        expect: Expect,
        value: Option<Bytes>,
        guard: Option<Guard>,
    ) -> impl Future<Output = Result<Outcome, Error>> + Send;

    /// All changes under `prefix` after the revision `after`, in order, without a gap, for ever.
    ///
    /// A [`WatchItem::Progress`] comes once everything up to the present was delivered, and from then on within
    /// seconds whenever the revision has moved on without a matching change. [`WatchItem::Compacted`] ends a watch
    /// that lags behind compaction. A slow reader costs no memory.
    ///
    /// # Errors
    /// [`Error::Compacted`] when `after` is below the compacted revision.
    fn watch(&self, prefix: &str, after: Revision) -> impl Future<Output = Result<Watch, Error>> + Send;

    /// The revision of the newest write.
    fn current(&self) -> impl Future<Output = Result<Revision, Error>> + Send;

    /// Forgets what was replaced or deleted at or before `revision`. Reads at `revision` itself still work.
    fn compact(&self, revision: Revision) -> impl Future<Output = Result<(), Error>> + Send;

    /// How many bytes of values were written since the store was opened: how fast history grows.
    fn appended(&self) -> u64;
}
