//! Follows the definitions: what is served now, and the condition under which a write holds.
//!
//! A request works with the [`Snapshot`] it began with. The one writer is the watch on definitions.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use nubium_store::{Guard, Revision};
use parking_lot::RwLock;
use serde_json::Value;
use tokio::sync::watch;

use super::Kind;
use super::custom::from_definition;
use super::snapshot::{Definition, Snapshot};
use super::well_known::BuiltIn;
use crate::object::meta;

/// How long it is waited for a definition to be served.
const SETTLE: Duration = Duration::from_secs(5);

/// The current snapshot, and the revision of definitions that it shows.
pub(crate) struct Registry {
    current: RwLock<Arc<Snapshot>>,
    seen: watch::Sender<Revision>,
}

impl Registry {
    pub fn new(builtin: Vec<Arc<Kind>>) -> Self {
        Self { current: RwLock::new(Arc::new(Snapshot::new(builtin))), seen: watch::Sender::new(0) }
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.read().clone()
    }

    /// Takes in a definition as it was written at `revision`; `None` when it is gone.
    pub fn define(&self, name: &str, revision: Revision, definition: Option<&Value>) {
        let definition = definition.filter(|definition| is_established(definition));
        let terminating = definition.is_some_and(meta::is_terminating);
        let known = self.current.read().definition(name).cloned();
        let made_of =
            definition.map(|definition| digest(&[&definition["spec"], &definition["status"]["acceptedNames"]]));
        if let Some(known) = known.filter(|known| Some(known.made_of) == made_of) {
            return self.replace(name, revision, Some(Definition { modified: revision, terminating, ..known }));
        }
        let defined = made_of.zip(definition).map(|(made_of, definition)| {
            let (mut kinds, errors) = from_definition(definition);
            if !errors.is_empty() {
                // It was valid when it was written, by another version of the program.
                tracing::warn!(
                    name,
                    ?errors,
                    "a stored definition has errors; its kind is served without what is wrong"
                );
            }
            kinds.iter_mut().for_each(|kind| kind.storage.unchanged_since = revision);
            Definition { modified: revision, made_of, kinds: kinds.into_iter().map(Arc::new).collect(), terminating }
        });
        self.replace(name, revision, defined);
    }

    fn replace(&self, name: &str, revision: Revision, defined: Option<Definition>) {
        let mut current = self.current.write();
        let next = current.with(name, defined);
        let before = std::mem::replace(&mut *current, Arc::new(next));
        for kind in before.kinds_of(name).filter(|kind| !current.serves(name, kind)) {
            kind.replaced.send_replace(Some(revision));
        }
    }

    /// The condition under which an object may be written that went through the schema of `kind`: that its definition is
    /// still the one that made it.
    ///
    /// # Errors
    /// The revision at which another one is known.
    pub fn guard(&self, kind: &Kind) -> Result<Option<Guard>, Revision> {
        if !kind.is_custom() {
            return Ok(None);
        }
        let name = kind.definition_name();
        let current = self.snapshot();
        match current.definition(&name) {
            Some(definition) if current.serves(&name, kind) => {
                let key = format!("{}{name}", BuiltIn::Definition.prefix()).into();
                Ok(Some(Guard { key, modified: definition.modified }))
            }
            _ => Err(*self.seen.borrow()),
        }
    }

    /// Says that every definition up to `revision` was taken in.
    pub fn caught_up(&self, revision: Revision) {
        self.seen.send_if_modified(|seen| std::mem::replace(seen, revision.max(*seen)) < revision);
    }

    /// Waits until the definitions written at `revision` are served; gives up after a while.
    pub async fn wait_for(&self, revision: Revision) {
        let mut seen = self.seen.subscribe();
        // The sender lives as long as `self`.
        let _ = tokio::time::timeout(SETTLE, seen.wait_for(|seen| *seen >= revision)).await;
    }
}

/// Of equal values the same, within this process. The hash has a random key, so nobody can make two that collide.
fn digest(values: &[&Value]) -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEY.hash_one(values)
}

fn is_established(definition: &Value) -> bool {
    let conditions = definition["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stored_definition_with_errors_is_served_without_what_is_wrong() {
        let spec = json!({"type": "object", "properties": {
            "a": {"type": "string", "pattern": "(", "maxLength": 1},
            "b": {"type": "string", "x-kubernetes-validations": [{"rule": "self =="}, {"rule": "self != 'b'"}]},
            "c": {"description": "has no type"}, "d": {"type": "array"}}});
        let definition = json!({
            "metadata": {"name": "things.test.example", "uid": "u"},
            "spec": {"group": "test.example", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "additionalPrinterColumns": [{"name": "A"}], "selectableFields": [{"jsonPath": ".spec.none"}],
                    "subresources": {"scale": {"specReplicasPath": "x"}},
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}}]},
            "status": {"conditions": [{"type": "Established", "status": "True"}]},
        });
        let (_, errors) = from_definition(&definition);
        assert!(errors.len() > 4, "{errors:?}");
        let registry = Registry::new(Vec::new());
        registry.define("things.test.example", 1, Some(&definition));
        let snapshot = registry.snapshot();
        let kind = snapshot.find("test.example", "v1", "things").expect("the kind is served");
        let found = |spec: Value| kind.schema.check(&json!({"spec": spec}), None).len();
        assert_eq!(found(json!({"a": "x", "b": "x", "c": 1, "d": [1]})), 0);
        assert!(found(json!({"a": "xx"})) > 0, "what is sound holds");
        assert_eq!(found(json!({"b": "b"})), 1, "what is sound holds");
    }
}
