//! The operations on a kind: collection, object, subresources; with their parameters, bodies and answers.

use serde_json::{Map, Value, json};

use super::{PublishedKind, list_name};

pub(super) const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
pub(super) const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
pub(super) const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

const READ_TYPES: [&str; 2] = ["application/json", "application/yaml"];

pub(super) fn reference(component: &str) -> String {
    format!("#/components/schemas/{component}")
}

/// Every path of a kind with its operations.
pub(super) fn of_kind(group: &str, version: &str, kind: &PublishedKind<'_>) -> Map<String, Value> {
    let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    let scope = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{root}{scope}/{}", kind.plural);
    let object = format!("{collection}/{{name}}");
    let make = Operations { group, version, kind };
    let mut paths = Map::new();
    let mut insert = |path: String, operations: Vec<(&str, Value)>| {
        let mut item: Map<String, Value> = operations.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        let mut shared = Vec::new();
        for (token, text) in [
            ("namespace", "object name and auth scope, such as for teams and projects"),
            ("name", "name of the object"),
        ] {
            if path.contains(&format!("{{{token}}}")) {
                shared.push(json!({"name": token, "in": "path", "required": true, "description": text, "schema": {"type": "string", "uniqueItems": true}}));
            }
        }
        shared.push(query("pretty", "string"));
        item.insert("parameters".to_owned(), Value::Array(shared));
        paths.insert(path, Value::Object(item));
    };
    if kind.namespaced {
        insert(format!("{root}/{}", kind.plural), vec![("get", make.read("list", "ForAllNamespaces"))]);
    }
    insert(
        collection,
        vec![("get", make.read("list", "")), ("post", make.write("post", "create", kind.component, ""))],
    );
    insert(
        object.clone(),
        vec![
            ("get", make.read("get", "")),
            ("put", make.write("put", "replace", kind.component, "")),
            ("patch", make.patch(kind.component, "")),
            ("delete", make.delete()),
        ],
    );
    for (subresource, component) in kind.subresources {
        let suffix = capitalized(subresource);
        let read = make.operation("get", "read", &suffix, component, &[("resourceVersion", "string")], &[200]);
        insert(
            format!("{object}/{subresource}"),
            vec![
                ("get", read),
                ("put", make.write("put", "replace", component, &suffix)),
                ("patch", make.patch(component, &suffix)),
            ],
        );
    }
    paths
}

struct Operations<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a PublishedKind<'a>,
}

const LIST_OPTIONS: [(&str, &str); 10] = [
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
const WRITE_OPTIONS: [(&str, &str); 3] =
    [("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const PATCH_OPTIONS: [(&str, &str); 4] =
    [("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")];
const DELETE_PARAMETERS: [(&str, &str); 4] = [
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];

impl Operations<'_> {
    fn read(&self, action: &str, suffix: &str) -> Value {
        match action {
            "list" => self.operation("list", "list", suffix, &list_name(self.kind), &LIST_OPTIONS, &[200]),
            _ => self.operation("get", "read", suffix, self.kind.component, &[("resourceVersion", "string")], &[200]),
        }
    }

    fn write(&self, action: &str, verb: &str, component: &str, suffix: &str) -> Value {
        let codes: &[u16] = if action == "post" { &[200, 201, 202] } else { &[200, 201] };
        let mut operation = self.operation(action, verb, suffix, component, &WRITE_OPTIONS, codes);
        operation["requestBody"] = body(&READ_TYPES, component, true);
        operation
    }

    fn patch(&self, component: &str, suffix: &str) -> Value {
        let mut types =
            vec!["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
        if self.kind.strategic {
            types.push("application/strategic-merge-patch+json");
        }
        let mut operation = self.operation("patch", "patch", suffix, component, &PATCH_OPTIONS, &[200, 201]);
        operation["requestBody"] = body(&types, PATCH, true);
        operation
    }

    fn delete(&self) -> Value {
        let mut operation = self.operation("delete", "delete", "", STATUS, &DELETE_PARAMETERS, &[200, 202]);
        operation["requestBody"] = body(&READ_TYPES, DELETE_OPTIONS, false);
        operation
    }

    fn operation(
        &self,
        action: &str,
        verb: &str,
        suffix: &str,
        answer: &str,
        parameters: &[(&str, &str)],
        codes: &[u16],
    ) -> Value {
        let Self { group, version, kind } = self;
        let scope = if kind.namespaced && suffix != "ForAllNamespaces" { "Namespaced" } else { "" };
        let owner: String =
            if group.is_empty() { "Core".to_owned() } else { group.split('.').map(capitalized).collect() };
        let content: Map<String, Value> =
            READ_TYPES.iter().map(|t| ((*t).to_owned(), json!({"schema": {"$ref": reference(answer)}}))).collect();
        let responses: Map<String, Value> = codes
            .iter()
            .map(|code| {
                let text = match code {
                    201 => "Created",
                    202 => "Accepted",
                    _ => "OK",
                };
                (code.to_string(), json!({"description": text, "content": content}))
            })
            .collect();
        json!({
            "description": format!("{verb} {}", kind.kind),
            "operationId": format!("{verb}{owner}{}{scope}{}{suffix}", capitalized(version), kind.kind),
            "parameters": parameters.iter().map(|(name, kind)| query(name, kind)).collect::<Vec<_>>(),
            "responses": responses,
            "tags": [format!("{}_{version}", if group.is_empty() { "core" } else { group })],
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind.kind},
        })
    }
}

fn query(name: &str, kind: &str) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
}

fn body(types: &[&str], component: &str, required: bool) -> Value {
    let content: Map<String, Value> =
        types.iter().map(|t| ((*t).to_owned(), json!({"schema": {"$ref": reference(component)}}))).collect();
    json!({"content": content, "required": required})
}

fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
