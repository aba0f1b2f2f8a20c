//! What a store's log has to do: the one part that differs between a local file and a cluster of machines.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::{Error, Event, Expect, Guard, Object, Outcome, Page, Range, Revision};

/// The state that a log had when it was opened.
#[derive(Debug)]
pub struct Loaded {
    /// The objects that exist, by key.
    pub live: BTreeMap<Arc<str>, Object>,
    /// The revision at which that was so.
    pub current: Revision,
    /// The revision below which history is gone.
    pub compacted: Revision,
}

/// What follows a log.
pub trait Tail: Send {
    /// Takes every batch of events that follows what was [`Loaded`], in order and without a gap.
    fn take(&mut self, events: Vec<Arc<Event>>);

    /// Called after a batch was taken and its writers were answered: what nobody waits for is done now.
    fn wake(&mut self);
}

/// An ordered, durable log of writes. [`CachedStore`](crate::CachedStore) makes a store of it.
pub trait Log: Send + Sync + 'static {
    /// From now on every event after what was loaded goes to `tail`. Called once, before anything is appended here.
    fn follow(&self, tail: Box<dyn Tail>);

    /// Appends a write, if the newest states of the key and of the guard's key are as expected. It is durable when this
    /// answers.
    fn append(
        &self,
        key: &str,
        expect: Expect,
        value: Option<Bytes>,
        guard: Option<Guard>,
    ) -> impl Future<Output = Result<Outcome, Error>> + Send;

    /// Removes what was replaced or deleted at or before `revision`; answers when that is done.
    fn compact(&self, revision: Revision) -> impl Future<Output = Result<(), Error>> + Send;

    /// What reads the past of this log, also while the log itself is being closed.
    fn past(&self) -> Arc<dyn Past>;
}

/// Reads of what the cache does not hold.
pub trait Past: Send + Sync {
    /// A page as of the revision `at`.
    fn page(&self, range: Range, at: Revision) -> BoxFuture<'static, Result<Page, Error>>;

    /// Up to `limit` events under `prefix` with `after < revision <= until`, in order.
    fn events(
        &self,
        prefix: String,
        after: Revision,
        until: Revision,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<Arc<Event>>, Error>>;
}
