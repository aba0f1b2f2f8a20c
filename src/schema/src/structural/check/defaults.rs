//! Defaults have to be good values themselves: nothing unknown in them, valid, and accepted by the rules.

use serde_json::Value;

use crate::error::{FieldError, NO_FIELD};
use crate::path::FieldPath;
use crate::structural::{NodeId, Structural};

/// What is wrong with the defaults of a compiled schema; `path` is where it is.
pub(crate) fn check_defaults(schema: &Structural, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(schema, schema.root, &mut FieldPath::new(path), &mut errors);
    errors
}

fn walk(schema: &Structural, id: NodeId, path: &mut FieldPath, errors: &mut Vec<FieldError>) {
    let node = schema.node(id);
    if !node.defaults_below {
        return;
    }
    if let Some(default) = &node.default {
        one(schema, id, default, &path.child("default"), errors);
    }
    // defaults under additionalProperties are never applied to what is missing, and not checked
    if let Some(items) = node.items {
        let mark = path.field("items");
        walk(schema, items, path, errors);
        path.reset(mark);
    }
    for (name, property) in node.properties.iter() {
        let mark = path.field("properties");
        path.key(name);
        walk(schema, property, path, errors);
        path.reset(mark);
    }
}

fn one(schema: &Structural, id: NodeId, default: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let mut pruned = default.clone();
    if !schema.prune_at(id, &mut pruned).is_empty() {
        errors.push(FieldError::invalid(at, default.clone(), "must not have unknown fields"));
    }
    let mut found = schema.validate_at(id, default);
    if found.is_empty() {
        found = schema.rules_at(id, default, Some(default));
    }
    if found.is_empty() {
        found = schema.rules_at(id, default, None);
    }
    for mut error in found {
        error.field = match error.field.as_str() {
            NO_FIELD => at.to_owned(),
            below if below.starts_with('[') => format!("{at}{below}"),
            below => format!("{at}.{below}"),
        };
        errors.push(error);
    }
}
