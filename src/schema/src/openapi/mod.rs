//! What a server publishes about its kinds: the OpenAPI v3 document of one group and version.
//!
//! kubectl reads two things from it: the schemas, found by `x-kubernetes-group-version-kind` (`explain`, client-side
//! apply), and the operations (`fieldValidation` as a query parameter of PATCH and POST says that the server validates;
//! the media types of PATCH say how to patch).

mod component;
mod paths;

use serde_json::{Map, Value, json};

pub use component::{component_name, crd_component};

/// One served kind, as its document needs it.
#[derive(Debug, Clone, Copy)]
pub struct PublishedKind<'a> {
    pub kind: &'a str,
    pub list_kind: &'a str,
    pub plural: &'a str,
    pub namespaced: bool,
    /// The name of its schema among the components.
    pub component: &'a str,
    /// Subresources with the component of what they take and give, e.g. `("status", "dev.nubium.v1alpha1.Server")`.
    pub subresources: &'a [(&'a str, &'a str)],
    /// Whether strategic merge patches are taken (built-in kinds).
    pub strategic: bool,
}

/// The document for `/openapi/v3/apis/<group>/<version>` (`api/v1` for the core group). `components` holds every schema
/// that a kind's component refers to; what is not needed is left out.
pub fn document(group: &str, version: &str, kinds: &[PublishedKind<'_>], components: &Map<String, Value>) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for kind in kinds {
        paths.extend(paths::of_kind(group, version, kind));
        schemas.insert(list_name(kind), list_schema(group, version, kind));
        for name in std::iter::once(kind.component).chain(kind.subresources.iter().map(|s| s.1)) {
            take(name, components, &mut schemas);
        }
    }
    for name in [paths::LIST_META, paths::DELETE_OPTIONS, paths::STATUS, paths::PATCH] {
        schemas.insert(name.to_owned(), components.get(name).cloned().unwrap_or_else(|| json!({"type": "object"})));
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.35"},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

/// Copies a component and everything it refers to.
fn take(name: &str, components: &Map<String, Value>, schemas: &mut Map<String, Value>) {
    if schemas.contains_key(name) {
        return;
    }
    let Some(schema) = components.get(name) else { return };
    schemas.insert(name.to_owned(), schema.clone());
    references(schema, &mut |name| take(name, components, schemas));
}

fn references(schema: &Value, visit: &mut dyn FnMut(&str)) {
    match schema {
        Value::Object(map) => {
            if let Some(name) = map.get("$ref").and_then(Value::as_str).and_then(|r| r.rsplit('/').next()) {
                visit(name);
            }
            map.values().for_each(|v| references(v, visit));
        }
        Value::Array(items) => items.iter().for_each(|v| references(v, visit)),
        _ => {}
    }
}

fn list_name(kind: &PublishedKind<'_>) -> String {
    match kind.component.rsplit_once('.') {
        Some((path, _)) => format!("{path}.{}", kind.list_kind),
        None => kind.list_kind.to_owned(),
    }
}

fn list_schema(group: &str, version: &str, kind: &PublishedKind<'_>) -> Value {
    json!({
        "type": "object",
        "description": format!("{} is a list of {}", kind.list_kind, kind.kind),
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"allOf": [{"$ref": paths::reference(paths::LIST_META)}], "default": {}},
            "items": {"type": "array", "items": {"$ref": paths::reference(kind.component)}},
        },
        "x-kubernetes-group-version-kind": [{"group": group, "version": version, "kind": kind.list_kind}],
    })
}

#[cfg(test)]
mod tests;
