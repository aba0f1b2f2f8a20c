//! Strategic merge patch: a merge patch that knows, from the schema, which lists merge by a key.
//!
//! The directives: `$patch: delete|replace|merge`, `$retainKeys`, `$setElementOrder/<list>`,
//! `$deleteFromPrimitiveList/<list>`. Only built-in kinds take it.

mod list;
mod order;

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::PatchError;
use crate::structural::{Node, NodeId, Structural};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// Applies `patch` to `target` by the merge keys and strategies of `schema`. On an error `target` is unchanged.
pub fn apply_strategic_merge_patch(schema: &Structural, target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let Value::Object(patch) = patch else {
        return Err(PatchError::Malformed("a strategic merge patch has to be an object".to_owned()));
    };
    let original = target.as_object().cloned().unwrap_or_default();
    *target = Value::Object(Merge { schema }.map(original, patch.clone(), Some(schema.root))?);
    Ok(())
}

type Object = Map<String, Value>;

struct Merge<'s> {
    schema: &'s Structural,
}

/// How one field of an object merges.
struct Field<'s> {
    id: Option<NodeId>,
    node: Option<&'s Node>,
}

impl<'s> Field<'s> {
    fn merge_key(&self) -> Option<&'s str> {
        self.node.and_then(|n| n.merge_key.as_deref())
    }

    fn has_strategy(&self, strategy: &str) -> bool {
        self.node.is_some_and(|n| n.patch_strategies.iter().any(|s| s == strategy))
    }

    fn items(&self) -> Option<NodeId> {
        self.node.and_then(|n| n.items)
    }
}

impl<'s> Merge<'s> {
    fn field(&self, parent: Option<NodeId>, name: &str) -> Field<'s> {
        let id = parent.and_then(|parent| self.schema.child(self.schema.node(parent), name));
        Field { id, node: id.map(|id| self.schema.node(id)) }
    }

    fn map(&self, mut original: Object, mut patch: Object, id: Option<NodeId>) -> Result<Object, PatchError> {
        if let Some(directive) = patch.remove(PATCH) {
            return match directive.as_str() {
                Some("replace") => Ok(patch),
                Some("delete") => Ok(Object::new()),
                _ => Err(unknown_directive(&directive, &patch)),
            };
        }
        retain_keys(&mut original, &mut patch)?;
        self.ordered_lists(&mut original, &mut patch, id)?;
        for (key, value) in patch {
            if let Some(name) = key.strip_prefix(DELETE_FROM) {
                self.delete_from(&mut original, name, value)?;
                continue;
            }
            if value.is_null() {
                original.remove(&key);
                continue;
            }
            let field = self.field(id, &key);
            let merged = match (original.remove(&key), value) {
                (Some(Value::Object(before)), Value::Object(patch)) => {
                    if field.has_strategy("replace") {
                        Some(Value::Object(patch))
                    } else {
                        Some(Value::Object(self.map(before, patch, field.id)?))
                    }
                }
                (Some(Value::Array(before)), Value::Array(patch)) => {
                    if field.has_strategy("merge") {
                        Some(Value::Array(self.list(before, patch, &field)?))
                    } else {
                        Some(Value::Array(patch))
                    }
                }
                (_, value) => without_directives(discard_nulls(value)),
            };
            if let Some(merged) = merged {
                original.insert(key, merged);
            }
        }
        Ok(original)
    }

    fn delete_from(&self, original: &mut Object, name: &str, values: Value) -> Result<(), PatchError> {
        let Value::Array(values) = values else { return Err(bad("Invalid patch format of primitive list")) };
        if let Some(Value::Array(items)) = original.get_mut(name) {
            let values: HashSet<&Value> = values.iter().collect();
            items.retain(|item| !values.contains(item));
        }
        Ok(())
    }
}

/// `$retainKeys`: what is not named goes from the original; the patch may only say what is named.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), PatchError> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = keys else { return Err(bad("Invalid patch format of retainKeys")) };
    let named: HashSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    let is_named = |key: &String| named.contains(key.as_str());
    if patch.iter().any(|(key, value)| !key.starts_with('$') && !value.is_null() && !is_named(key)) {
        return Err(bad("Invalid patch format of retainKeys"));
    }
    original.retain(|key, _| is_named(key));
    Ok(())
}

/// An object or list element that is a directive is no content; neither is one further down.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(PATCH) => None,
        Value::Object(map) => {
            Some(Value::Object(map.into_iter().filter_map(|(k, v)| Some((k, without_directives(v)?))).collect()))
        }
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(without_directives).collect())),
        other => Some(other),
    }
}

/// A null in what is new means "not there".
fn discard_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, discard_nulls(v))).collect()
        }
        Value::Array(items) => items.into_iter().map(discard_nulls).collect(),
        other => other,
    }
}

fn unknown_directive(directive: &Value, patch: &Object) -> PatchError {
    PatchError::Unprocessable(format!("unknown patch type: {directive} in map: {}", Value::Object(patch.clone())))
}

fn no_merge_key(item: &Value, key: &str) -> PatchError {
    PatchError::Unprocessable(format!("map: {item} does not contain declared merge key: {key}"))
}

fn bad(text: &str) -> PatchError {
    PatchError::Malformed(text.to_owned())
}

#[cfg(test)]
mod tests;
