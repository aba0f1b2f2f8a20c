//! Namespaces that go: everything in them is deleted, and when nothing is left, so is the namespace.
//!
//! What has a finalizer is waited for; the namespace's conditions say what that is.

use std::collections::BTreeSet;
use std::sync::Arc;

use nubium_store::{Object, Range};
use serde_json::Value;

use super::graph::Metadata;
use crate::failure::Failure;
use crate::kind::{BuiltIn, Kind, NAMESPACE_FINALIZER, set_condition};
use crate::object::timestamp;
use crate::state::State;
use crate::write;

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
            if let Err(failure) = self.empty(state, &name).await {
                tracing::debug!(namespace = name, message = failure.message(), "a namespace could not be emptied yet");
            }
        }
    }

    async fn empty(&self, state: &Arc<State>, name: &str) -> Result<(), Failure> {
        let snapshot = state.registry.snapshot();
        let mut left = Left::default();
        for kind in snapshot.resources().filter(|kind| kind.namespaced) {
            sweep(state, kind, name, &mut left).await?;
        }
        if !self.names.contains(name) {
            return Ok(());
        }
        let namespaces = snapshot.built_in(BuiltIn::Namespace);
        let key = namespaces.key("", name);
        if left.resources.is_empty() {
            return write::modify(state, namespaces, &key, "finalize", |object| {
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
            left.tell(&mut object["status"], &now);
            before != object["status"]["conditions"]
        })
        .await
    }
}

/// Deletes what is in a namespace of one kind, and counts what stays.
async fn sweep(state: &Arc<State>, kind: &Kind, namespace: &str, left: &mut Left) -> Result<(), Failure> {
    let page = state.store.range(Range::all(kind.list_prefix(namespace))).await?;
    let mut count = 0;
    for object in &page.objects {
        let metadata = Metadata::read(object);
        if !metadata.is_terminating() && write::remove(state, kind, &object.key, &metadata.uid, None).await? {
            continue;
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
    fn tell(&self, status: &mut Value, now: &str) {
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
