//! All kinds that are served at one moment: the built-in ones, and those whose definition is established. It never changes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use nubium_store::Revision;

use super::Kind;
use super::well_known::BuiltIn;
use crate::openapi::Documents;

/// The kinds at one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    by_path: HashMap<(String, String, String), Arc<Kind>>,
    builtin: Vec<Arc<Kind>>,
    /// By the definition's name.
    custom: BTreeMap<String, Definition>,
    pub documents: Documents,
}

/// What a CustomResourceDefinition made.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    /// The revision at which it was written.
    pub modified: Revision,
    /// A digest of what the kinds were made of.
    pub made_of: u64,
    pub kinds: Vec<Arc<Kind>>,
    pub terminating: bool,
}

/// A group and its versions, the preferred one first.
pub(crate) struct Group<'a> {
    pub name: &'a str,
    pub versions: Vec<&'a str>,
}

impl Snapshot {
    pub(super) fn new(builtin: Vec<Arc<Kind>>) -> Self {
        Self { builtin, ..Self::default() }.indexed()
    }

    /// The same with another definition of that name, or without it.
    pub(super) fn with(&self, name: &str, definition: Option<Definition>) -> Self {
        let mut custom = self.custom.clone();
        match definition {
            Some(definition) => drop(custom.insert(name.to_owned(), definition)),
            None => drop(custom.remove(name)),
        }
        Self { builtin: self.builtin.clone(), custom, ..Self::default() }.indexed()
    }

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
        let mut seen = HashSet::new();
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

    pub(super) fn definition(&self, name: &str) -> Option<&Definition> {
        self.custom.get(name)
    }

    pub(super) fn kinds_of(&self, definition: &str) -> impl Iterator<Item = &Arc<Kind>> {
        self.custom.get(definition).into_iter().flat_map(|definition| &definition.kinds)
    }

    /// Whether this very kind is what the definition makes.
    pub(super) fn serves(&self, definition: &str, kind: &Kind) -> bool {
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

    fn indexed(mut self) -> Self {
        let path = |kind: &Kind| (kind.group.clone(), kind.version.clone(), kind.plural.clone());
        let by_path = self.kinds().map(|kind| (path(kind), kind.clone())).collect();
        self.by_path = by_path;
        self
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_kubernetes_does() {
        let mut versions = vec!["v1alpha1", "v2", "foo", "v1beta2", "v11", "v1beta10", "v1"];
        versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        assert_eq!(versions, ["v11", "v2", "v1", "v1beta10", "v1beta2", "v1alpha1", "foo"]);
    }
}
