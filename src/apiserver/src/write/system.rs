//! Writes that the server makes on its own: cleaning up, and what must be there from the start.

use std::sync::Arc;

use bytes::Bytes;
use nubium_schema::ownership::{self, Request, keep_times_if_unchanged};
use nubium_store::{Expect, Object, Outcome, Revision};
use serde_json::{Value, json};

use super::commit::{self, Swap};
use super::delete::marked;
use super::pipeline::{Live, TRIES};
use crate::failure::Failure;
use crate::http::options::Propagation;
use crate::kind::{BuiltIn, Kind, NAMESPACE_FINALIZER};
use crate::object::encode;
use crate::object::timestamp;
use crate::state::State;

/// Under this name the server owns what it writes itself.
const MANAGER: &str = "nubium-apiserver";

/// Makes a namespace if it is not there.
pub(crate) async fn ensure_namespace(state: &State, name: &str) -> Result<(), Failure> {
    let snapshot = state.registry.snapshot();
    let kind = snapshot.built_in(BuiltIn::Namespace);
    let key = kind.key("", name);
    if state.store.get(&key).await?.object.is_some() {
        return Ok(());
    }
    let now = timestamp((state.config.clock)());
    let mut object = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": name, "uid": uuid::Uuid::new_v4().to_string(), "creationTimestamp": now,
            "labels": {"kubernetes.io/metadata.name": name},
        },
        "spec": {"finalizers": [NAMESPACE_FINALIZER]}, "status": {"phase": "Active"},
    });
    own(kind, None, &mut object, &now, "");
    let written = state.store.write(&key, Expect::Absent, Some(encode(&object)), None).await?;
    match written {
        // Somebody else made it meanwhile, which is as well.
        Outcome::Done(_) | Outcome::Differs(_) | Outcome::Outdated(_) => Ok(()),
    }
}

fn own(kind: &Kind, live: Option<&Value>, object: &mut Value, now: &str, subresource: &str) {
    let (api_version, empty) = (kind.api_version(), kind.empty());
    let request = Request {
        manager: MANAGER,
        api_version: &api_version,
        kind: &kind.kind,
        subresource,
        now,
        empty: Some(&empty),
        ..Request::default()
    };
    if let Err(error) = ownership::after_update(live, object, &kind.ownership, &request) {
        tracing::debug!(error = %crate::failure::chain(&error), "cannot compute managedFields");
    }
}

/// Changes the object under `key` by `edit`, again and again until nobody else interferes. Without the object, or when
/// `edit` answers false, nothing happens.
pub(crate) async fn modify(
    state: &State,
    kind: &Arc<Kind>,
    key: &str,
    subresource: &'static str,
    edit: impl Fn(&mut Value) -> bool,
) -> Result<(), Failure> {
    for _ in 0..TRIES {
        let Some(stored) = state.store.get(key).await?.object else { return Ok(()) };
        let bytes = stored.value.len();
        let read = {
            let kind = kind.clone();
            move || Live::read(&kind, stored).map(|live| (live.object.clone(), live))
        };
        let (mut object, live) = state.computations.run(bytes, read).await?;
        if !edit(&mut object) {
            return Ok(());
        }
        let now = timestamp((state.config.clock)());
        let prepare = {
            let kind = kind.clone();
            move || edited(&kind, live, object, &now, subresource)
        };
        let Some((stored, object, value)) = state.computations.run(bytes, prepare).await? else { return Ok(()) };
        if let Swap::Done(_) = commit::swap(state, kind, &stored, object, value).await? {
            return Ok(());
        }
    }
    Err(Failure::internal(format!("{key} is written too often by others")))
}

/// What was read, the object that takes its place, and that object's bytes; `None` when nothing was changed.
type Edited = Option<(Object, Value, Option<Bytes>)>;

fn edited(kind: &Kind, live: Live, mut object: Value, now: &str, subresource: &str) -> Result<Edited, Failure> {
    let Live { stored, object: live } = live;
    own(kind, Some(&live), &mut object, now, subresource);
    super::prepare::count_generation(kind, &live, &mut object);
    keep_times_if_unchanged(&live, &mut object);
    if object == live {
        return Ok(None);
    }
    let value = commit::successor(kind, &object)?;
    Ok(Some((stored, object, value)))
}

/// What became of an object that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removed {
    Gone,
    /// It is marked for deletion and waits for its finalizers.
    Waiting,
    /// It is not the version that was looked at, and stays.
    Changed,
}

/// Deletes the object under `key` if it is still the one with this uid, and of this version where one is given.
pub(crate) async fn remove(
    state: &State,
    kind: &Arc<Kind>,
    key: &str,
    (uid, version): (&str, Option<Revision>),
    propagation: Option<Propagation>,
) -> Result<Removed, Failure> {
    for _ in 0..TRIES {
        let Some(stored) = state.store.get(key).await?.object else { return Ok(Removed::Gone) };
        if version.is_some_and(|version| version != stored.modified) {
            return Ok(Removed::Changed);
        }
        let now = timestamp((state.config.clock)());
        let work = {
            let (kind, uid, stored) = (kind.clone(), uid.to_owned(), stored.clone());
            move || removal(&kind, stored, &uid, propagation, &now)
        };
        let (object, value) = match state.computations.run(stored.value.len(), work).await? {
            Removal::None(removed) => return Ok(removed),
            Removal::Swap(object, value) => (object, value),
        };
        let removed = if value.is_none() { Removed::Gone } else { Removed::Waiting };
        if let Swap::Done(_) = commit::swap(state, kind, &stored, object, value).await? {
            return Ok(removed);
        }
    }
    Ok(Removed::Changed)
}

/// What there is to do to remove an object.
enum Removal {
    /// Nothing, since this became of it already.
    None(Removed),
    /// Put this in its place, or without bytes nothing.
    Swap(Value, Option<Bytes>),
}

fn removal(
    kind: &Kind,
    stored: Object,
    uid: &str,
    propagation: Option<Propagation>,
    now: &str,
) -> Result<Removal, Failure> {
    let object = Live::read(kind, stored)?.object;
    if object["metadata"]["uid"] != uid {
        return Ok(Removal::None(Removed::Gone));
    }
    let marked = marked(kind, &object, propagation, now);
    if marked == object && !commit::is_released(kind, &marked) {
        return Ok(Removal::None(Removed::Waiting));
    }
    let value = commit::successor(kind, &marked)?;
    Ok(Removal::Swap(marked, value))
}
