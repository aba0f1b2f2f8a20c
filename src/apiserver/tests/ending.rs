//! What goes, and what goes with it: garbage, namespaces, definitions.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is a failure")]

mod support;

use serde_json::{Value, json};
use support::{Caller, Ours, eventually};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn owned(name: &str, owners: &[(&Value, bool)]) -> Value {
    let owners: Vec<Value> = owners
        .iter()
        .map(|(owner, block)| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"], "blockOwnerDeletion": block,
            })
        })
        .collect();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": owners}})
}

async fn make(admin: &Caller, object: &Value) -> Value {
    let made = admin.post(MAPS, object).await;
    assert_eq!(made.code, 201, "{}", made.text);
    made.json()
}

async fn gone(admin: &Caller, name: &str) {
    let path = format!("{MAPS}/{name}");
    eventually(&format!("{name} is gone"), || async { admin.get(&path).await.code == 404 }).await;
}

async fn delete(admin: &Caller, name: &str, policy: &str) -> u16 {
    let body = json!({"propagationPolicy": policy});
    admin.send("DELETE", &format!("{MAPS}/{name}"), &[("content-type", "application/json")], Some(&body)).await.code
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_owned_goes_after_its_last_owner() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let (one, two) = (make(admin, &owned("one", &[])).await, make(admin, &owned("two", &[])).await);
    let child = make(admin, &owned("child", &[(&one, false)])).await;
    make(admin, &owned("grandchild", &[(&child, false)])).await;
    make(admin, &owned("shared", &[(&one, false), (&two, false)])).await;
    assert_eq!(delete(admin, "one", "Background").await, 200);
    gone(admin, "child").await;
    gone(admin, "grandchild").await;
    eventually("the reference to what is gone is taken away", || async {
        let shared = admin.get(&format!("{MAPS}/shared")).await.json();
        shared["metadata"]["ownerReferences"].as_array().is_some_and(|owners| owners.len() == 1)
    })
    .await;
    // An owner made again under the same name is another one.
    let stale = make(admin, &owned("stale", &[(&two, false)])).await;
    assert_eq!(delete(admin, "two", "Background").await, 200);
    make(admin, &owned("two", &[])).await;
    gone(admin, "stale").await;
    gone(admin, "shared").await;
    assert_eq!(stale["metadata"]["ownerReferences"][0]["uid"], two["metadata"]["uid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn foreground_waits_for_those_that_block() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let parent = make(admin, &owned("parent", &[])).await;
    let mut child = owned("child", &[(&parent, true)]);
    child["metadata"]["finalizers"] = json!(["example.com/hold"]);
    make(admin, &child).await;
    assert_eq!(delete(admin, "parent", "Foreground").await, 200);
    let child_path = format!("{MAPS}/child");
    eventually("the child is marked", || async {
        !admin.get(&child_path).await.json()["metadata"]["deletionTimestamp"].is_null()
    })
    .await;
    let parent = admin.get(&format!("{MAPS}/parent")).await;
    assert_eq!(parent.json()["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    assert_eq!(admin.merge(&child_path, &json!({"metadata": {"finalizers": null}})).await.code, 200);
    gone(admin, "child").await;
    gone(admin, "parent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_stay() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let parent = make(admin, &owned("parent", &[])).await;
    make(admin, &owned("child", &[(&parent, true)])).await;
    assert_eq!(delete(admin, "parent", "Orphan").await, 200);
    gone(admin, "parent").await;
    let child = admin.get(&format!("{MAPS}/child")).await.json();
    assert_eq!((&child["metadata"]["name"], child["metadata"].get("ownerReferences")), (&json!("child"), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_ends_when_it_is_empty_and_says_what_it_waits_for() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    admin.post("/api/v1/namespaces", &namespace).await;
    let maps = "/api/v1/namespaces/shop/configmaps";
    let map = |name: &str, finalizers: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "finalizers": finalizers}});
    admin.post(maps, &map("held", json!(["example.com/hold"]))).await;
    admin.post(maps, &map("free", json!([]))).await;
    admin
        .post(
            "/api/v1/namespaces/shop/secrets",
            &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}),
        )
        .await;
    let marked = admin.delete("/api/v1/namespaces/shop").await;
    assert_eq!((marked.code, &marked.json()["status"]["phase"]), (200, &json!("Terminating")));
    let late = admin.post(maps, &map("late", json!([]))).await;
    assert_eq!((late.code, &late.json()["details"]["causes"][0]["reason"]), (403, &json!("NamespaceTerminating")));
    eventually("the namespace says what it waits for", || async {
        admin.get("/api/v1/namespaces/shop").await.text.contains("example.com/hold in 1 resource instances")
    })
    .await;
    assert_eq!(admin.get(&format!("{maps}/free")).await.code, 404);
    assert_eq!(admin.get("/api/v1/namespaces/shop/secrets/s").await.code, 404);
    admin.merge(&format!("{maps}/held"), &json!({"metadata": {"finalizers": null}})).await;
    eventually("the namespace is gone", || async { admin.get("/api/v1/namespaces/shop").await.code == 404 }).await;
    let again = admin.post("/api/v1/namespaces", &namespace).await;
    assert_eq!(again.code, 201);
    assert_eq!(admin.get(maps).await.json()["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_takes_its_objects_with_it() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let definition = |plural: &str, kind: &str| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.example.com")},
            "spec": {
                "group": "example.com", "scope": "Namespaced",
                "names": {"plural": plural, "singular": plural.trim_end_matches('s'), "kind": kind},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
            },
        })
    };
    assert_eq!(admin.post(definitions, &definition("things", "Thing")).await.code, 201);
    // Its kind is taken, so the second one has to wait.
    let second = admin.post(definitions, &definition("stuffs", "Thing")).await.json();
    assert_eq!(second["status"]["conditions"][0]["reason"], "ListKindConflict");
    let stuffs = "/apis/example.com/v1/namespaces/default/stuffs";
    assert_eq!(admin.get(stuffs).await.code, 404);

    let things = "/apis/example.com/v1/namespaces/default/things";
    let thing = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t", "finalizers": ["example.com/hold"]}});
    assert_eq!(admin.post(things, &thing).await.code, 201, "served at once");
    assert_eq!(admin.delete(&format!("{definitions}/things.example.com")).await.code, 200);
    let mut late = thing.clone();
    late["metadata"]["name"] = "late".into();
    assert_eq!(admin.post(things, &late).await.code, 403);
    eventually("the object is marked", || async {
        !admin.get(&format!("{things}/t")).await.json()["metadata"]["deletionTimestamp"].is_null()
    })
    .await;
    assert_eq!(admin.merge(&format!("{things}/t"), &json!({"metadata": {"finalizers": null}})).await.code, 200);
    eventually("the definition is gone", || async {
        admin.get(&format!("{definitions}/things.example.com")).await.code == 404
    })
    .await;
    assert_eq!(admin.get(things).await.code, 404);
    eventually("the name is free for the other", || async { admin.get(stuffs).await.code == 200 }).await;
}
