//! Who belongs to whom: objects with owners, by uid.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use nubium_store::{Object, Revision};
use serde::Deserialize;

use crate::object::meta::{FOREGROUND, ORPHAN};

/// What an object's bytes say about it and its owners.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub uid: String,
    pub namespace: String,
    pub owner_references: Vec<Owner>,
    pub deletion_timestamp: Option<String>,
    pub finalizers: Vec<String>,
}

/// An owner reference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Owner {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
    pub block_owner_deletion: bool,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    metadata: Metadata,
}

impl Metadata {
    /// Reads it out of stored bytes; what cannot be read has no owners.
    pub fn read(object: &Object) -> Self {
        serde_json::from_slice::<Envelope>(&object.value).map(|envelope| envelope.metadata).unwrap_or_default()
    }

    pub fn is_terminating(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    pub fn has(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|held| held == finalizer)
    }

    /// Whether the garbage collector has to do something before the object can go.
    pub fn waits_for_dependents(&self) -> bool {
        self.is_terminating() && self.has(FOREGROUND)
    }

    fn is_of_interest(&self) -> bool {
        !self.owner_references.is_empty() || (self.is_terminating() && (self.has(FOREGROUND) || self.has(ORPHAN)))
    }
}

/// An object that has owners, or that waits for its dependents.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub key: Arc<str>,
    /// The version that was read.
    pub modified: Revision,
    pub metadata: Metadata,
}

/// All such objects.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: HashMap<String, Node>,
    dependents: HashMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Takes in how an object is now. Answers the uids that have to be looked at.
    pub fn put(&mut self, object: &Object) -> Vec<String> {
        let metadata = Metadata::read(object);
        let uid = metadata.uid.clone();
        let mut touched = self.unlink(&uid);
        if metadata.is_of_interest() {
            for owner in &metadata.owner_references {
                self.dependents.entry(owner.uid.clone()).or_default().insert(uid.clone());
            }
            self.nodes.insert(uid.clone(), Node { key: object.key.clone(), modified: object.modified, metadata });
            touched.push(uid);
        }
        touched
    }

    /// Takes in that an object is gone. Answers the uids that have to be looked at: its dependents and its owners.
    pub fn remove(&mut self, object: &Object) -> Vec<String> {
        let uid = Metadata::read(object).uid;
        let mut touched = self.unlink(&uid);
        touched.extend(self.dependents(&uid));
        touched
    }

    /// Forgets an object's owners; answers them.
    fn unlink(&mut self, uid: &str) -> Vec<String> {
        let Some(node) = self.nodes.remove(uid) else { return Vec::new() };
        let owners = node.metadata.owner_references.into_iter().map(|owner| owner.uid);
        owners
            .inspect(|owner| {
                if let Some(dependents) = self.dependents.get_mut(owner) {
                    dependents.remove(uid);
                    if dependents.is_empty() {
                        self.dependents.remove(owner);
                    }
                }
            })
            .collect()
    }

    pub fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    pub fn dependents(&self, uid: &str) -> Vec<String> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(uid: &str, owners: &[&str]) -> Object {
        let owners: Vec<_> = owners.iter().map(|uid| json!({"uid": uid, "name": "o", "kind": "K"})).collect();
        let value = json!({"metadata": {"uid": uid, "ownerReferences": owners}}).to_string();
        Object { key: format!("/{uid}").into(), value: value.into(), created: 1, modified: 1 }
    }

    #[test]
    fn dependents_are_found_whether_the_owner_was_seen_or_not() {
        let mut graph = Graph::default();
        assert_eq!(graph.put(&object("child", &["parent"])), ["child"]);
        assert_eq!(graph.put(&object("parent", &[])), [""; 0]);
        assert_eq!(graph.dependents("parent"), ["child"]);
        assert_eq!(graph.remove(&object("parent", &[])), ["child"]);
        // The child lets go of one owner and takes another.
        assert_eq!(graph.put(&object("child", &["other"])), ["parent", "child"]);
        assert!(graph.dependents("parent").is_empty());
        assert_eq!(graph.remove(&object("child", &["other"])), ["other"]);
        assert!(graph.dependents("other").is_empty() && graph.get("child").is_none());
    }
}
