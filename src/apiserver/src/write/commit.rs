//! The last step of a write: into the store, if nobody else was there first.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use nubium_store::{Expect, Guard, Object, Outcome};
use serde_json::Value;

use crate::call::Call;
use crate::failure::Failure;
use crate::http::reply::Reply;
use crate::kind::Kind;
use crate::object::{encode, meta};
use crate::state::State;

/// The largest object that is stored.
const LIMIT: usize = 3 << 19;

/// A change that went through every step but this one.
pub(super) struct Prepared {
    /// The object as it will be, but for its resourceVersion.
    pub object: Value,
    pub warnings: Vec<String>,
    pub step: Step,
}

/// What is left to do.
pub(super) enum Step {
    /// Nothing: nothing changes, or nothing may.
    Keep,
    /// Store a new object. Without bytes it is a dry run, which only looks whether the name is free.
    Create(Option<Bytes>),
    /// Store this in place of what was read; without bytes remove it.
    Replace(Object, Option<Bytes>),
}

/// What a change did.
pub(super) struct Written {
    pub stored: Stored,
    pub warnings: Vec<String>,
}

/// An object that was written, as a tree and as it is kept.
pub(super) struct Stored {
    pub object: Value,
    /// `None` when nothing was written, or the object is gone.
    pub kept: Option<Object>,
}

/// What became of a compare-and-swap.
pub(super) enum Swap {
    Done(Stored),
    /// Somebody else wrote first.
    Lost,
}

impl Prepared {
    /// The same, after steps that had warnings of their own.
    pub fn after(mut self, mut warnings: Vec<String>) -> Self {
        warnings.append(&mut self.warnings);
        Self { warnings, ..self }
    }

    /// Carries the change out. `None` when somebody else wrote meanwhile.
    pub async fn commit(self, call: &Call, kind: &Kind) -> Result<Option<Written>, Failure> {
        let Self { object, warnings, step } = self;
        let stored = match step {
            Step::Keep => Stored { object, kept: None },
            Step::Create(value) => create(call, kind, object, value).await?,
            Step::Replace(live, value) => match swap(&call.state, kind, &live, object, value).await? {
                Swap::Done(stored) => stored,
                Swap::Lost => return Ok(None),
            },
        };
        Ok(Some(Written { stored, warnings }))
    }
}

impl Written {
    /// The object as the answer; so many bytes were worked on to make it.
    pub async fn reply(
        self,
        call: &Arc<Call>,
        kind: &Arc<Kind>,
        bytes: usize,
        code: StatusCode,
    ) -> Result<Reply, Failure> {
        let Self { stored: Stored { object, kept }, warnings } = self;
        let shape = call.shape(kind)?;
        if let Some(kept) = kept.filter(|kept| shape.is_as_stored(kept)) {
            // What was kept has been encoded already.
            return Ok(shape.reply_stored(code, &kept)?.warn(warnings));
        }
        call.compute(kind, bytes, move |call, kind| Ok(call.shape(kind)?.reply(code, object).warn(warnings))).await
    }
}

/// The bytes to store.
pub(super) fn encoded(kind: &Kind, object: &Value) -> Result<Bytes, Failure> {
    let bytes = encode(&kind.to_stored(object));
    if bytes.len() > LIMIT {
        return Err(Failure::too_large(LIMIT));
    }
    Ok(bytes)
}

/// What to store in place of another object; nothing when nothing holds it any more.
pub(super) fn successor(kind: &Kind, object: &Value) -> Result<Option<Bytes>, Failure> {
    if is_released(kind, object) { Ok(None) } else { encoded(kind, object).map(Some) }
}

fn with_revision(mut object: Value, kept: Object) -> Stored {
    meta::set(&mut object, "resourceVersion", Some(kept.modified.to_string().into()));
    Stored { object, kept: Some(kept) }
}

async fn create(call: &Call, kind: &Kind, object: Value, value: Option<Bytes>) -> Result<Stored, Failure> {
    let name = meta::text(&object, "name");
    let key = kind.key(&call.target.namespace, name);
    let Some(value) = value else {
        let is_free = call.state.store.get(&key).await?.object.is_none();
        return if is_free {
            Ok(Stored { object, kept: None })
        } else {
            Err(Failure::already_exists(kind.subject(), name))
        };
    };
    let guard = guard(&call.state, kind)?;
    match call.state.store.write(&key, Expect::Absent, Some(value), guard).await? {
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

/// Stores a changed object in place of the one read as `live`, or removes that.
pub(super) async fn swap(
    state: &State,
    kind: &Kind,
    live: &Object,
    object: Value,
    value: Option<Bytes>,
) -> Result<Swap, Failure> {
    let is_gone = value.is_none();
    let guard = value.as_ref().map(|_| guard(state, kind)).transpose()?.flatten();
    match state.store.write(&live.key, Expect::Modified(live.modified), value, guard).await? {
        Outcome::Done(stored) => {
            settle(state, kind, &stored).await;
            let stored = with_revision(object, stored);
            // What the store had of an object that is gone is not what is answered.
            Ok(Swap::Done(Stored { kept: stored.kept.filter(|_| !is_gone), ..stored }))
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
