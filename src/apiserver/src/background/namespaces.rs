//! Namespaces that go: everything in them is deleted, and when nothing is left, so is the namespace.
//!
//! What has a finalizer is waited for; the namespace's conditions say what that is.

use std::collections::BTreeSet;
use std::sync::Arc;

use nubium_store::{Object, Range, Revision};
use serde_json::Value;

use super::graph::Metadata;
use crate::failure::Failure;
use crate::kind::{BuiltIn, Kind, NAMESPACE_FINALIZER, set_condition};
use crate::object::timestamp;
use crate::state::State;
use crate::write::{self, Removed};

/// The namespaces on their way out.
#[derive(Default)]
pub(super) struct Leaving {
    names: BTreeSet<String>,
    /// Those in which something has changed since they were last looked at.
    changed: BTreeSet<String>,
}

/// What is left in a namespace.
#[derive(Default)]
struct Left {
    /// `servers.nubium.dev has 2 resource instances`
    resources: Vec<String>,
    /// `nubium.dev/server in 2 resource instances`
    finalizers: std::collections::BTreeMap<String, usize>,
}

impl Leaving {
    pub fn seen(&mut self, object: &Object, deleted: bool) {
        let namespaces = BuiltIn::Namespace.prefix();
        if let Some(name) = object.key.strip_prefix(namespaces.as_str()) {
            if deleted {
                // Whatever was created while it went is swept up by one more look.
                self.changed.insert(name.to_owned());
                self.names.remove(name);
            } else if Metadata::read(object).is_terminating() && self.names.insert(name.to_owned()) {
                self.changed.insert(name.to_owned());
            }
            return;
        }
        // `/registry/<group>/<resource>/<namespace>/<name>`
        if let Some(namespace) = object.key.split('/').nth(4).filter(|namespace| self.names.contains(*namespace)) {
            self.changed.insert(namespace.to_owned());
        }
    }

    pub fn is_waiting(&self) -> bool {
        !self.names.is_empty()
    }

    pub fn retry(&mut self) {
        self.changed.extend(self.names.iter().cloned());
    }

    pub async fn work(&mut self, state: &Arc<State>) {
        for name in std::mem::take(&mut self.changed) {
            if let Err(failure) = empty(state, &name).await {
                tracing::debug!(namespace = name, message = failure.message(), "a namespace could not be emptied yet");
            }
        }
    }
}

/// Deletes what belonged to a namespace that goes or is gone, and lets the namespace go when nothing is left.
///
/// A namespace can be made again under its name: what was created after the present one was, is its own.
async fn empty(state: &Arc<State>, name: &str) -> Result<(), Failure> {
    let snapshot = state.registry.snapshot();
    let namespaces = snapshot.built_in(BuiltIn::Namespace);
    let key = namespaces.key("", name);
    let got = state.store.get(&key).await?;
    let present = got.object.map(|object| (object.created, Metadata::read(&object)));
    let terminating = present.as_ref().map(|(_, metadata)| metadata).filter(|metadata| metadata.is_terminating());
    let until = match &present {
        Some((created, _)) if terminating.is_none() => *created,
        // Nothing that is not stored by now is looked at.
        _ => got.revision + 1,
    };
    let mut left = Left::default();
    for kind in snapshot.resources().filter(|kind| kind.namespaced) {
        sweep(state, kind, name, until, &mut left).await?;
    }
    let Some(Metadata { uid, .. }) = terminating else { return Ok(()) };
    if left.resources.is_empty() {
        return write::modify(state, namespaces, &key, "finalize", |object| {
            if object["metadata"]["uid"] != **uid {
                return false;
            }
            let Some(Value::Array(held)) = object["spec"].get_mut("finalizers") else { return false };
            let before = held.len();
            held.retain(|finalizer| finalizer != NAMESPACE_FINALIZER);
            before != held.len()
        })
        .await;
    }
    let now = timestamp((state.config.clock)());
    write::modify(state, namespaces, &key, "status", |object| {
        let before = object["status"]["conditions"].clone();
        if object["metadata"]["uid"] == **uid {
            left.report(&mut object["status"], &now);
        }
        before != object["status"]["conditions"]
    })
    .await
}

/// Deletes the objects of one kind in a namespace that were created before revision `until`, and counts what stays. An
/// object that cannot be deleted is counted, and keeps no other.
async fn sweep(
    state: &Arc<State>,
    kind: &Arc<Kind>,
    namespace: &str,
    until: Revision,
    left: &mut Left,
) -> Result<(), Failure> {
    let page = state.store.range(Range::all(kind.list_prefix(namespace))).await?;
    let mut count = 0;
    for object in page.objects.iter().filter(|object| object.created < until) {
        let metadata = Metadata::read(object);
        if !metadata.is_terminating() {
            match write::remove(state, kind, &object.key, (&metadata.uid, None), None).await {
                Ok(Removed::Gone) => continue,
                Ok(Removed::Waiting | Removed::Changed) => {}
                Err(failure) => {
                    tracing::debug!(key = %object.key, message = failure.message(), "cannot delete an object");
                }
            }
        }
        count += 1;
        for finalizer in metadata.finalizers {
            *left.finalizers.entry(finalizer).or_default() += 1;
        }
    }
    if count > 0 {
        left.resources.push(format!("{} has {count} resource instances", kind.subject().qualified()));
    }
    Ok(())
}

impl Left {
    fn report(&self, status: &mut Value, now: &str) {
        let resources = format!("Some resources are remaining: {}", self.resources.join(", "));
        set_condition(status, now, "NamespaceContentRemaining", true, "SomeResourcesRemain", &resources);
        let held: Vec<String> =
            self.finalizers.iter().map(|(name, count)| format!("{name} in {count} resource instances")).collect();
        let kind = "NamespaceFinalizersRemaining";
        if held.is_empty() {
            set_condition(
                status,
                now,
                kind,
                false,
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished",
            );
        } else {
            let held = format!("Some content in the namespace has finalizers remaining: {}", held.join(", "));
            set_condition(status, now, kind, true, "SomeFinalizersRemain", &held);
        }
    }
}
