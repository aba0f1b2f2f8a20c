//! Finding the same place in the object before: by field name, and in a list of type map by key.
//!
//! Ratcheting (an error that was there before and whose value did not change is no reason to refuse an update) and CEL
//! transition rules both rest on it.

use std::collections::HashMap;

use serde_json::Value;

use crate::structural::{ListType, NodeId, Structural};

/// A value, its counterpart in the old object, and the schema node of both.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Correlated<'v> {
    pub(crate) schema: &'v Structural,
    pub(crate) id: NodeId,
    pub(crate) new: &'v Value,
    pub(crate) old: &'v Value,
}

impl<'v> Correlated<'v> {
    pub(crate) fn field(&self, name: &str) -> Option<Correlated<'v>> {
        let id = self.schema.child(self.schema.node(self.id), name)?;
        Some(Correlated { id, new: self.new.get(name)?, old: self.old.get(name)?, ..*self })
    }

    /// Pairs the items of the new list with the old ones of the same keys, if this is a list of type map. Items of other
    /// lists have no counterpart.
    pub(crate) fn items(&self) -> Items<'v> {
        let keys = match &self.schema.node(self.id).list_type {
            ListType::Map(keys) => keys.as_slice(),
            _ => &[],
        };
        let mut by_key = HashMap::new();
        if !keys.is_empty() {
            for old in self.old.as_array().into_iter().flatten() {
                if let Some(key) = key_of(keys, old) {
                    by_key.entry(key).or_insert(old);
                }
            }
        }
        Items { list: *self, keys, by_key }
    }

    /// Whether nothing changed here, as far as the schema knows what is here: a field that it does not know cannot be
    /// compared, so its object counts as changed. In lists of type map a new order is no change.
    pub(crate) fn is_unchanged(&self) -> bool {
        // the root has fields that the kind's schema does not name, so it never counts as unchanged
        if self.id == self.schema.root {
            return false;
        }
        match (self.new, self.old) {
            (Value::Object(new), Value::Object(old)) => {
                new.len() == old.len() && new.keys().all(|key| self.field(key).is_some_and(|c| c.is_unchanged()))
            }
            (Value::Array(new), Value::Array(old)) if new.len() == old.len() => {
                match self.schema.node(self.id).list_type {
                    ListType::Map(_) => {
                        let items = self.items();
                        new.iter().all(|new| items.get(new).is_some_and(|c| c.is_unchanged()))
                    }
                    _ => new == old,
                }
            }
            (new, old) => new == old,
        }
    }
}

/// The items of two versions of a list, found by key in constant time.
pub(crate) struct Items<'v> {
    list: Correlated<'v>,
    keys: &'v [String],
    by_key: HashMap<Vec<&'v Value>, &'v Value>,
}

impl<'v> Items<'v> {
    /// An item of the new list with its counterpart in the old one.
    pub(crate) fn get(&self, new: &'v Value) -> Option<Correlated<'v>> {
        if self.by_key.is_empty() {
            return None;
        }
        let old = self.by_key.get(&key_of(self.keys, new)?)?;
        Some(Correlated { id: self.list.schema.node(self.list.id).items?, new, old, ..self.list })
    }
}

/// The values of the key fields; none unless all are there and scalar.
fn key_of<'v>(keys: &[String], item: &'v Value) -> Option<Vec<&'v Value>> {
    crate::work::step();
    let scalar = |value: &&Value| !value.is_object() && !value.is_array();
    keys.iter().map(|key| item.get(key).filter(scalar)).collect()
}
