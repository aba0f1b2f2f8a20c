//! Resources inside resources (`x-kubernetes-embedded-resource`): they need a type and good metadata too.

use serde_json::{Map, Value};

use crate::error::FieldError;
use crate::names;
use crate::path::FieldPath;
use crate::structural::{NodeId, Structural};

pub(crate) fn validate(schema: &Structural, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(schema, schema.root, object, &mut FieldPath::default(), &mut errors);
    errors
}

fn walk(schema: &Structural, id: NodeId, value: &Value, path: &mut FieldPath, errors: &mut Vec<FieldError>) {
    let node = schema.node(id);
    if !node.lists_below {
        return;
    }
    match value {
        Value::Object(map) => {
            if node.embedded {
                resource(map, path, errors);
            }
            for (key, value) in map {
                let Some(child) = schema.child(node, key) else { continue };
                let mark = if node.properties.contains_key(key) { path.field(key) } else { path.key(key) };
                walk(schema, child, value, path, errors);
                path.reset(mark);
            }
        }
        Value::Array(items) => {
            let Some(child) = node.items else { return };
            for (i, item) in items.iter().enumerate() {
                let mark = path.index(i);
                walk(schema, child, item, path, errors);
                path.reset(mark);
            }
        }
        _ => {}
    }
}

fn resource(map: &Map<String, Value>, path: &mut FieldPath, errors: &mut Vec<FieldError>) {
    for name in ["apiVersion", "kind"] {
        match map.get(name) {
            None => errors.push(FieldError::required(path.child(name), "")),
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(FieldError::invalid(path.child(name), "", "must not be empty"));
            }
            Some(Value::String(text)) if name == "kind" => {
                let found = names::dns1035_label(&text.to_lowercase());
                if !found.is_empty() {
                    let detail = format!("may have mixed case, but should otherwise match: {}", found.join(","));
                    errors.push(FieldError::invalid(path.child(name), text.as_str(), detail));
                }
            }
            Some(Value::String(text)) => {
                if text.matches('/').count() > 1 {
                    let detail = format!("unexpected GroupVersion string: {text}");
                    errors.push(FieldError::invalid(path.child(name), text.as_str(), detail));
                }
            }
            Some(other) => errors.push(FieldError::invalid(path.child(name), other.clone(), "must be a string")),
        }
    }
    if let Some(metadata) = map.get("metadata").filter(|m| m.is_object()) {
        let at = path.child("metadata");
        errors.extend(names::validate_embedded_meta(metadata, &at));
    }
}

#[cfg(test)]
mod tests {
    use crate::structural::testing::crd;
    use serde_json::json;

    #[test]
    fn an_embedded_resource_needs_its_type_and_good_labels() {
        let schema = crd(json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}
        }}}}));
        let bad = json!({"spec": {"template": {"apiVersion": "a/b/c", "metadata": {"labels": {"-": "x"}}}}});
        let texts: Vec<String> = super::validate(&schema, &bad).iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert_eq!(
            texts[0],
            r#"spec.template.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c"#
        );
        assert_eq!(texts[1], "spec.template.kind: Required value");
        assert!(
            texts[2].starts_with(r#"spec.template.metadata.labels: Invalid value: "-": name part must consist of"#),
            "{texts:?}"
        );
        assert!(
            super::validate(&schema, &json!({"spec": {"template": {"apiVersion": "v1", "kind": "Pod"}}})).is_empty()
        );
    }
}
