//! The components of the built-in kinds, out of the published OpenAPI v3.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use crate::Result;

/// All components below `roots`, out of the documents in `folder`.
pub fn reduce(folder: &Path, roots: &[String]) -> Result<Value> {
    let mut all = Map::new();
    for entry in fs::read_dir(folder)? {
        let document: Value = serde_json::from_str(&fs::read_to_string(entry?.path())?)?;
        if let Some(schemas) = document["components"]["schemas"].as_object() {
            all.extend(schemas.clone());
        }
    }
    let mut reduced = Map::new();
    let mut open = roots.to_vec();
    while let Some(name) = open.pop() {
        if reduced.contains_key(&name) {
            continue;
        }
        let schema = all.get(&name).ok_or_else(|| format!("no component {name}"))?;
        references(schema, &mut open);
        let mut schema = schema.clone();
        // Which kinds a component is: a list of hundreds in the shared ones, and known from kinds.json otherwise.
        if let Some(schema) = schema.as_object_mut() {
            schema.remove("x-kubernetes-group-version-kind");
        }
        drop_item_defaults(&mut schema);
        reduced.insert(name, schema);
    }
    Ok(Value::Object(reduced))
}

/// Go's generator gives every struct the default `{}`. In a field that is what Go writes; in a list's items it is nothing.
fn drop_item_defaults(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            for keyword in ["items", "additionalProperties"] {
                if let Some(Value::Object(below)) = map.get_mut(keyword) {
                    below.remove("default");
                }
            }
            map.values_mut().for_each(drop_item_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_item_defaults),
        _ => {}
    }
}

fn references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(name) = map.get("$ref").and_then(Value::as_str).and_then(|r| r.rsplit('/').next()) {
                found.push(name.to_owned());
            }
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}
