//! What is refused because it cannot be read or is something else, and what keeps its own objects: each case was taken
//! once, and harmed what was stored.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is a failure")]

mod support;

use serde_json::{Value, json};
use support::{Caller, Ours, eventually};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

async fn make(admin: &Caller, path: &str, object: &Value) -> Value {
    let made = admin.post(path, object).await;
    assert_eq!(made.code, 201, "{}", made.text);
    made.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_makes_no_other_object() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let before = make(admin, MAPS, &map("m")).await;
    let path = format!("{MAPS}/m");
    for (patch, code) in [
        (json!({"kind": "Secret"}), 422),
        (json!({"kind": null}), 422),
        (json!({"kind": 5}), 422),
        (json!({"apiVersion": "v2"}), 422),
        (json!({"apiVersion": null}), 422),
        (json!({"metadata": null}), 400),
        (json!({"metadata": []}), 422),
        (json!({"metadata": {"name": "other"}}), 400),
        (json!({"metadata": {"name": null}}), 400),
        (json!({"metadata": {"namespace": "other"}}), 400),
    ] {
        let answer = admin.merge(&path, &patch).await;
        assert_eq!(answer.code, code, "{patch}: {}", answer.text);
    }
    assert_eq!(admin.get(&path).await.json(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_names_its_object() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let before = make(admin, MAPS, &map("m")).await;
    let path = format!("{MAPS}/m");
    for body in [json!({}), json!({"metadata": {}}), json!({"metadata": {"name": "x"}})] {
        let answer = admin.put(&path, &body).await;
        assert_eq!(answer.code, 400, "{body}: {}", answer.text);
    }
    assert_eq!(admin.get(&path).await.json(), before);
    // Revision 0 is none.
    let mut next = map("m");
    next["metadata"]["resourceVersion"] = "0".into();
    assert_eq!(admin.put(&path, &next).await.code, 200);
    next["metadata"]["name"] = "new".into();
    make(admin, MAPS, &next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_cannot_be_read_deletes_nothing() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    make(admin, MAPS, &map("m")).await;
    let path = format!("{MAPS}/m");
    for (body, code) in [
        (json!({"dryRun": "All"}), 400),
        (json!({"dryRun": ["Some"]}), 422),
        (json!({"preconditions": "x"}), 400),
        (json!({"preconditions": {"uid": 5}}), 400),
        (json!({"gracePeriodSeconds": "x"}), 400),
        (json!({"propagationPolicy": 1}), 400),
        (json!({"propagationPolicy": "Sometimes"}), 422),
        (json!({"orphanDependents": "yes"}), 400),
        (json!({"kind": "Pod"}), 422),
        (json!([]), 400),
    ] {
        let answer = admin.send("DELETE", &path, &JSON, Some(&body)).await;
        assert_eq!(answer.code, code, "{body}: {}", answer.text);
    }
    for query in ["gracePeriodSeconds=x", "propagationPolicy=Sometimes", "dryRun=Some"] {
        let answer = admin.delete(&format!("{path}?{query}")).await;
        assert!(matches!(answer.code, 400 | 422), "{query}: {}", answer.text);
    }
    assert_eq!(admin.get(&path).await.code, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_made_again_keeps_its_objects() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    for round in 0..20 {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "again"}});
        make(admin, "/api/v1/namespaces", &namespace).await;
        let maps = "/api/v1/namespaces/again/configmaps";
        for name in ["a", "b"] {
            make(admin, maps, &map(name)).await;
        }
        // What was there before is gone, what is there now stays while the sweep after the last end may still run.
        let names = |list: &Value| list["items"].as_array().map_or(0, Vec::len);
        assert_eq!(names(&admin.get(maps).await.json()), 2, "round {round}");
        assert_eq!(admin.delete("/api/v1/namespaces/again").await.code, 200);
        for _ in 0..2000 {
            if admin.get("/api/v1/namespaces/again").await.code == 404 {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_in_a_circle_go_and_owners_that_nobody_can_look_up_hold() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let owner = |object: &Value, version: &str| {
        let (name, uid) = (&object["metadata"]["name"], &object["metadata"]["uid"]);
        json!([{"apiVersion": version, "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": true}])
    };
    let mut made = Vec::new();
    for name in ["one", "two", "three"] {
        made.push(make(admin, MAPS, &map(name)).await);
    }
    for (name, by) in [("one", &made[2]), ("two", &made[0]), ("three", &made[1])] {
        let patch = json!({"metadata": {"ownerReferences": owner(by, "v1")}});
        assert_eq!(admin.merge(&format!("{MAPS}/{name}"), &patch).await.code, 200);
    }
    let mut unserved = map("unserved");
    let gone = json!({"metadata": {"name": "gone", "uid": "3b1f9fd6-7a0b-4a52-9a4c-2f2bb6d6d0ee"}});
    unserved["metadata"]["ownerReferences"] = owner(&gone, "v9");
    make(admin, MAPS, &unserved).await;
    let foreground = json!({"propagationPolicy": "Foreground"});
    let path = format!("{MAPS}/one");
    assert_eq!(admin.send("DELETE", &path, &JSON, Some(&foreground)).await.code, 200);
    for name in ["one", "two", "three"] {
        let path = format!("{MAPS}/{name}");
        eventually(&format!("{name} is gone"), || async { admin.get(&path).await.code == 404 }).await;
    }
    assert_eq!(admin.get(&format!("{MAPS}/unserved")).await.code, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_the_metadata_have_a_length() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    make(admin, MAPS, &map("m")).await;
    let path = format!("{MAPS}/m");
    let owner =
        |n: usize| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": n.to_string(), "uid": n.to_string()});
    let owners: Vec<Value> = (0..20_000).map(owner).collect();
    let finalizers: Vec<String> = (0..2000).map(|n| format!("example.com/{n}")).collect();
    for (field, list) in [("ownerReferences", json!(owners)), ("finalizers", json!(finalizers))] {
        let answer = admin.merge(&path, &json!({"metadata": {field: list}})).await;
        assert_eq!(answer.code, 422, "{field}: {}", answer.text);
        assert!(answer.text.contains("must have at most 1000 items"), "{}", &answer.text[..200]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scale_is_read_by_its_types_and_recorded() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let schema = json!({
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
            "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
        },
    });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "sets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "sets", "kind": "Set"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                "subresources": {"scale": {
                    "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
                }},
            }],
        },
    });
    make(admin, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await;
    let sets = "/apis/example.com/v1/namespaces/default/sets";
    let set =
        json!({"apiVersion": "example.com/v1", "kind": "Set", "metadata": {"name": "s"}, "spec": {"replicas": 3}});
    make(admin, sets, &set).await;
    let path = format!("{sets}/s/scale");
    let scale = |name: &str, replicas: Value| {
        json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": name, "namespace": "default"},
            "spec": {"replicas": replicas},
        })
    };
    let with = |field: &str, value: Value| {
        let mut scale = scale("s", json!(1));
        *scale.pointer_mut(field).unwrap() = value;
        scale
    };
    let mut other_uid = scale("s", json!(1));
    other_uid["metadata"]["uid"] = "x".into();
    for (body, code) in [
        (scale("s", json!("x")), 400),
        (scale("s", json!(1.5)), 400),
        (scale("s", json!(1_u64 << 40)), 400),
        (scale("s", json!(-1)), 422),
        (scale("other", json!(1)), 400),
        (with("/kind", json!("Set")), 400),
        (with("/spec", json!([])), 400),
        (other_uid, 409),
    ] {
        let answer = admin.put(&path, &body).await;
        assert_eq!(answer.code, code, "{body}: {}", answer.text);
    }
    assert_eq!(admin.get(&path).await.json()["spec"]["replicas"], 3);
    assert_eq!(admin.put(&format!("{path}?fieldManager=scaler"), &scale("s", json!(5))).await.code, 200);
    let stored = admin.get(&format!("{sets}/s")).await.json();
    let managed = stored["metadata"]["managedFields"].as_array().unwrap();
    let entry = managed.iter().find(|entry| entry["manager"] == "scaler").unwrap();
    assert_eq!((&entry["subresource"], &entry["fieldsV1"]), (&json!("scale"), &json!({"f:spec": {"f:replicas": {}}})));
}
