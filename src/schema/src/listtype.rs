//! Lists of type `set` and `map`: no two items are the same, or have the same keys.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::error::FieldError;
use crate::go;
use crate::path::FieldPath;
use crate::structural::{ListType, Node, NodeId, Structural};

/// One error for the second of equal items; a third is not named again, as in Kubernetes. Nor are those in the object's
/// own metadata, where a finalizer may be repeated.
pub(crate) fn validate(schema: &Structural, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let own = object.as_object().into_iter().flatten().filter(|(name, _)| *name != "metadata");
    walk_fields(schema, schema.node(schema.root), own, &mut FieldPath::default(), &mut errors);
    errors
}

fn walk_fields<'v>(
    schema: &Structural,
    node: &Node,
    fields: impl Iterator<Item = (&'v String, &'v Value)>,
    path: &mut FieldPath,
    errors: &mut Vec<FieldError>,
) {
    for (key, value) in fields {
        let Some(child) = schema.child(node, key) else { continue };
        let mark = if node.properties.contains_key(key) { path.field(key) } else { path.key(key) };
        walk(schema, child, value, path, errors);
        path.reset(mark);
    }
}

fn walk(schema: &Structural, id: NodeId, value: &Value, path: &mut FieldPath, errors: &mut Vec<FieldError>) {
    let node = schema.node(id);
    if !node.lists_below {
        return;
    }
    match value {
        Value::Object(fields) => walk_fields(schema, node, fields.iter(), path, errors),
        Value::Array(items) => {
            match &node.list_type {
                ListType::Atomic => {}
                ListType::Set => {
                    for i in repeated(items.iter()) {
                        errors.push(FieldError::duplicate(format!("{}[{i}]", path.as_str()), items[i].clone()));
                    }
                }
                ListType::Map(keys) => unique_keys(keys, items, path, errors),
            }
            if let Some(child) = node.items {
                for (i, item) in items.iter().enumerate() {
                    let mark = path.index(i);
                    walk(schema, child, item, path, errors);
                    path.reset(mark);
                }
            }
        }
        _ => {}
    }
}

fn unique_keys(keys: &[String], items: &[Value], path: &FieldPath, errors: &mut Vec<FieldError>) {
    if let Some(i) = items.iter().position(|item| !item.is_object() && !item.is_null()) {
        let detail = "must be an object for an array of list-type map";
        errors.push(FieldError::invalid(format!("{}[{i}]", path.as_str()), items[i].clone(), detail));
        return;
    }
    let of = |item: &Value| -> Value {
        let present = keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
        Value::Object(present.collect::<Map<_, _>>())
    };
    let found: Vec<Value> = items.iter().map(of).collect();
    for i in repeated(found.iter()) {
        errors.push(FieldError::duplicate(format!("{}[{i}]", path.as_str()), found[i].clone()));
    }
}

/// Indices of items that were there once before.
fn repeated<'v>(items: impl ExactSizeIterator<Item = &'v Value>) -> Vec<usize> {
    if items.len() < 2 {
        return Vec::new();
    }
    let mut seen: HashMap<String, u32> = HashMap::new();
    let mut repeated = Vec::new();
    for (i, item) in items.enumerate() {
        let times = seen.entry(go::to_json(item)).or_default();
        *times += 1;
        if *times == 2 {
            repeated.push(i);
        }
    }
    repeated
}

#[cfg(test)]
mod tests {
    use crate::structural::testing::crd;
    use serde_json::json;

    #[test]
    fn equal_keys_and_equal_set_items_are_refused_with_the_place_of_the_second() {
        let schema = crd(json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "disks": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "n": {"type": "integer"}}}},
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "proto"],
                "items": {"type": "object", "required": ["port", "proto"], "properties": {"port": {"type": "integer"}, "proto": {"type": "string"}}}}
        }}}}));
        let object = json!({"spec": {
            "disks": [{"name": "a"}, {"name": "b"}, {"name": "a", "n": 1}, {"name": "a"}],
            "tags": ["x", "y", "x"],
            "ports": [{"port": 80, "proto": "tcp"}, {"port": 80, "proto": "udp"}, {"port": 80, "proto": "tcp"}]
        }});
        let texts: Vec<String> = super::validate(&schema, &object).iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                r#"spec.disks[2]: Duplicate value: {"name":"a"}"#,
                r#"spec.ports[2]: Duplicate value: {"port":80,"proto":"tcp"}"#,
                r#"spec.tags[2]: Duplicate value: "x""#,
            ]
        );
    }
}
