//! The garbage collector: what has owners goes when the last of them is gone.
//!
//! The graph only says where to look. Before anything is deleted its owners are read again, live and by uid, so an owner
//! that the graph has not heard of yet, or one that was made again under the same name, is never mistaken.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use nubium_store::Object;
use serde_json::Value;

use super::graph::{Graph, Metadata, Node, Owner};
use crate::failure::Failure;
use crate::http::options::Propagation;
use crate::kind::{Kind, Snapshot};
use crate::object::meta::{self, FOREGROUND, ORPHAN};
use crate::state::State;
use crate::write::{self, Removed};

/// The graph and what is to be looked at.
#[derive(Default)]
pub(super) struct Garbage {
    graph: Graph,
    queue: VecDeque<String>,
    queued: BTreeSet<String>,
    /// What failed, or has an owner of a kind that is not served.
    later: BTreeSet<String>,
}

/// How an object's owners stand.
#[derive(Debug, Default)]
struct Owners {
    solid: usize,
    /// Owners that are there and wait for this object to go.
    waiting: Vec<String>,
    absent: Vec<String>,
    unknown: usize,
}

impl Garbage {
    pub fn seen(&mut self, object: &Object, deleted: bool) {
        let touched = if deleted { self.graph.remove(object) } else { self.graph.put(object) };
        touched.into_iter().for_each(|uid| self.enqueue(uid));
    }

    fn enqueue(&mut self, uid: String) {
        if self.queued.insert(uid.clone()) {
            self.queue.push_back(uid);
        }
    }

    pub fn is_waiting(&self) -> bool {
        !self.later.is_empty()
    }

    pub fn retry(&mut self) {
        std::mem::take(&mut self.later).into_iter().for_each(|uid| self.enqueue(uid));
    }

    /// Looks at everything that is queued.
    pub async fn work(&mut self, state: &Arc<State>) {
        while let Some(uid) = self.queue.pop_front() {
            self.queued.remove(&uid);
            match self.look_at(state, &uid).await {
                Ok(true) => {}
                Ok(false) => drop(self.later.insert(uid)),
                Err(failure) => {
                    tracing::debug!(uid, message = failure.message(), "garbage could not be collected yet");
                    self.later.insert(uid);
                }
            }
        }
    }

    /// Does what one object calls for; false when it has to be looked at again.
    async fn look_at(&self, state: &Arc<State>, uid: &str) -> Result<bool, Failure> {
        let Some(node) = self.graph.get(uid) else { return Ok(true) };
        let snapshot = state.registry.snapshot();
        let Some(kind) = kind_of(&snapshot, &node.key) else { return Ok(false) };
        if node.metadata.is_terminating() && node.metadata.has(ORPHAN) {
            self.orphan(state, &snapshot, uid).await?;
            return remove_finalizer(state, kind, node, ORPHAN).await.map(|()| true);
        }
        if node.metadata.waits_for_dependents() {
            if !self.is_blocked(uid) {
                return remove_finalizer(state, kind, node, FOREGROUND).await.map(|()| true);
            }
            for dependent in self.graph.dependents(uid) {
                self.settle(state, &snapshot, &dependent).await?;
            }
            return Ok(true);
        }
        self.settle(state, &snapshot, uid).await
    }

    /// Whether a dependent that blocks the owner's end is still there. One that itself waits for the owner does not
    /// count: in a circle each would wait for the others for ever.
    fn is_blocked(&self, owner: &str) -> bool {
        self.blocking(owner).into_iter().any(|dependent| !self.waits_for(&dependent, owner))
    }

    /// The dependents that block an owner's end.
    fn blocking(&self, owner: &str) -> Vec<String> {
        let blocks = |uid: &String| {
            let references = self.graph.get(uid).into_iter().flat_map(|node| &node.metadata.owner_references);
            references.into_iter().any(|reference| reference.uid == owner && reference.block_owner_deletion)
        };
        self.graph.dependents(owner).into_iter().filter(blocks).collect()
    }

    /// Whether `from` waits for its dependents, and over them for `to`.
    fn waits_for(&self, from: &str, to: &str) -> bool {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(uid) = open.pop() {
            let waits = self.graph.get(&uid).is_some_and(|node| node.metadata.waits_for_dependents());
            if !waits || !seen.insert(uid.clone()) {
                continue;
            }
            let blocking = self.blocking(&uid);
            if blocking.iter().any(|blocking| blocking == to) {
                return true;
            }
            open.extend(blocking);
        }
        false
    }

    /// Deletes an object whose owners are gone, or takes away the references to those that are.
    async fn settle(&self, state: &Arc<State>, snapshot: &Snapshot, uid: &str) -> Result<bool, Failure> {
        let Some(node) = self.graph.get(uid).filter(|node| !node.metadata.is_terminating()) else { return Ok(true) };
        let Some(kind) = kind_of(snapshot, &node.key) else { return Ok(false) };
        let owners = look_up(state, snapshot, &node.metadata).await?;
        if owners.unknown > 0 {
            return Ok(false);
        }
        if owners.solid > 0 {
            let gone: Vec<&String> = owners.absent.iter().chain(&owners.waiting).collect();
            if !gone.is_empty() {
                remove_references(state, kind, &node.key, &gone).await?;
            }
            return Ok(true);
        }
        if owners.waiting.is_empty() && owners.absent.is_empty() {
            return Ok(true);
        }
        let has_dependents = !self.graph.dependents(uid).is_empty();
        let foreground = !owners.waiting.is_empty() && has_dependents;
        let propagation = foreground.then_some(Propagation::Foreground);
        // The owners of another version may be others.
        let looked_at = (uid, Some(node.modified));
        Ok(write::remove(state, kind, &node.key, looked_at, propagation).await? != Removed::Changed)
    }

    async fn orphan(&self, state: &Arc<State>, snapshot: &Snapshot, owner: &str) -> Result<(), Failure> {
        for dependent in self.graph.dependents(owner) {
            let Some(node) = self.graph.get(&dependent) else { continue };
            let Some(kind) = kind_of(snapshot, &node.key) else { continue };
            remove_references(state, kind, &node.key, &[&owner.to_owned()]).await?;
        }
        Ok(())
    }
}

/// The kind under whose prefix a key is.
pub(super) fn kind_of<'a>(snapshot: &'a Snapshot, key: &str) -> Option<&'a Arc<Kind>> {
    snapshot.resources().find(|kind| key.starts_with(&kind.storage.prefix))
}

/// Reads every owner, live.
async fn look_up(state: &State, snapshot: &Snapshot, metadata: &Metadata) -> Result<Owners, Failure> {
    let mut owners = Owners::default();
    for Owner { api_version, kind, name, uid, .. } in &metadata.owner_references {
        let Some(kind) = snapshot.owner(api_version, kind) else {
            owners.unknown += 1;
            continue;
        };
        if kind.namespaced && metadata.namespace.is_empty() {
            // A cluster-scoped object cannot have an owner in a namespace: nobody can say which is meant.
            owners.solid += 1;
            continue;
        }
        let is_served = kind.api_version() == *api_version;
        let found = state.store.get(&kind.key(&metadata.namespace, name)).await?.object;
        let found = found.map(|object| Metadata::read(&object)).filter(|found| found.uid == *uid);
        match found {
            // Nobody can look under a version that is not served.
            None if !is_served => owners.unknown += 1,
            None => owners.absent.push(uid.clone()),
            Some(found) if found.waits_for_dependents() => owners.waiting.push(uid.clone()),
            Some(_) => owners.solid += 1,
        }
    }
    Ok(owners)
}

/// Removes the references to `owners`.
async fn remove_references(state: &State, kind: &Arc<Kind>, key: &str, owners: &[&String]) -> Result<(), Failure> {
    write::modify(state, kind, key, "", |object| {
        let Some(Value::Array(references)) = object["metadata"].get_mut("ownerReferences") else { return false };
        let before = references.len();
        references.retain(|reference| !owners.iter().any(|owner| reference["uid"] == **owner));
        let (after, changed) = (references.len(), references.len() != before);
        if after == 0 {
            meta::set(object, "ownerReferences", None);
        }
        changed
    })
    .await
}

/// Removes a finalizer of the garbage collector.
async fn remove_finalizer(state: &State, kind: &Arc<Kind>, node: &Node, finalizer: &str) -> Result<(), Failure> {
    write::modify(state, kind, &node.key, "", |object| {
        let held: Vec<String> = meta::finalizers(object).into_iter().map(str::to_owned).collect();
        let kept: Vec<String> = held.iter().filter(|held| *held != finalizer).cloned().collect();
        let changed = kept.len() != held.len() && object["metadata"]["uid"] == node.metadata.uid;
        if changed {
            meta::set_finalizers(object, kept);
        }
        changed
    })
    .await
}
