//! The last step of a write: into the store, if nobody else was there first.

use nubium_store::{Expect, Guard, Object, Outcome};
use serde_json::Value;

use crate::call::Call;
use crate::failure::Failure;
use crate::kind::Kind;
use crate::object::{encode, meta};
use crate::state::State;

/// The largest object that is stored.
const LIMIT: usize = 3 << 19;

/// What became of a compare-and-swap.
pub(super) enum Swap {
    Done(Stored),
    /// Somebody else wrote first.
    Lost,
}

/// An object that was written, as a tree and as it is kept.
pub(super) struct Stored {
    pub object: Value,
    /// `None` when nothing was written.
    pub kept: Option<Object>,
}

fn encoded(kind: &Kind, object: &Value) -> Result<bytes::Bytes, Failure> {
    let bytes = encode(&kind.to_stored(object));
    if bytes.len() > LIMIT {
        return Err(Failure::too_large(LIMIT));
    }
    Ok(bytes)
}

fn with_revision(mut object: Value, kept: Object) -> Stored {
    meta::set(&mut object, "resourceVersion", Some(kept.modified.to_string().into()));
    Stored { object, kept: Some(kept) }
}

/// Stores a new object; in a dry run only answers what that would do.
pub(super) async fn create(call: &Call, kind: &Kind, object: Value, dry_run: bool) -> Result<Stored, Failure> {
    let name = meta::text(&object, "name");
    let key = kind.key(&call.target.namespace, name);
    if dry_run {
        let is_free = call.state.store.get(&key).await?.object.is_none();
        return if is_free {
            Ok(Stored { object, kept: None })
        } else {
            Err(Failure::already_exists(kind.subject(), name))
        };
    }
    let guard = guard(&call.state, kind)?;
    match call.state.store.write(&key, Expect::Absent, Some(encoded(kind, &object)?), guard).await? {
        Outcome::Done(stored) => {
            settle(&call.state, kind, &stored).await;
            Ok(with_revision(object, stored))
        }
        Outcome::Differs(_) => Err(Failure::already_exists(kind.subject(), name)),
        Outcome::Outdated(revision) => Err(Failure::outdated(kind.subject(), revision)),
    }
}

/// What is stored went through the schema that is served: a definition that is changed meanwhile makes the write fail, and
/// the request begins anew.
fn guard(state: &State, kind: &Kind) -> Result<Option<Guard>, Failure> {
    state.registry.guard(kind).map_err(|revision| Failure::outdated(kind.subject(), revision))
}

/// Stores a changed object in place of the one read as `live`, or deletes it when nothing holds it any more.
pub(super) async fn swap(state: &State, kind: &Kind, live: &Object, object: Value) -> Result<Swap, Failure> {
    let value = if is_released(kind, &object) { None } else { Some(encoded(kind, &object)?) };
    let guard = value.as_ref().map(|_| guard(state, kind)).transpose()?.flatten();
    match state.store.write(&live.key, Expect::Modified(live.modified), value, guard).await? {
        Outcome::Done(stored) => {
            settle(state, kind, &stored).await;
            Ok(Swap::Done(with_revision(object, stored)))
        }
        Outcome::Differs(_) => Ok(Swap::Lost),
        Outcome::Outdated(revision) => Err(Failure::outdated(kind.subject(), revision)),
    }
}

/// Whether an object is to go and nothing holds it any more.
pub(super) fn is_released(kind: &Kind, object: &Value) -> bool {
    meta::is_terminating(object) && meta::finalizers(object).is_empty() && !kind.rules().is_held(object)
}

/// What a definition says is served before its write is answered.
async fn settle(state: &State, kind: &Kind, stored: &Object) {
    if kind.rules().defines_kinds() {
        // The registry follows within a millisecond; if it cannot, the write counts all the same.
        state.registry.wait_for(stored.modified).await;
    }
}
