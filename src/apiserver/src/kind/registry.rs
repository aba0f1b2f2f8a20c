//! All kinds that are served now: the built-in ones, and those whose definition is established.
//!
//! A snapshot never changes; a request works with the one it began with. The one writer is the watch on definitions.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use nubium_store::{Guard, Revision};
use parking_lot::RwLock;
use serde_json::Value;
use tokio::sync::watch;

use super::Kind;
use super::custom::from_definition;
use super::rules::BuiltIn;
use crate::object::meta;
use crate::openapi::Documents;

/// How long it is waited for a definition to be served.
const SETTLE: Duration = Duration::from_secs(5);

/// The kinds at one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    by_path: HashMap<(String, String, String), Arc<Kind>>,
    builtin: Vec<Arc<Kind>>,
    /// By the definition's name.
    custom: BTreeMap<String, Definition>,
    pub documents: Documents,
}

#[derive(Debug, Clone)]
struct Definition {
    /// The revision at which it was written.
    modified: Revision,
    /// A digest of what the kinds were made of.
    made_of: u64,
    kinds: Vec<Arc<Kind>>,
    terminating: bool,
}

/// A group and its versions, the preferred one first.
pub(crate) struct Group<'a> {
    pub name: &'a str,
    pub versions: Vec<&'a str>,
}

impl Snapshot {
    /// What is served at `/apis/<group>/<version>/…/<plural>`.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.by_path.get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// The kind that the server itself works with, as it is stored.
    pub fn built_in(&self, which: BuiltIn) -> &Arc<Kind> {
        let (group, plural) = which.resource();
        let found = self.builtin.iter().find(|kind| kind.is(group, plural));
        found.expect("data/kinds.json describes it, which a test checks")
    }

    /// Every version of every kind, built-in ones first.
    pub fn kinds(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.builtin.iter().chain(self.custom.values().flat_map(|definition| &definition.kinds))
    }

    /// Each resource once, as it is stored.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Kind>> {
        let mut seen = std::collections::HashSet::new();
        let stored = |kind: &&Arc<Kind>| !kind.storage.alias;
        self.kinds().filter(stored).filter(move |kind| seen.insert(kind.storage.prefix.clone()))
    }

    /// The kind that an owner reference names; any version of the group will do.
    pub fn owner(&self, api_version: &str, kind: &str) -> Option<&Arc<Kind>> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let of_group = || self.kinds().filter(|known| known.group == group && known.kind == kind);
        of_group().find(|known| known.version == version).or_else(|| of_group().next())
    }

    /// Whether the definition that made this kind is on its way out.
    pub fn is_terminating(&self, kind: &Kind) -> bool {
        kind.is_custom() && self.custom.get(&kind.definition_name()).is_some_and(|definition| definition.terminating)
    }

    fn kinds_of(&self, definition: &str) -> impl Iterator<Item = &Arc<Kind>> {
        self.custom.get(definition).into_iter().flat_map(|definition| &definition.kinds)
    }

    /// Whether this very kind is what the definition makes.
    fn serves(&self, definition: &str, kind: &Kind) -> bool {
        self.kinds_of(definition).any(|served| std::ptr::eq(&raw const **served, kind))
    }

    /// The groups, sorted, each with its versions.
    pub fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for kind in self.kinds() {
            let versions = groups.entry(&kind.group).or_default();
            if !versions.contains(&kind.version.as_str()) {
                versions.push(&kind.version);
            }
        }
        let sorted = groups.into_iter().map(|(name, mut versions)| {
            versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
            Group { name, versions }
        });
        sorted.collect()
    }

    fn index(&mut self) {
        let kinds: Vec<Arc<Kind>> = self.kinds().cloned().collect();
        self.by_path = kinds
            .into_iter()
            .map(|kind| ((kind.group.clone(), kind.version.clone(), kind.plural.clone()), kind))
            .collect();
    }
}

/// How Kubernetes orders versions: stable above beta above alpha, then by number.
fn priority(version: &str) -> (u8, u32, u32) {
    let digits = |text: &str| text.parse::<u32>().ok();
    let parse = || {
        let rest = version.strip_prefix('v')?;
        for (stage, word) in [(2, "beta"), (1, "alpha")] {
            if let Some((major, minor)) = rest.split_once(word) {
                return Some((stage, digits(major)?, digits(minor)?));
            }
        }
        Some((3, digits(rest)?, 0))
    };
    parse().unwrap_or((0, 0, 0))
}

/// The current snapshot, and the revision of definitions that it shows.
pub(crate) struct Registry {
    current: RwLock<Arc<Snapshot>>,
    seen: watch::Sender<Revision>,
}

impl Registry {
    pub fn new(builtin: Vec<Arc<Kind>>) -> Self {
        let mut snapshot = Snapshot { builtin, ..Snapshot::default() };
        snapshot.index();
        Self { current: RwLock::new(Arc::new(snapshot)), seen: watch::Sender::new(0) }
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.read().clone()
    }

    /// Takes in a definition as it was written at `revision`; `None` when it is gone.
    pub fn define(&self, name: &str, revision: Revision, definition: Option<&Value>) {
        let definition = definition.filter(|definition| is_established(definition));
        let terminating = definition.is_some_and(meta::is_terminating);
        let known = self.current.read().custom.get(name).cloned();
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
        let mut next =
            Snapshot { builtin: current.builtin.clone(), custom: current.custom.clone(), ..Snapshot::default() };
        match defined {
            Some(defined) => drop(next.custom.insert(name.to_owned(), defined)),
            None => drop(next.custom.remove(name)),
        }
        next.index();
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
        match current.custom.get(&name) {
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

    #[test]
    fn versions_are_ordered_as_kubernetes_does() {
        let mut versions = vec!["v1alpha1", "v2", "foo", "v1beta2", "v11", "v1beta10", "v1"];
        versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        assert_eq!(versions, ["v11", "v2", "v1", "v1beta10", "v1beta2", "v1alpha1", "foo"]);
    }
}
