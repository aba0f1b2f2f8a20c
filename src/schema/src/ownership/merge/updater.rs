//! The two kinds of writes.

use std::{borrow::Cow, collections::BTreeMap};

use super::{Conflicts, ConvertError, Converter, Managers, Owned};
use crate::ownership::{
    Set,
    fieldpath::{Filter, equal},
    typed::{Comparison, Typed, Violations},
};

/// Computes what managers own after a write.
pub struct Updater<'u> {
    pub converter: &'u dyn Converter,
    /// By version: which places can be owned at all. Versions that are not named: all.
    pub filters: &'u BTreeMap<String, Filter>,
}

/// Why an apply is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal<K> {
    #[error("{} of the fields belong to others", .0.0.len())]
    Conflicts(Conflicts<K>),
    #[error(transparent)]
    Failed(#[from] MergeError),
}

/// Why the effect of a write cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error("the objects cannot be compared or merged")]
    Invalid(#[from] Violations),
    #[error("the object cannot be compared in another version")]
    Convert(#[from] ConvertError),
}

/// What a write takes from others.
struct Taken<K> {
    /// What each manager has left.
    managers: Managers<K>,
    /// All that changes.
    changes: Comparison,
    /// What changes of each manager's fields, but for those that go away.
    conflicts: Managers<K>,
}

impl Updater<'_> {
    /// What managers own after `manager` has written `new` in place of `live`. Whoever changes a value owns it alone.
    ///
    /// # Errors
    /// Only when the objects cannot be compared; an update has no conflicts.
    pub fn update<K: Ord + Clone>(
        &self,
        live: &Typed,
        new: &Typed,
        version: &str,
        managers: Managers<K>,
        manager: K,
    ) -> Result<Managers<K>, MergeError> {
        let managers = self.reconcile(live, managers)?;
        let Taken { mut managers, changes, .. } = self.take(live, new, version, managers, &manager)?;
        let before = managers.remove(&manager).map(|owned| owned.set).unwrap_or_default();
        let set = before.difference(&changes.removed).union(&changes.modified).union(&changes.added);
        let set = self.filter(version, set);
        if !set.is_empty() {
            managers.insert(manager, Owned { set, version: version.to_owned(), applied: false });
        }
        Ok(managers)
    }

    /// The object, and what managers own, after `manager` has applied `config` to `live`. `None` for the object: it is
    /// as before.
    ///
    /// # Errors
    /// Conflicts, unless `force`.
    pub fn apply<K: Ord + Clone>(
        &self,
        live: &Typed,
        config: &Typed,
        version: &str,
        managers: Managers<K>,
        manager: K,
        force: bool,
    ) -> Result<(Option<Typed<'static>>, Managers<K>), Refusal<K>> {
        let mut managers = self.reconcile(live, managers)?;
        let merged = live.merge(config).map_err(MergeError::from)?;
        let set = self.filter(version, config.to_field_set());
        let last = managers.insert(manager.clone(), Owned { set, version: version.to_owned(), applied: true });
        let new = self.prune(merged, &managers, version, last.as_ref())?;
        let Taken { managers, conflicts, .. } = self.take(live, &new, version, managers, &manager)?;
        if !force && !conflicts.is_empty() {
            return Err(Refusal::Conflicts(Conflicts::of(&conflicts)));
        }
        let same = equal(live.value(), new.value());
        Ok(((!same).then_some(new), managers))
    }

    fn filter(&self, version: &str, set: Set) -> Set {
        match self.filters.get(version) {
            Some(filter) => filter.filter(&set),
            None => set,
        }
    }

    /// Takes what changes between two objects from every manager but `writer`.
    fn take<K: Ord + Clone>(
        &self,
        old: &Typed,
        new: &Typed,
        version: &str,
        mut managers: Managers<K>,
        writer: &K,
    ) -> Result<Taken<K>, MergeError> {
        let mut changes = BTreeMap::from([(version.to_owned(), self.changes(old, new, version)?)]);
        let mut conflicts: Managers<K> = Managers::new();
        let mut unserved = Vec::new();
        for (manager, owned) in managers.iter().filter(|(manager, _)| *manager != writer) {
            if !changes.contains_key(&owned.version) {
                let (old, new) = match self.both(old, new, &owned.version) {
                    Ok(both) => both,
                    Err(ConvertError::NoSuchVersion(_)) => {
                        unserved.push(manager.clone());
                        continue;
                    }
                    Err(failed) => return Err(failed.into()),
                };
                changes.insert(owned.version.clone(), self.changes(&old, &new, &owned.version)?);
            }
            let changes = &changes[&owned.version];
            let set = owned.set.intersection(&changes.modified.union(&changes.added));
            if !set.is_empty() {
                conflicts.insert(manager.clone(), Owned { set, ..owned.clone() });
            }
        }
        managers.retain(|manager, _| !unserved.contains(manager));
        for (manager, owned) in managers.iter_mut().filter(|(manager, _)| *manager != writer) {
            if let Some(taken) = conflicts.get(manager) {
                owned.set = owned.set.difference(&taken.set);
            }
            owned.set = owned.set.difference(&changes[&owned.version].removed);
        }
        managers.retain(|_, owned| !owned.set.is_empty());
        let changes = changes.remove(version).unwrap_or_default();
        Ok(Taken { managers, changes, conflicts })
    }

    fn changes(&self, old: &Typed, new: &Typed, version: &str) -> Result<Comparison, Violations> {
        let changes = old.compare(new)?;
        Ok(match self.filters.get(version) {
            Some(filter) => changes.filter(filter),
            None => changes,
        })
    }

    fn both<'a>(
        &self,
        old: &'a Typed<'a>,
        new: &'a Typed<'a>,
        version: &str,
    ) -> Result<(Cow<'a, Typed<'a>>, Cow<'a, Typed<'a>>), ConvertError> {
        Ok((self.converter.convert(old, version)?, self.converter.convert(new, version)?))
    }

    /// Brings all sets up to the present schemas, and forgets those in versions that are no longer served.
    fn reconcile<K: Ord>(&self, live: &Typed, mut managers: Managers<K>) -> Result<Managers<K>, MergeError> {
        let mut failed = None;
        managers.retain(|_, owned| {
            let reconciled = self.converter.convert(live, &owned.version).map_err(MergeError::from);
            match reconciled.and_then(|live| Ok(live.reconcile(&owned.set)?)) {
                Ok(Some(set)) => owned.set = set,
                Ok(None) => {}
                Err(MergeError::Convert(ConvertError::NoSuchVersion(_))) => return false,
                Err(error) => failed = Some(error),
            }
            true
        });
        failed.map_or(Ok(managers), Err)
    }
}
