//! Merging two lists: scalars as a set, objects by their merge key.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::order::ordered;
use super::{Field, Merge, PATCH, PatchError, no_merge_key, unknown_directive};

impl Merge<'_> {
    pub(super) fn list(
        &self,
        original: Vec<Value>,
        patch: Vec<Value>,
        field: &Field<'_>,
    ) -> Result<Vec<Value>, PatchError> {
        let of_objects = original.iter().chain(&patch).any(Value::is_object);
        if !of_objects {
            let mut seen = HashSet::with_capacity(original.len() + patch.len());
            let unique = original.iter().chain(&patch).filter(|item| seen.insert(*item)).cloned().collect();
            return Ok(ordered(unique, &patch, &original, None));
        }
        let Some(key) = field.merge_key() else {
            return Err(PatchError::Unprocessable("cannot merge lists without merge key".to_owned()));
        };
        let (kept, patch) = special_elements(original, patch, key)?;
        let merged = self.by_key(kept.clone(), &patch, key, field)?;
        if let Some(item) = merged.iter().find(|item| item.get(key).is_none()) {
            return Err(no_merge_key(item, key));
        }
        Ok(ordered(merged, &patch, &kept, Some(key)))
    }

    fn by_key(
        &self,
        mut merged: Vec<Value>,
        patch: &[Value],
        key: &str,
        field: &Field<'_>,
    ) -> Result<Vec<Value>, PatchError> {
        let mut positions: HashMap<Value, usize> = HashMap::with_capacity(merged.len() + patch.len());
        for (position, item) in merged.iter().enumerate() {
            if let Some(identity) = item.get(key) {
                positions.entry(identity.clone()).or_insert(position);
            }
        }
        for item in patch {
            let Some(wanted) = item.get(key) else { return Err(no_merge_key(item, key)) };
            match positions.get(wanted).copied().and_then(|at| merged.get_mut(at)) {
                Some(found) => {
                    let before = found.as_object().cloned().unwrap_or_default();
                    let patch = item.as_object().cloned().unwrap_or_default();
                    *found = Value::Object(self.map(before, patch, field.items())?);
                }
                None => {
                    positions.insert(wanted.clone(), merged.len());
                    merged.push(item.clone());
                }
            }
        }
        Ok(merged)
    }
}

/// Takes `$patch` elements out of the patch: what is left of the original, and of the patch.
fn special_elements(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let mut plain = Vec::with_capacity(patch.len());
    let mut replace = false;
    let mut deleted = HashSet::new();
    for item in patch {
        match item.get(PATCH).map(|d| d.as_str().unwrap_or_default()) {
            None => plain.push(item),
            Some("delete") => {
                let Some(gone) = item.get(key) else { return Err(no_merge_key(&item, key)) };
                deleted.insert(gone.clone());
            }
            Some("replace") => replace = true,
            Some("merge") => {
                let text = "merging lists cannot yet be specified in the patch";
                return Err(PatchError::Unprocessable(text.to_owned()));
            }
            Some(_) => {
                let map = item.as_object().cloned().unwrap_or_default();
                return Err(unknown_directive(&item[PATCH], &map));
            }
        }
    }
    original.retain(|item| !item.get(key).is_some_and(|key| deleted.contains(key)));
    Ok(if replace { (plain, Vec::new()) } else { (original, plain) })
}
