use super::{PublishedKind, component_name, crd_component, document};
use crate::structural::testing::components;
use serde_json::{Value, json};

fn published() -> Value {
    let schema = json!({"type": "object", "description": "A server.", "properties": {
        "spec": {"type": "object", "x-kubernetes-validations": [{"rule": "true"}], "properties": {
            "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}}}}});
    let name = component_name("nubium.dev", "v1alpha1", "Server");
    assert_eq!(name, "dev.nubium.v1alpha1.Server");
    let mut components = components();
    components.insert("Unrelated".to_owned(), json!({"type": "object"}));
    components.insert(name.clone(), crd_component(&schema, "nubium.dev", "v1alpha1", "Server", &components));
    let kind = PublishedKind {
        kind: "Server",
        list_kind: "ServerList",
        plural: "servers",
        namespaced: true,
        component: &name,
        subresources: &[("status", &name)],
        strategic: false,
    };
    document("nubium.dev", "v1alpha1", &[kind], &components)
}

#[test]
fn explain_finds_the_schema_by_path_and_kind() {
    let document = published();
    let path = &document["paths"]["/apis/nubium.dev/v1alpha1/namespaces/{namespace}/servers"];
    let gvk = json!({"group": "nubium.dev", "version": "v1alpha1", "kind": "Server"});
    assert_eq!(path["get"]["x-kubernetes-group-version-kind"], gvk);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let server = &schemas["dev.nubium.v1alpha1.Server"];
    assert_eq!(server["x-kubernetes-group-version-kind"], json!([gvk]));
    assert_eq!(server["description"], "A server.");
    assert_eq!(server["properties"]["spec"]["x-kubernetes-validations"][0]["rule"], "true");
    assert_eq!(server["properties"]["spec"]["properties"]["template"]["required"], json!(["kind", "apiVersion"]));
}

#[test]
fn every_reference_leads_somewhere_and_nothing_else_is_published() {
    let document = published();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut found = Vec::new();
    super::references(&document, &mut |name| found.push(name.to_owned()));
    for name in &found {
        assert!(schemas.contains_key(name), "{name}");
    }
    assert!(schemas.contains_key("FieldsV1"), "what ObjectMeta refers to comes along");
    assert!(!schemas.contains_key("Unrelated"));
}

#[test]
fn apply_learns_that_fields_are_validated_and_how_to_patch() {
    let document = published();
    let object = &document["paths"]["/apis/nubium.dev/v1alpha1/namespaces/{namespace}/servers/{name}"];
    for verb in ["patch", "put"] {
        let parameters = object[verb]["parameters"].as_array().unwrap();
        assert!(parameters.iter().any(|p| p["name"] == "fieldValidation" && p["in"] == "query"), "{verb}");
    }
    let types: Vec<&String> = object["patch"]["requestBody"]["content"].as_object().unwrap().keys().collect();
    assert_eq!(types, ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"]);
    let status = &document["paths"]["/apis/nubium.dev/v1alpha1/namespaces/{namespace}/servers/{name}/status"];
    assert!(status["patch"].is_object() && status["post"].is_null() && status["delete"].is_null());
}

#[test]
fn operation_ids_are_unique() {
    let document = published();
    let mut ids: Vec<&str> = Vec::new();
    for item in document["paths"].as_object().unwrap().values() {
        ids.extend(item.as_object().unwrap().values().filter_map(|o| o["operationId"].as_str()));
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), all), (all, 10));
}
