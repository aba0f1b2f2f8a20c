//! Finding the same place in the object before: by field name, and in a list of type map by key.
//!
//! Ratcheting (an error that was there before and whose value did not change is no reason to refuse an update) and CEL
//! transition rules both rest on it.

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

    /// An item of the new list with the old item of the same key, if this is a list of type map. Items of other lists
    /// have no counterpart.
    pub(crate) fn item(&self, index: usize) -> Option<Correlated<'v>> {
        let node = self.schema.node(self.id);
        let ListType::Map(keys) = &node.list_type else { return None };
        let new = self.new.get(index)?;
        let old = self.old.as_array()?.iter().find(|old| same_key(keys, old, new))?;
        Some(Correlated { id: node.items?, new, old, ..*self })
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
                    ListType::Map(_) => (0..new.len()).all(|i| self.item(i).is_some_and(|c| c.is_unchanged())),
                    _ => new == old,
                }
            }
            (new, old) => new == old,
        }
    }
}

fn same_key(keys: &[String], a: &Value, b: &Value) -> bool {
    let scalar = |value: &Value| !value.is_object() && !value.is_array();
    keys.iter().all(|key| a.get(key).is_some_and(scalar) && a.get(key) == b.get(key))
}
