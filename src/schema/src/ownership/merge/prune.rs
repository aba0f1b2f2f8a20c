//! Removing what a manager applied before and does not apply any more.

use std::{borrow::Cow, collections::BTreeMap};

use super::{ConvertError, Converter, Managers, MergeError, Owned, Updater};
use crate::ownership::{Set, typed::Typed};

impl Updater<'_> {
    /// `merged` without what the applying manager owned (`last`) and no manager owns now; `managers` have its new set.
    pub(super) fn prune<K: Ord>(
        &self,
        merged: Typed<'static>,
        managers: &Managers<K>,
        version: &str,
        last: Option<&Owned>,
    ) -> Result<Typed<'static>, MergeError> {
        let Some(last) = last.filter(|last| !last.set.is_empty()) else { return Ok(merged) };
        let pruned = match self.converter.convert(&merged, &last.version) {
            Err(ConvertError::NoSuchVersion(_)) => None,
            in_last => Some(self.prune_in_version(&*in_last?, managers, last)?),
        };
        match pruned {
            Some(pruned) => Ok(convert(self.converter, pruned, version)?),
            None => Ok(merged),
        }
    }

    /// The same for an object in the version of `last`.
    fn prune_in_version<K: Ord>(
        &self,
        merged: &Typed,
        managers: &Managers<K>,
        last: &Owned,
    ) -> Result<Typed<'static>, MergeError> {
        let pruned = merged.remove_items(&last.set.with_declared_parents(merged.ty()));
        let pruned = self.add_back_owned(merged, pruned, managers, &last.version)?;
        match self.converter.convert(&pruned, &last.version) {
            Err(ConvertError::NoSuchVersion(_)) => Ok(merged.clone().into_static()),
            pruned => Ok(add_back_dangling(merged, &*pruned?, last)),
        }
    }

    /// Adds back what any manager owns, the applying one's new configuration included.
    fn add_back_owned<K: Ord>(
        &self,
        merged: &Typed,
        mut pruned: Typed<'static>,
        managers: &Managers<K>,
        pruned_version: &str,
    ) -> Result<Typed<'static>, MergeError> {
        let mut by_version: BTreeMap<&str, Set> = BTreeMap::new();
        for Owned { set, version, .. } in managers.values() {
            let all = by_version.entry(version).or_default();
            *all = all.union(set);
        }
        // The version that was pruned comes first: another one may not be had without fields that were pruned there.
        if let Some(managed) = by_version.remove(pruned_version) {
            pruned = keep_owned(merged, &pruned, &managed);
        }
        let mut before: Option<Typed<'static>> = None;
        for (version, managed) in by_version {
            let merged = before.as_ref().unwrap_or(merged);
            let converted = self.converter.convert(merged, version).map(|merged| merged.into_owned().into_static());
            let converted =
                converted.and_then(|merged| Ok((merged, convert(self.converter, pruned.clone(), version)?)));
            let (merged, in_version) = match converted {
                Err(ConvertError::NoSuchVersion(_)) => continue,
                converted => converted?,
            };
            pruned = keep_owned(&merged, &in_version, &managed);
            before = Some(merged);
        }
        Ok(pruned)
    }
}

/// `merged` without what is neither in `pruned` nor managed.
fn keep_owned(merged: &Typed, pruned: &Typed, managed: &Set) -> Typed<'static> {
    let in_merged = merged.to_field_set().with_declared_parents(merged.ty());
    let in_pruned = pruned.to_field_set().with_declared_parents(merged.ty());
    let managed = managed.with_declared_parents(merged.ty());
    merged.remove_items(&in_merged.difference(&in_pruned.union(&managed)))
}

/// `merged` without what is not in `pruned` and was the applying manager's; fields without an owner stay.
fn add_back_dangling(merged: &Typed, pruned: &Typed, last: &Owned) -> Typed<'static> {
    let in_pruned = pruned.to_field_set().with_declared_parents(merged.ty());
    let in_merged = merged.to_field_set().with_declared_parents(merged.ty());
    let last = last.set.with_declared_parents(merged.ty());
    merged.remove_items(&in_merged.difference(&in_pruned).intersection(&last))
}

/// An object in a version, without a copy when it is in that version already.
fn convert(converter: &dyn Converter, object: Typed<'static>, version: &str) -> Result<Typed<'static>, ConvertError> {
    let converted = match converter.convert(&object, version)? {
        Cow::Owned(converted) => Some(converted.into_static()),
        Cow::Borrowed(_) => None,
    };
    Ok(converted.unwrap_or(object))
}
