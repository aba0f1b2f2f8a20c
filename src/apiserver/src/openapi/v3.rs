//! OpenAPI v3 of one group and version: the schemas, and which paths take which parameters and patches.

use serde_json::{Map, Value, json};

use crate::access::review;
use crate::kind::{Kind, Snapshot, components};

/// The document at `/openapi/v3/<path>`.
pub(super) fn document(snapshot: &Snapshot, path: &str, group: &str, version: &str) -> Value {
    let kinds = snapshot.kinds().filter(|kind| kind.group == group && kind.version == version);
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for kind in kinds {
        let collection = match kind.namespaced {
            true => format!("/{path}/namespaces/{{namespace}}/{}", kind.plural),
            false => format!("/{path}/{}", kind.plural),
        };
        let reference = json!({"$ref": format!("#/components/schemas/{}", kind.published.0)});
        paths.insert(collection.clone(), collection_paths(kind, &reference));
        let object = format!("{collection}/{{name}}");
        paths.insert(object.clone(), object_paths(kind, &reference, true));
        if kind.status {
            paths.insert(format!("{object}/status"), object_paths(kind, &reference, false));
        }
        let mut schema: Value = serde_json::from_str(&kind.published.1).unwrap_or_default();
        schema["x-kubernetes-group-version-kind"] =
            json!([{"group": kind.group, "version": kind.version, "kind": kind.kind}]);
        refer(&schema, &mut schemas);
        schemas.insert(kind.published.0.clone(), schema);
    }
    for review in review::of(group, version) {
        let own = json!({"group": group, "version": version, "kind": review.kind});
        let reference = json!({"$ref": format!("#/components/schemas/{}", review.schema)});
        let post = json!({
            "operationId": format!("create{}", review.kind), "parameters": write_parameters(false),
            "requestBody": body(&["*/*"], &reference),
            "responses": {"201": {"description": "Created", "content": {"application/json": {"schema": reference}}}},
            "x-kubernetes-action": "post", "x-kubernetes-group-version-kind": own,
        });
        paths.insert(format!("/{path}/{}", review.plural), json!({"post": post}));
        let mut schema = components()[review.schema].clone();
        schema["x-kubernetes-group-version-kind"] = json!([own]);
        refer(&schema, &mut schemas);
        schemas.insert(review.schema.to_owned(), schema);
    }
    json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": crate::discovery::version()["gitVersion"]},
        "paths": paths, "components": {"schemas": schemas},
    })
}

/// Adds the components that `schema` refers to, and those that they refer to.
fn refer(schema: &Value, into: &mut Map<String, Value>) {
    match schema {
        Value::Object(map) => {
            let name = map.get("$ref").and_then(Value::as_str).and_then(|reference| reference.rsplit('/').next());
            if let Some(name) = name.filter(|name| !into.contains_key(*name))
                && let Some(found) = components().get(name)
            {
                into.insert(name.to_owned(), found.clone());
                refer(found, into);
            }
            map.values().for_each(|value| refer(value, into));
        }
        Value::Array(items) => items.iter().for_each(|item| refer(item, into)),
        _ => {}
    }
}

fn query(name: &str, kind: &str) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
}

fn operation(kind: &Kind, action: &str, reference: &Value, parameters: &[Value]) -> Value {
    json!({
        "operationId": format!("{action}{}{}", if kind.namespaced { "Namespaced" } else { "" }, kind.kind),
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
    })
}

fn write_parameters(force: bool) -> Vec<Value> {
    let mut parameters =
        vec![query("dryRun", "string"), query("fieldManager", "string"), query("fieldValidation", "string")];
    parameters.extend(force.then(|| query("force", "boolean")));
    parameters
}

fn collection_paths(kind: &Kind, reference: &Value) -> Value {
    let lists = [
        ("allowWatchBookmarks", "boolean"),
        ("continue", "string"),
        ("fieldSelector", "string"),
        ("labelSelector", "string"),
        ("limit", "integer"),
        ("resourceVersion", "string"),
        ("resourceVersionMatch", "string"),
        ("sendInitialEvents", "boolean"),
        ("timeoutSeconds", "integer"),
        ("watch", "boolean"),
    ];
    let lists: Vec<Value> = lists.into_iter().map(|(name, kind)| query(name, kind)).collect();
    let deletes = ["dryRun", "fieldSelector", "labelSelector", "propagationPolicy"].map(|name| query(name, "string"));
    let mut post = operation(kind, "post", reference, &write_parameters(false));
    post["requestBody"] = body(&["*/*"], reference);
    json!({
        "get": operation(kind, "list", reference, &lists), "post": post,
        "delete": operation(kind, "deletecollection", &json!({"type": "object"}), &deletes),
        "parameters": path_parameters(kind, false),
    })
}

fn object_paths(kind: &Kind, reference: &Value, whole: bool) -> Value {
    let mut put = operation(kind, "put", reference, &write_parameters(false));
    put["requestBody"] = body(&["*/*"], reference);
    let mut patch = operation(kind, "patch", reference, &write_parameters(true));
    let mut medias =
        vec!["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
    if !kind.is_custom() {
        medias.push("application/strategic-merge-patch+json");
    }
    patch["requestBody"] = body(&medias, &json!({"type": "object"}));
    let mut paths = json!({
        "get": operation(kind, "get", reference, &[]), "put": put, "patch": patch,
        "parameters": path_parameters(kind, true),
    });
    if whole {
        let options = [query("dryRun", "string"), query("propagationPolicy", "string")];
        paths["delete"] = operation(kind, "delete", &json!({"type": "object"}), &options);
    }
    paths
}

fn body(medias: &[&str], schema: &Value) -> Value {
    let content: Map<String, Value> =
        medias.iter().map(|media| ((*media).to_owned(), json!({"schema": schema}))).collect();
    json!({"content": content, "required": true})
}

fn path_parameters(kind: &Kind, name: bool) -> Value {
    let path = |name: &str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}});
    let mut parameters: Vec<Value> = Vec::new();
    parameters.extend(name.then(|| path("name")));
    parameters.extend(kind.namespaced.then(|| path("namespace")));
    parameters.into()
}
