//! A CRD version's schema as a published component.

use serde_json::{Map, Value, json};

use super::paths::reference;
use crate::structural::OBJECT_META;

/// `dev.nubium.v1alpha1.Server` for `nubium.dev`.
pub fn component_name(group: &str, version: &str, kind: &str) -> String {
    let mut parts: Vec<&str> = group.split('.').rev().collect();
    parts.extend([version, kind]);
    parts.join(".")
}

/// The published form of an `openAPIV3Schema`: with `apiVersion`, `kind` and `metadata`, in embedded resources too, and
/// marked with its group, version and kind. `components` gives the descriptions that all kinds share.
pub fn crd_component(schema: &Value, group: &str, version: &str, kind: &str, components: &Map<String, Value>) -> Value {
    let mut schema = schema.as_object().cloned().unwrap_or_default();
    schema.entry("type").or_insert_with(|| "object".into());
    add_to_embedded(&mut schema, components);
    add_type_and_metadata(&mut schema, components);
    schema.insert(
        "x-kubernetes-group-version-kind".to_owned(),
        json!([{"group": group, "version": version, "kind": kind}]),
    );
    Value::Object(schema)
}

fn add_type_and_metadata(schema: &mut Map<String, Value>, components: &Map<String, Value>) {
    let properties = schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    let Some(properties) = properties.as_object_mut() else { return };
    for name in ["apiVersion", "kind"] {
        let known = components.values().find(|c| c.get("x-kubernetes-group-version-kind").is_some());
        let known = known.and_then(|c| c.get("properties")).and_then(|p| p.get(name)).cloned();
        properties.insert(name.to_owned(), known.unwrap_or_else(|| json!({"type": "string"})));
    }
    let metadata = json!({"allOf": [{"$ref": reference(OBJECT_META)}], "description": "Standard object's metadata."});
    properties.insert("metadata".to_owned(), metadata);
}

fn add_to_embedded(schema: &mut Map<String, Value>, components: &Map<String, Value>) {
    for key in ["items", "additionalProperties"] {
        if let Some(child) = schema.get_mut(key).and_then(Value::as_object_mut) {
            add_below(child, components);
        }
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for child in properties.values_mut().filter_map(Value::as_object_mut) {
            add_below(child, components);
        }
    }
}

fn add_below(schema: &mut Map<String, Value>, components: &Map<String, Value>) {
    add_to_embedded(schema, components);
    if schema.get("x-kubernetes-embedded-resource") != Some(&Value::Bool(true)) {
        return;
    }
    add_type_and_metadata(schema, components);
    let required = schema.entry("required").or_insert_with(|| Value::Array(Vec::new()));
    if let Some(required) = required.as_array_mut() {
        for name in ["kind", "apiVersion"] {
            if !required.iter().any(|r| r == name) {
                required.push(name.into());
            }
        }
    }
}
