//! The types of the store: objects, events, ranges and the answers to writes.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::stream::BoxStream;

/// The number of a write. One per write, rising by one, never reused, never going back.
pub type Revision = u64;

/// A key's value, with the revisions that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its name in the store.
    pub key: Arc<str>,
    /// Its bytes.
    pub value: Bytes,
    /// The write that created the key (the last time it was absent).
    pub created: Revision,
    /// The write that gave it this value.
    pub modified: Revision,
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The object after the write. Of a deletion: the last value, with the deletion's own revision.
    pub object: Object,
    /// Whether the write deleted the key.
    pub deleted: bool,
    /// What the write replaced; `None` when it created the key.
    pub previous: Option<Object>,
    /// What its readers have computed of it.
    pub derived: Derived,
}

impl Event {
    /// The revision of this write.
    pub fn revision(&self) -> Revision {
        self.object.modified
    }

    /// Whether this write made the key.
    pub fn is_create(&self) -> bool {
        self.previous.is_none()
    }

    /// A value that is computed of this event once, and shared by all who ask for it: a thousand watches need an object's
    /// labels, and find them with the first. Of one event only one type can be derived.
    pub fn derive<T: Default + Send + Sync + 'static>(&self) -> Option<&T> {
        self.derived.0.get_or_init(|| Box::new(T::default())).downcast_ref()
    }
}

/// What readers have computed of an [`Event`]. It is no part of the event: all are equal.
#[derive(Default)]
pub struct Derived(OnceLock<Box<dyn Any + Send + Sync>>);

impl Clone for Derived {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Derived {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Derived {}

impl fmt::Debug for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Derived")
    }
}

/// What must be true of a key for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key's value was written at this revision.
    Modified(Revision),
}

/// Another key that must be as it was seen for a write to happen: what was written depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The other key.
    pub key: Arc<str>,
    /// The revision at which its value was written.
    pub modified: Revision,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is kept, as this object. Of a deletion: the last value at the deletion's revision.
    Done(Object),
    /// The key was not as expected: this is what it holds.
    Differs(Option<Object>),
    /// The guard's key was changed, at this revision or before.
    Outdated(Revision),
}

/// The answer to a `get`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    /// What the key holds.
    pub object: Option<Object>,
    /// The store's revision at the time.
    pub revision: Revision,
}

/// Which objects to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Range {
    /// Only keys that begin so.
    pub prefix: String,
    /// At most so many; 0 means all.
    pub limit: usize,
    /// Only keys strictly after this one: the last key of the page before.
    pub after: Option<String>,
    /// As of this revision; `None` means now.
    pub at: Option<Revision>,
}

impl Range {
    /// Everything under `prefix`, now.
    pub fn all(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..Self::default() }
    }
}

/// One page of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order of their keys.
    pub objects: Vec<Object>,
    /// The revision that the page shows.
    pub revision: Revision,
    /// How many objects of the range come after this page.
    pub remaining: usize,
}

/// What a watch delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchItem {
    /// A change under the prefix.
    Event(Arc<Event>),
    /// Every matching change up to this revision was delivered.
    Progress(Revision),
    /// The watch fell behind compaction and has ended: list again.
    Compacted,
}

/// A watch's stream. It ends only after [`WatchItem::Compacted`] or when the store closes.
pub type Watch = BoxStream<'static, WatchItem>;
