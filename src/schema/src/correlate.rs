//! Finding the same place in the object before: by field name, and in a list of type map by key.
//!
//! Ratcheting (an error that was there before and whose value did not change is no reason to refuse an update) and CEL
//! transition rules both rest on it.

use serde_json::Value;

use crate::structural::{ListType, Node, NodeId, Structural};

/// A value and its counterpart in the old object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Correlated<'v> {
    pub(crate) new: &'v Value,
    pub(crate) old: &'v Value,
}

impl<'v> Correlated<'v> {
    pub(crate) fn root(new: &'v Value, old: &'v Value) -> Self {
        Self { new, old }
    }

    pub(crate) fn field(&self, name: &str) -> Option<Correlated<'v>> {
        Some(Correlated { new: self.new.get(name)?, old: self.old.get(name)? })
    }

    /// The old item with the same key, if this is a list of type map. Items of other lists have no counterpart.
    pub(crate) fn item<'w>(&self, node: &Node, item: &'w Value) -> Option<Correlated<'w>>
    where
        'v: 'w,
    {
        let ListType::Map(keys) = &node.list_type else { return None };
        let old = self.old.as_array()?.iter().find(|old| same_key(keys, old, item))?;
        Some(Correlated { new: item, old })
    }

    /// Whether nothing changed here. Lists of type map are compared by key, so that reordering is no change.
    pub(crate) fn is_unchanged(&self, schema: &Structural, id: NodeId) -> bool {
        is_same(schema, id, self.new, self.old)
    }
}

fn same_key(keys: &[String], a: &Value, b: &Value) -> bool {
    a.is_object() && b.is_object() && keys.iter().all(|key| a.get(key) == b.get(key))
}

fn is_same(schema: &Structural, id: NodeId, new: &Value, old: &Value) -> bool {
    if new == old {
        return true;
    }
    let node = schema.node(id);
    match (new, old) {
        (Value::Object(new), Value::Object(old)) if new.len() == old.len() => {
            new.iter().all(|(key, value)| match (schema.child(node, key), old.get(key)) {
                (Some(child), Some(before)) => is_same(schema, child, value, before),
                (None, Some(before)) => value == before,
                (_, None) => false,
            })
        }
        (Value::Array(new), Value::Array(old)) if new.len() == old.len() => {
            let (ListType::Map(keys), Some(child)) = (&node.list_type, node.items) else { return false };
            new.iter().all(|item| {
                old.iter().find(|o| same_key(keys, o, item)).is_some_and(|o| is_same(schema, child, item, o))
            })
        }
        _ => false,
    }
}
