//! Definitions: the registry follows them, and their objects go before they do.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use nubium_store::{Event, Object, Range, Revision, WatchItem};
use serde_json::Value;

use super::graph::Metadata;
use crate::computations::compiling;
use crate::failure::Failure;
use crate::kind::{BuiltIn, accept_names, set_condition};
use crate::object::meta::{self, CLEANUP};
use crate::object::timestamp;
use crate::state::State;
use crate::write::{self, Removed};

fn definitions() -> String {
    BuiltIn::Definition.prefix()
}

/// Reads all definitions into the registry, and keeps it up to date from then on, as long as the state lives.
pub(crate) async fn follow(state: &Arc<State>) -> Result<(), nubium_store::Error> {
    let after = load(state).await?;
    let follower = Arc::downgrade(state);
    let task = tokio::spawn(async move {
        let mut after = after;
        // Without the state nobody asks any more; its end also aborts this task.
        while let Some(state) = follower.upgrade() {
            match state.store.watch(&definitions(), after).await {
                Ok(mut events) => {
                    drop(state);
                    while let Some(item) = events.next().await {
                        let Some(state) = follower.upgrade() else { return };
                        match item {
                            WatchItem::Event(event) => after = take(&state, &event).await,
                            WatchItem::Progress(revision) => {
                                after = revision;
                                state.registry.caught_up(revision);
                            }
                            WatchItem::Compacted => break,
                        }
                    }
                }
                Err(error) => tracing::warn!(error = %crate::failure::chain(&error), "definitions cannot be followed"),
            }
            tokio::time::sleep(super::RETRY).await;
            let Some(state) = follower.upgrade() else { return };
            match load(&state).await {
                Ok(revision) => after = revision,
                Err(error) => tracing::warn!(error = %crate::failure::chain(&error), "definitions cannot be read"),
            }
        }
    });
    state.keep(task.abort_handle());
    Ok(())
}

/// Takes in all definitions as they are now.
async fn load(state: &Arc<State>) -> Result<Revision, nubium_store::Error> {
    let page = state.store.range(Range::all(definitions())).await?;
    for object in &page.objects {
        define(state, object, false).await;
    }
    state.registry.caught_up(page.revision);
    Ok(page.revision)
}

async fn take(state: &Arc<State>, event: &Event) -> Revision {
    define(state, &event.object, event.deleted).await;
    state.registry.caught_up(event.revision());
    event.revision()
}

async fn define(state: &Arc<State>, object: &Object, deleted: bool) {
    let (server, object) = (state.clone(), object.clone());
    let cost = if deleted { 0 } else { compiling(object.value.len()) };
    let work = move || {
        let name = object.key.rsplit('/').next().unwrap_or_default();
        let definition = (!deleted).then(|| serde_json::from_slice::<Value>(&object.value).ok()).flatten();
        server.registry.define(name, object.modified, definition.as_ref());
        Ok(())
    };
    if let Err(failure) = state.computations.run(cost, work).await {
        tracing::warn!(message = failure.message(), "a definition was not taken in");
    }
}

/// The definitions on their way out, and those whose names were taken.
#[derive(Default)]
pub(super) struct Leaving {
    names: BTreeSet<String>,
    refused: BTreeSet<String>,
    changed: BTreeSet<String>,
}

impl Leaving {
    pub fn seen(&mut self, object: &Object, deleted: bool) {
        let prefix = definitions();
        let Some(name) = object.key.strip_prefix(prefix.as_str()) else {
            // An object of a definition that goes: `/registry/<group>/<plural>/…`.
            let mut parts = object.key.split('/').skip(2);
            if let (true, Some(group), Some(plural)) = (deleted, parts.next(), parts.next()) {
                let name = format!("{plural}.{group}");
                if self.names.contains(&name) {
                    self.changed.insert(name);
                }
            }
            return;
        };
        let name = name.to_owned();
        self.refused.remove(&name);
        if deleted {
            self.names.remove(&name);
            // A name has become free.
            self.changed.extend(self.refused.iter().cloned());
            return;
        }
        if Metadata::read(object).is_terminating() {
            self.names.insert(name.clone());
            self.changed.insert(name);
        } else if is_refused(object) {
            self.refused.insert(name);
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
            let done = match self.names.contains(&name) {
                true => empty(state, &name).await,
                false => accept(state, &name).await,
            };
            if let Err(failure) = done {
                tracing::debug!(name, message = failure.message(), "a definition could not be settled yet");
            }
        }
    }
}

fn is_refused(object: &Object) -> bool {
    let definition: Value = serde_json::from_slice(&object.value).unwrap_or_default();
    let conditions = definition["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "NamesAccepted" && condition["status"] == "False")
}

/// Deletes the objects of a definition that goes; when none is left, lets it go. A definition can be made again under
/// its name: only what was stored while this one was seen to go is deleted.
async fn empty(state: &Arc<State>, name: &str) -> Result<(), Failure> {
    let snapshot = state.registry.snapshot();
    let kind = snapshot.built_in(BuiltIn::Definition);
    let key = kind.key("", name);
    let got = state.store.get(&key).await?;
    let Some(definition) = got.object.map(|object| Metadata::read(&object)).filter(Metadata::is_terminating) else {
        return Ok(());
    };
    let now = timestamp((state.config.clock)());
    let objects = snapshot.resources().find(|kind| format!("{}.{}", kind.plural, kind.group) == name);
    let mut left = 0;
    if let Some(objects) = objects {
        let page = state.store.range(Range::all(objects.storage.prefix.clone())).await?;
        for object in page.objects.iter().filter(|object| object.created <= got.revision) {
            let metadata = Metadata::read(object);
            let removed = match metadata.is_terminating() {
                true => Ok(Removed::Waiting),
                false => write::remove(state, objects, &object.key, (&metadata.uid, None), None).await,
            };
            if let Err(failure) = &removed {
                tracing::debug!(key = %object.key, message = failure.message(), "cannot delete an object");
            }
            left += usize::from(removed != Ok(Removed::Gone));
        }
    }
    if left > 0 {
        let message = format!("CustomResource deletion is in progress: {left} remaining");
        return write::modify(state, kind, &key, "status", |object| {
            let before = object["status"]["conditions"].clone();
            if object["metadata"]["uid"] == *definition.uid {
                let reason = "InstanceDeletionInProgress";
                set_condition(&mut object["status"], &now, "Terminating", true, reason, &message);
            }
            before != object["status"]["conditions"]
        })
        .await;
    }
    write::modify(state, kind, &key, "", |object| {
        let kept: Vec<String> =
            meta::finalizers(object).into_iter().filter(|held| *held != CLEANUP).map(str::to_owned).collect();
        let is_seen = object["metadata"]["uid"] == *definition.uid;
        if is_seen {
            meta::set_finalizers(object, kept);
        }
        is_seen
    })
    .await
}

/// Looks again whether a definition's names are free.
async fn accept(state: &Arc<State>, name: &str) -> Result<(), Failure> {
    let snapshot = state.registry.snapshot();
    let kind = snapshot.built_in(BuiltIn::Definition);
    let now = timestamp((state.config.clock)());
    write::modify(state, kind, &kind.key("", name), "status", |object| {
        let before = object["status"].clone();
        accept_names(&snapshot, &now, object, None);
        before != object["status"]
    })
    .await
}
