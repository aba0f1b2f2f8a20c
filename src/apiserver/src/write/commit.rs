//! The last step of a write: into the store, if nobody else was there first.

use std::time::Duration;

use nubium_store::{Expect, Object, Outcome};
use serde_json::Value;

use crate::State;
use crate::call::Call;
use crate::failure::Failure;
use crate::kind::Kind;
use crate::object::{encode, meta};

/// The largest object that is stored.
const LIMIT: usize = 3 << 19;

/// How long the write of a definition waits until it is served.
const SETTLE: Duration = Duration::from_secs(5);

/// What became of a compare-and-swap.
pub(super) enum Swap {
    Done(Value),
    /// Somebody else wrote first.
    Lost,
}

fn encoded(kind: &Kind, object: &Value) -> Result<bytes::Bytes, Failure> {
    let bytes = encode(&kind.to_stored(object.clone()));
    if bytes.len() > LIMIT {
        return Err(Failure::too_large(LIMIT));
    }
    Ok(bytes)
}

fn with_revision(mut object: Value, stored: &Object) -> Value {
    meta::set(&mut object, "resourceVersion", Some(stored.modified.to_string().into()));
    object
}

/// Stores a new object.
pub(super) async fn create(call: &Call, kind: &Kind, object: &Value) -> Result<Value, Failure> {
    let name = meta::text(object, "name");
    let key = kind.key(&call.target.namespace, name);
    match call.state.store.write(&key, Expect::Absent, Some(encoded(kind, object)?)).await? {
        Outcome::Done(stored) => {
            settle(&call.state, kind, &stored).await;
            Ok(with_revision(object.clone(), &stored))
        }
        Outcome::Differs(_) => Err(Failure::already_exists(kind.subject(), name)),
    }
}

/// Stores a changed object in place of the one read as `live`, or deletes it when nothing holds it any more.
pub(super) async fn swap(state: &State, kind: &Kind, live: &Object, object: Value) -> Result<Swap, Failure> {
    let value = if is_released(&object) { None } else { Some(encoded(kind, &object)?) };
    match state.store.write(&live.key, Expect::Modified(live.modified), value).await? {
        Outcome::Done(stored) => {
            settle(state, kind, &stored).await;
            Ok(Swap::Done(with_revision(object, &stored)))
        }
        Outcome::Differs(_) => Ok(Swap::Lost),
    }
}

/// Deletes an object at once; false when it is not as it was.
pub(super) async fn delete(state: &State, kind: &Kind, live: &Object) -> Result<bool, Failure> {
    match state.store.write(&live.key, Expect::Modified(live.modified), None).await? {
        Outcome::Done(stored) => {
            settle(state, kind, &stored).await;
            Ok(true)
        }
        Outcome::Differs(_) => Ok(false),
    }
}

/// Whether an object is to go and nobody holds it any more.
pub(super) fn is_released(object: &Value) -> bool {
    meta::is_terminating(object) && meta::finalizers(object).is_empty() && !is_held(object)
}

/// A namespace is also held by the finalizers of its spec.
fn is_held(object: &Value) -> bool {
    object["kind"] == "Namespace"
        && object["apiVersion"] == "v1"
        && object["spec"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}

/// What a definition says is served before its write is answered.
async fn settle(state: &State, kind: &Kind, stored: &Object) {
    if kind.is("apiextensions.k8s.io", "customresourcedefinitions") {
        // The registry follows within a millisecond; if it cannot, the write counts all the same.
        let _ = tokio::time::timeout(SETTLE, state.registry.wait_for(stored.modified)).await;
    }
}
