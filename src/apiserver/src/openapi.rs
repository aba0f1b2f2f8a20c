//! OpenAPI v3: one document a group and version, with what clients look at: the schemas, and which paths take which
//! parameters and patches.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::kind::{Kind, Snapshot, components};

/// Every document of a snapshot by its path, with a hash of it. Made when first asked for.
#[derive(Debug, Default)]
pub(crate) struct Documents(OnceLock<BTreeMap<String, (String, Bytes)>>);

fn documents(snapshot: &Snapshot) -> &BTreeMap<String, (String, Bytes)> {
    snapshot.documents.0.get_or_init(|| {
        let mut documents = BTreeMap::new();
        for group in snapshot.groups() {
            for version in group.versions {
                let path = match group.name {
                    "" => format!("api/{version}"),
                    name => format!("apis/{name}/{version}"),
                };
                let text = document_of(snapshot, &path, group.name, version).to_string();
                documents.insert(path, (hash(&text), text.into()));
            }
        }
        documents
    })
}

/// `/openapi/v3`
pub(crate) fn index(snapshot: &Snapshot) -> Value {
    let paths = documents(snapshot).iter().map(|(path, (hash, _))| {
        (path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}))
    });
    json!({"paths": paths.collect::<Map<_, _>>()})
}

/// Changes when the document does. Only a client of this server compares it, with what this server said before.
fn hash(document: &str) -> String {
    let mut hasher = DefaultHasher::new();
    document.hash(&mut hasher);
    format!("{:016X}", hasher.finish())
}

/// `/openapi/v3/<path>`
pub(crate) fn document(snapshot: &Snapshot, path: &str) -> Result<Bytes, Failure> {
    documents(snapshot).get(path).map(|(_, text)| text.clone()).ok_or_else(Failure::no_such_path)
}

fn document_of(snapshot: &Snapshot, path: &str, group: &str, version: &str) -> Value {
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
        let mut schema = (*kind.published.1).clone();
        schema["x-kubernetes-group-version-kind"] =
            json!([{"group": kind.group, "version": kind.version, "kind": kind.kind}]);
        refer(&schema, &mut schemas);
        schemas.insert(kind.published.0.clone(), schema);
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
    let mut post = operation(kind, "post", reference, &write_parameters(false));
    post["requestBody"] = body(&["*/*"], reference);
    json!({
        "get": operation(kind, "list", reference, &lists), "post": post,
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
