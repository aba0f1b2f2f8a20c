//! Objects and lists: sizes, required fields, additional properties, and the walk downwards.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{Outcome, Walk};
use crate::correlate::Correlated;
use crate::error::FieldError;
use crate::structural::{Additional, Node};

impl Walk<'_> {
    pub(super) fn object<'v>(
        &mut self,
        map: &'v Map<String, Value>,
        node: &Node,
        old: Option<Correlated<'v>>,
        outcome: &mut Outcome,
    ) {
        outcome.matches += 1;
        let size = map.len() as u64;
        if let Some(min) = node.checks().min_properties.filter(|min| size < *min) {
            outcome.errors.push(self.invalid(size, &format!("should have at least {min} properties")));
        }
        if let Some(max) = node.checks().max_properties.filter(|max| size > *max) {
            outcome.errors.push(FieldError::too_many(self.path.as_str(), size, max));
        }
        for (key, value) in map.iter() {
            if outcome.is_full() {
                return;
            }
            if node.properties.contains_key(key) {
                continue;
            }
            match node.additional {
                Additional::Forbidden => {
                    let at = self.path.as_str();
                    let detail = format!("{at}.{key} in body is a forbidden property");
                    outcome.errors.push(FieldError::invalid(at, key.as_str(), detail));
                }
                Additional::Schema(id) => {
                    let mark = self.path.field(key);
                    let found = self.value(value, id, old.and_then(|o| o.field(key)));
                    self.path.reset(mark);
                    outcome.add(found);
                }
                Additional::Any | Additional::Unsaid => {}
            }
        }
        for (name, id) in node.properties.iter() {
            let Some(value) = map.get(name).filter(|_| !outcome.is_full()) else { continue };
            let at_root = self.path.as_str().is_empty();
            let mark = self.path.field(name);
            // the type of an object is the same before and after: it never ratchets
            let old = old.filter(|_| !(at_root && matches!(name, "apiVersion" | "kind")));
            let found = self.value(value, id, old.and_then(|o| o.field(name)));
            self.path.reset(mark);
            outcome.add(found);
        }
        for name in node.checks().required.iter().filter(|name| !map.contains_key(*name)) {
            outcome.errors.push(FieldError::required(self.path.child(name), ""));
        }
    }

    pub(super) fn array<'v>(
        &mut self,
        items: &'v [Value],
        node: &Node,
        old: Option<Correlated<'v>>,
        outcome: &mut Outcome,
    ) {
        outcome.matches += 2;
        if let Some(id) = node.items {
            let pairs = old.map(|old| old.items());
            for (i, item) in items.iter().enumerate() {
                if outcome.is_full() {
                    break;
                }
                let mark = self.path.index(i);
                let found = self.value(item, id, pairs.as_ref().and_then(|pairs| pairs.get(item)));
                self.path.reset(mark);
                outcome.add(found);
            }
        }
        let size = items.len() as u64;
        if let Some(min) = node.checks().min_items.filter(|min| size < *min) {
            outcome.errors.push(self.invalid(size, &format!("should have at least {min} items")));
        }
        if let Some(max) = node.checks().max_items.filter(|max| size > *max) {
            outcome.errors.push(FieldError::too_many(self.path.as_str(), size, max));
        }
        let mut seen = HashSet::new();
        if node.checks().unique_items && !items.iter().all(|item| seen.insert(item)) {
            outcome.errors.push(self.invalid("", "shouldn't contain duplicates"));
        }
    }
}
