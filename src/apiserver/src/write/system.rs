//! Writes that the server makes on its own: cleaning up, and what must be there from the start.

use nubium_schema::ownership::{self, Request, keep_times_if_unchanged};
use nubium_store::{Expect, Outcome, Revision};
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
    kind: &Kind,
    key: &str,
    subresource: &str,
    edit: impl Fn(&mut Value) -> bool,
) -> Result<(), Failure> {
    for _ in 0..TRIES {
        let Some(stored) = state.store.get(key).await?.object else { return Ok(()) };
        let Live { stored, object: live } = Live::read(kind, stored)?;
        let mut object = live.clone();
        if !edit(&mut object) {
            return Ok(());
        }
        own(kind, Some(&live), &mut object, &timestamp((state.config.clock)()), subresource);
        super::prepare::count_generation(kind, &live, &mut object);
        keep_times_if_unchanged(&live, &mut object);
        if object == live {
            return Ok(());
        }
        if let Swap::Done(_) = commit::swap(state, kind, &stored, object).await? {
            return Ok(());
        }
    }
    Err(Failure::internal(format!("{key} is written too often by others")))
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
    kind: &Kind,
    key: &str,
    (uid, version): (&str, Option<Revision>),
    propagation: Option<Propagation>,
) -> Result<Removed, Failure> {
    for _ in 0..TRIES {
        let Some(stored) = state.store.get(key).await?.object else { return Ok(Removed::Gone) };
        if version.is_some_and(|version| version != stored.modified) {
            return Ok(Removed::Changed);
        }
        let Live { stored, object } = Live::read(kind, stored)?;
        if object["metadata"]["uid"] != uid {
            return Ok(Removed::Gone);
        }
        let marked = marked(kind, &object, propagation, &timestamp((state.config.clock)()));
        let is_gone = commit::is_released(kind, &marked);
        let removed = if is_gone { Removed::Gone } else { Removed::Waiting };
        if marked == object && !is_gone {
            return Ok(removed);
        }
        if let Swap::Done(_) = commit::swap(state, kind, &stored, marked).await? {
            return Ok(removed);
        }
    }
    Ok(Removed::Changed)
}
