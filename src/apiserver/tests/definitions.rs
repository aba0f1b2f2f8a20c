//! Definitions that change under their objects, and definitions that are refused.

mod support;

use serde_json::{Value, json};
use support::Ours;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn definition(plural: &str, versions: Value) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.test.example")},
        "spec": {"group": "test.example", "scope": "Namespaced",
            "names": {"plural": plural, "kind": "Thing"}, "versions": versions}})
}

fn version(name: &str, storage: bool, spec: Value) -> Value {
    json!({"name": name, "served": true, "storage": storage, "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": spec},
            "status": {"type": "object", "properties": {"phase": {"type": "string"}}}}}}})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn managers(object: &Value) -> Vec<&str> {
    let entries = object["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries.iter().filter_map(|entry| entry["manager"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_the_schema_lost_is_gone_and_stands_in_nobodys_way() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let wide =
        json!({"a": text(), "gone": text(), "deep": {"type": "object", "properties": {"x": text(), "gone": text()}}});
    let made = admin.post(DEFINITIONS, &definition("things", json!([version("v1", true, wide)]))).await;
    assert_eq!(made.code, 201, "{}", made.json());
    let things = "/apis/test.example/v1/namespaces/default/things";
    let config = json!({"apiVersion": "test.example/v1", "kind": "Thing", "metadata": {"name": "t"},
        "spec": {"a": "1", "gone": "2", "deep": {"x": "3", "gone": "4"}}});
    let applied = admin.apply(&format!("{things}/t?fieldManager=ana"), &config).await;
    assert_eq!(applied.code, 201, "{}", applied.json());

    let narrow = json!({"a": text(), "deep": {"type": "object", "properties": {"x": text()}}});
    let patch = json!({"spec": {"versions": [version("v1", true, narrow)]}});
    let changed = admin.merge(&format!("{DEFINITIONS}/things.test.example"), &patch).await;
    assert_eq!(changed.code, 200, "{}", changed.json());

    let left = json!({"a": "1", "deep": {"x": "3"}});
    assert_eq!(admin.get(&format!("{things}/t")).await.json()["spec"], left);
    assert_eq!(admin.get(things).await.json()["items"][0]["spec"], left);
    let labelled =
        admin.merge(&format!("{things}/t?fieldManager=ben"), &json!({"metadata": {"labels": {"l": "1"}}})).await;
    assert_eq!(labelled.code, 200, "{}", labelled.json());
    assert_eq!(managers(&labelled.json()), ["ana", "ben"]);
    let status =
        json!({"apiVersion": "test.example/v1", "kind": "Thing", "metadata": {"name": "t"}, "status": {"phase": "on"}});
    let status = admin.apply(&format!("{things}/t/status?fieldManager=cid"), &status).await;
    assert_eq!(status.code, 200, "{}", status.json());
    let config =
        json!({"apiVersion": "test.example/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"a": "5"}});
    let applied = admin.apply(&format!("{things}/t?fieldManager=ana"), &config).await;
    assert_eq!(applied.code, 200, "{}", applied.json());
    assert_eq!(applied.json()["spec"]["a"], "5");
    assert!(!applied.json().to_string().contains("gone"), "{}", applied.json());
    assert_eq!(admin.delete(&format!("{things}/t")).await.code, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_with_different_fields_do_not_leak_into_each_other() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let versions = json!([
        version("v1", false, json!({"a": text(), "one": text()})),
        version("v2", true, json!({"a": text(), "two": {"type": "string", "default": "d"}})),
    ]);
    let made = admin.post(DEFINITIONS, &definition("things", versions)).await;
    assert_eq!(made.code, 201, "{}", made.json());
    let path = |version: &str| format!("/apis/test.example/{version}/namespaces/default/things");
    let object = json!({"apiVersion": "test.example/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"a": "1", "one": "1"}});
    let applied = admin.apply(&format!("{}/t?fieldManager=ana", path("v1")), &object).await;
    assert_eq!(applied.code, 201, "{}", applied.json());
    assert_eq!(admin.get(&format!("{}/t", path("v1"))).await.json()["spec"], json!({"a": "1", "one": "1"}));
    assert_eq!(admin.get(&format!("{}/t", path("v2"))).await.json()["spec"], json!({"a": "1", "two": "d"}));
    assert_eq!(admin.get(&path("v2")).await.json()["items"][0]["spec"], json!({"a": "1", "two": "d"}));
    let object =
        json!({"apiVersion": "test.example/v2", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"two": "2"}});
    let applied = admin.apply(&format!("{}/t?fieldManager=ben", path("v2")), &object).await;
    assert_eq!(applied.code, 200, "{}", applied.json());
    assert_eq!(applied.json()["spec"], json!({"a": "1", "two": "2"}));
    assert_eq!(managers(&applied.json()), ["ana", "ben"]);
    assert_eq!(admin.get(&format!("{}/t", path("v1"))).await.json()["spec"], json!({"a": "1"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_name_is_accepted_by_itself() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let mut first = definition("things", json!([version("v1", true, json!({}))]));
    first["spec"]["names"]["shortNames"] = json!(["th"]);
    assert_eq!(admin.post(DEFINITIONS, &first).await.code, 201);
    let mut second = definition("others", json!([version("v1", true, json!({}))]));
    second["spec"]["names"] = json!({"plural": "others", "kind": "Other", "shortNames": ["ot"]});
    assert_eq!(admin.post(DEFINITIONS, &second).await.code, 201);
    let patch = json!({"spec": {"names": {"shortNames": ["ot", "th"], "categories": ["all"]}}});
    let changed = admin.merge(&format!("{DEFINITIONS}/others.test.example"), &patch).await.json();
    let accepted = &changed["status"]["acceptedNames"];
    assert_eq!((&accepted["shortNames"], &accepted["categories"]), (&json!(["ot"]), &json!(["all"])), "{changed}");
    let conditions = changed["status"]["conditions"].as_array().unwrap();
    let names = conditions.iter().find(|condition| condition["type"] == "NamesAccepted").unwrap();
    assert_eq!(
        (&names["reason"], &names["message"]),
        (&json!("ShortNamesConflict"), &json!("\"th\" is already in use"))
    );
    let served = admin.get("/apis/test.example/v1").await.json();
    let other = served["resources"].as_array().unwrap().iter().find(|kind| kind["name"] == "others").unwrap().clone();
    assert_eq!((&other["shortNames"], &other["categories"]), (&json!(["ot"]), &json!(["all"])));
}

/// What Kubernetes refuses: (where, what is put there, the error).
#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_kubernetes_refuses_are_refused() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let column = |column: Value| json!([column]);
    for (at, value, error) in [
        (
            "/spec/versions/0/additionalPrinterColumns",
            column(json!({"name": "A", "type": "string"})),
            "spec.versions[0].additionalPrinterColumns[0].jsonPath: Required value",
        ),
        (
            "/spec/versions/0/additionalPrinterColumns",
            column(json!({"name": "A", "jsonPath": ".spec.a"})),
            "spec.versions[0].additionalPrinterColumns[0].type: Required value: must be one of boolean,date,integer,number,string",
        ),
        (
            "/spec/versions/0/additionalPrinterColumns",
            column(json!({"type": "string", "jsonPath": ".spec.a"})),
            "spec.versions[0].additionalPrinterColumns[0].name: Required value",
        ),
        (
            "/spec/versions/0/additionalPrinterColumns",
            column(json!({"name": "A", "type": "text", "jsonPath": ".spec.a"})),
            "Invalid value: \"text\": must be one of",
        ),
        (
            "/spec/versions/0/additionalPrinterColumns",
            column(json!({"name": "A", "type": "string", "format": "odd", "jsonPath": ".spec.a"})),
            "Invalid value: \"odd\": must be one of",
        ),
        (
            "/spec/versions/0/additionalPrinterColumns",
            column(json!({"name": "A", "type": "string", "jsonPath": "spec.a"})),
            "must be a simple json path starting with .",
        ),
        (
            "/spec/versions/0/subresources/scale",
            json!({"specReplicasPath": ".metadata.x", "statusReplicasPath": ".status.n"}),
            "specReplicasPath: Invalid value: \".metadata.x\": should be a json path under .spec",
        ),
        (
            "/spec/versions/0/subresources/scale",
            json!({"specReplicasPath": ".spec.n", "statusReplicasPath": ".spec.n"}),
            "should be a json path under .status",
        ),
        (
            "/spec/versions/0/subresources/scale",
            json!({"specReplicasPath": ".spec.n"}),
            "statusReplicasPath: Required value",
        ),
        (
            "/spec/versions/0/subresources/scale",
            json!({"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n", "labelSelectorPath": ".x"}),
            "should be a json path under either .spec or .status",
        ),
        (
            "/spec/versions/0/selectableFields",
            json!([{"jsonPath": ".spec.none"}]),
            "spec.versions[0].selectableFields[0].jsonPath: Invalid value: \".spec.none\": is an invalid path",
        ),
        (
            "/spec/versions/0/selectableFields",
            json!([{"jsonPath": ".spec"}]),
            "must point to a field of type string, boolean or integer",
        ),
        (
            "/spec/versions/0/selectableFields",
            json!([{"jsonPath": ".metadata.name"}]),
            "must not point to fields in metadata",
        ),
        (
            "/spec/versions/0/selectableFields",
            json!([{"jsonPath": ".spec.a"}, {"jsonPath": ".spec.a"}]),
            "Duplicate value",
        ),
        ("/spec/conversion", json!({"strategy": "Magic"}), "spec.conversion.strategy: Unsupported value: \"Magic\""),
        (
            "/spec/conversion",
            json!({"strategy": "None", "webhook": {"conversionReviewVersions": ["v1"]}}),
            "spec.conversion.webhook: Forbidden: should not be set when strategy is not set to Webhook",
        ),
        (
            "/spec/versions/0/schema/openAPIV3Schema/properties",
            json!({"a": null}),
            "must not be empty for specified object fields",
        ),
        (
            "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties",
            json!({"a": {"type": "object", "properties": {"b": null}}}),
            "must not be empty for specified object fields",
        ),
    ] {
        let mut refused = definition("things", json!([version("v1", true, json!({"a": text()}))]));
        let (parent, name) = at.rsplit_once('/').unwrap();
        refused.pointer_mut(parent).unwrap()[name] = value;
        let answer = admin.post(DEFINITIONS, &refused).await;
        let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(
            answer.code == 422 && message.contains(error),
            "{at}: {} {message}\n  should contain\n{error}",
            answer.code
        );
    }
    for (group, annotation, good) in [
        ("test.k8s.io", None, false),
        ("kubernetes.io", None, false),
        ("test.k8s.io", Some("yes"), false),
        ("test.k8s.io", Some("unapproved, an experiment"), true),
        ("other.k8s.io", Some("https://github.com/kubernetes/enhancements/pull/1111"), true),
        ("nok8s.io", None, true),
    ] {
        let mut asked = definition("things", json!([version("v1", true, json!({}))]));
        asked["spec"]["group"] = group.into();
        asked["metadata"]["name"] = format!("things.{group}").into();
        if let Some(annotation) = annotation {
            asked["metadata"]["annotations"] = json!({"api-approved.kubernetes.io": annotation});
        }
        let answer = admin.post(DEFINITIONS, &asked).await;
        assert_eq!(answer.code == 201, good, "{group}: {}", answer.json());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_object_that_breaks_a_new_rule_can_be_edited_elsewhere_and_deleted() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let number = json!({"type": "integer"});
    let made = definition("things", json!([version("v1", true, json!({"n": number, "m": number, "a": text()}))]));
    assert_eq!(admin.post(DEFINITIONS, &made).await.code, 201);
    let things = "/apis/test.example/v1/namespaces/default/things";
    let object = json!({"apiVersion": "test.example/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"n": 0, "m": 0, "a": "x"}});
    assert_eq!(admin.post(things, &object).await.code, 201);
    let rule = json!([{"rule": "self > 0"}]);
    let strict = json!({"n": {"type": "integer", "minimum": 1}, "m": {"type": "integer", "x-kubernetes-validations": rule}, "a": text()});
    let patch = json!({"spec": {"versions": [version("v1", true, strict)]}});
    assert_eq!(admin.merge(&format!("{DEFINITIONS}/things.test.example"), &patch).await.code, 200);
    let thing = format!("{things}/t");
    for (path, patch, code) in [
        (thing.clone(), json!({"metadata": {"labels": {"l": "1"}}}), 200),
        (thing.clone(), json!({"metadata": {"finalizers": ["test.example/hold"]}}), 200),
        (thing.clone(), json!({"spec": {"a": "y"}}), 200),
        (format!("{thing}/status"), json!({"status": {"phase": "on"}}), 200),
        (thing.clone(), json!({"spec": {"n": -1}}), 422),
        (thing.clone(), json!({"spec": {"m": -1}}), 422),
        (thing.clone(), json!({"spec": {"n": 2}}), 200),
    ] {
        let answer = admin.merge(&path, &patch).await;
        assert_eq!(answer.code, code, "{patch}: {}", answer.json());
    }
    assert_eq!(admin.get(&thing).await.json()["spec"]["m"], 0);
    assert_eq!(admin.delete(&thing).await.code, 200);
    let patch = json!({"metadata": {"finalizers": null}});
    assert_eq!(admin.merge(&thing, &patch).await.code, 200);
    assert_eq!(admin.get(&thing).await.code, 404);
}
