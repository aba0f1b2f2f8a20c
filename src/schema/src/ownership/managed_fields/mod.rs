//! Kubernetes' `metadata.managedFields`: what an API server does about ownership on every write.
//!
//! [`after_update`] is for create, update and every patch but apply: it gets the object that is to be stored and writes the
//! new `managedFields` into it. [`apply`] is for apply patches: it gives the object to be stored. In both, the object still
//! has to be defaulted, pruned and validated by the caller. Last, before storing, [`keep_times_if_unchanged`] makes sure
//! that a write which changes nothing changes nothing.
//!
//! | an entry is | and means |
//! |---|---|
//! | one per manager, operation, subresource, and (for updates) apiVersion | what that manager owns |
//! | `before-first-apply` | what an object had that was not tracked when it was first applied to |
//! | `ancient-changes` | the oldest of more than ten updating managers, together |

mod cap;
mod entry;
mod error;
mod last_applied;
mod request;
mod times;
mod track;

use std::borrow::Cow;

use serde_json::{Value, json};

pub use entry::{EntryError, Identity, Operation};
pub use error::{ApplyError, UpdateError};
pub use request::{Conversion, Request, manager_name};
pub use times::keep_times_if_unchanged;

use self::entry::Managed;
use super::TypeRef;

/// Writes into `new` who owns what after it took the place of `live` (`None`: it is being created).
///
/// `new` may carry `managedFields` of its own: `[]` or `[{}]` forgets all owners, entries replace those of `live`
/// (not on a subresource), none or unreadable ones mean those of `live`.
///
/// # Errors
/// The objects do not fit the kind. `new` then has no `managedFields`; Kubernetes logs this and goes on.
pub fn after_update(live: Option<&Value>, new: &mut Value, ty: &TypeRef, request: &Request) -> Result<(), UpdateError> {
    let managed = Managed::of_update(live, new, !request.subresource.is_empty());
    entry::take(new);
    let created = live.and_then(|live| live["metadata"]["uid"].as_str()).unwrap_or_default().is_empty();
    let managed = match managed.is_empty() && !created {
        // Owners are not known; they are from the first apply on.
        true => managed,
        false => {
            let empty = request.empty_object();
            track::update(live.unwrap_or(&empty), new, ty, request, request.manager, managed)?
        }
    };
    entry::put(new, managed);
    Ok(())
}

/// The object after `config` was applied to `live` (`None`: it does not exist), with its new owners.
///
/// # Errors
/// See [`ApplyError`]; conflicts unless `request.force`.
pub fn apply(live: Option<&Value>, config: &Value, ty: &TypeRef, request: &Request) -> Result<Value, ApplyError> {
    request.check(config)?;
    let empty = request.empty_object();
    let live = live.unwrap_or(&empty);
    let mut managed = Managed::read(&live["metadata"]["managedFields"]).map_err(ApplyError::ManagedFields)?;
    if managed.is_empty() {
        managed = track::update(&empty, live, ty, request, "before-first-apply", managed)?;
    }
    let applied = match track::apply(live, config, ty, request, managed.clone(), request.force) {
        Err(ApplyError::Conflicts(conflicts)) if request.manager == "kubectl" => {
            last_applied::settle(conflicts, live, ty, request)
                .and_then(|()| track::apply(live, config, ty, request, managed, true))
        }
        applied => applied,
    };
    let (mut object, managed) = applied?;
    if request.manager == "kubectl" {
        last_applied::renew(&mut object, config);
    }
    entry::put(&mut object, managed);
    Ok(object)
}

impl Request<'_> {
    /// An object of the request's kind that says nothing.
    fn empty_object(&self) -> Cow<'_, Value> {
        match self.empty {
            Some(empty) => Cow::Borrowed(empty),
            None => Cow::Owned(json!({"apiVersion": self.api_version, "kind": self.kind})),
        }
    }

    /// Whether `config` is what this request applies.
    fn check(&self, config: &Value) -> Result<(), ApplyError> {
        if config["apiVersion"] != self.api_version || config["kind"] != self.kind {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            return Err(ApplyError::OtherKind {
                api_version: text(&config["apiVersion"]),
                kind: text(&config["kind"]),
            });
        }
        match config["metadata"]["managedFields"] {
            Value::Null => Ok(()),
            _ => Err(ApplyError::ManagedFieldsInConfig),
        }
    }
}
