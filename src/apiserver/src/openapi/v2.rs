//! OpenAPI v2, from the documents of v3. Older kubectl validates by it, and every kubectl reads it for `kind: List`.
//!
//! v2 is poorer: no alternatives (`anyOf`, `oneOf`, `not`), no `nullable`. Where a schema uses them, less is said, so that
//! a client that validates by v2 never refuses what the server takes.

use serde_json::{Map, Value, json};

use super::{paths, v3};
use crate::kind::Snapshot;

/// The document at `/openapi/v2`.
pub(super) fn document(snapshot: &Snapshot) -> Value {
    let (mut all_paths, mut definitions) = (Map::new(), Map::new());
    for (path, group, version) in paths(snapshot) {
        let mut document = v3::document(snapshot, &path, &group, &version);
        if let Value::Object(items) = document["paths"].take() {
            all_paths.extend(items.into_iter().map(|(path, item)| (path, path_item(item))));
        }
        if let Value::Object(schemas) = document["components"]["schemas"].take() {
            definitions.extend(schemas.into_iter().map(|(name, definition)| (name, schema(definition))));
        }
    }
    json!({
        "swagger": "2.0", "info": {"title": "Kubernetes", "version": crate::discovery::version()["gitVersion"]},
        "paths": all_paths, "definitions": definitions,
    })
}

fn path_item(item: Value) -> Value {
    let Value::Object(item) = item else { return item };
    let converted = item.into_iter().map(|(key, value)| match key.as_str() {
        "parameters" => (key, parameters(value)),
        _ => (key, operation(value)),
    });
    Value::Object(converted.collect())
}

fn operation(mut operation: Value) -> Value {
    let mut taken = parameters(operation["parameters"].take());
    if let Value::Object(content) = operation["requestBody"]["content"].take() {
        operation["consumes"] = content.keys().cloned().collect();
        let body = content.into_iter().next().map(|(_, media)| schema(media["schema"].clone()));
        if let Value::Array(taken) = &mut taken {
            taken.push(json!({"name": "body", "in": "body", "required": true, "schema": body}));
        }
    }
    operation["parameters"] = taken;
    operation["produces"] = json!(["application/json", "application/yaml"]);
    for response in operation["responses"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        let content = response["content"].take();
        response["schema"] = schema(content["application/json"]["schema"].clone());
        response.as_object_mut().map(|response| response.remove("content"));
    }
    operation.as_object_mut().map(|operation| operation.remove("requestBody"));
    operation
}

/// Parameters whose schema stands beside their name.
fn parameters(parameters: Value) -> Value {
    let Value::Array(parameters) = parameters else { return json!([]) };
    let converted = parameters.into_iter().map(|mut parameter| {
        if let (Value::Object(schema), Some(parameter)) = (parameter["schema"].take(), parameter.as_object_mut()) {
            parameter.remove("schema");
            parameter.extend(schema);
        }
        parameter
    });
    converted.collect()
}

fn schema(schema: Value) -> Value {
    let Value::Object(mut map) = schema else { return schema };
    // A reference that is one of several things in v3 stands alone in v2.
    if let Some(Value::Array(all)) = map.remove("allOf")
        && let [Value::Object(only)] = all.as_slice()
    {
        map.extend(only.clone());
    }
    if let Some(Value::String(reference)) = map.get_mut("$ref") {
        *reference = reference.replace("#/components/schemas/", "#/definitions/");
        map.remove("default");
    }
    let is = |map: &Map<String, Value>, key: &str| map.get(key) == Some(&Value::Bool(true));
    let nullable = is(&map, "nullable");
    if nullable || is(&map, "x-kubernetes-int-or-string") {
        map.remove("type");
    }
    if nullable || is(&map, "x-kubernetes-preserve-unknown-fields") {
        map.retain(|key, _| !matches!(key.as_str(), "items" | "properties" | "additionalProperties" | "required"));
    }
    map.retain(|key, _| !matches!(key.as_str(), "anyOf" | "oneOf" | "not" | "nullable"));
    for key in ["items", "additionalProperties"] {
        if let Some(below) = map.get_mut(key) {
            *below = self::schema(below.take());
        }
    }
    for below in map.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        *below = self::schema(below.take());
    }
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_v2_cannot_say_is_left_out() {
        let converted = schema(json!({
            "type": "object", "properties": {
                "size": {"x-kubernetes-int-or-string": true, "type": "string", "anyOf": [{"type": "integer"}]},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {}}},
                "metadata": {"description": "d", "default": {}, "allOf": [{"$ref": "#/components/schemas/M"}]},
                "list": {"type": "array", "items": {"type": "string", "nullable": true}},
            },
        }));
        assert_eq!(
            converted,
            json!({"type": "object", "properties": {
                "size": {"x-kubernetes-int-or-string": true},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "metadata": {"description": "d", "$ref": "#/definitions/M"},
                "list": {"type": "array", "items": {}},
            }})
        );
    }
}
