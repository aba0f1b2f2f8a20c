//! What happens at the worst moment: between the look at an object, a namespace or a definition, and the write that
//! follows from it.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is a failure")]

mod support;

use bytes::Bytes;
use nubium_apiserver::Config;
use nubium_store::{Expect, Outcome, SqliteStore, Store};
use serde_json::{Value, json};
use support::gate::{Before, Gate};
use support::{Caller, Ours, eventually};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const MAPS: &str = "/registry/core/configmaps";

fn definition(plural: &str, fields: Value) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": format!("{plural}.test.example")},
    "spec": {"group": "test.example", "scope": "Namespaced", "names": {"plural": plural, "kind": format!("Kind{plural}")},
        "versions": [{"name": "v1", "served": true, "storage": true,
            "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.n"}},
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": fields},
                "status": {"type": "object", "properties": {"n": {"type": "integer"}}}}}}}]}})
}

fn wide() -> Value {
    json!({"replicas": {"type": "integer"}, "gone": {"type": "string"}})
}

fn narrow() -> Value {
    json!({"replicas": {"type": "integer"}, "new": {"type": "string", "default": "d"}})
}

async fn define(admin: &Caller, plural: &str, fields: Value) {
    let made = admin.post(DEFINITIONS, &definition(plural, fields)).await;
    assert_eq!(made.code, 201, "{}", made.text);
}

async fn redefine(admin: Caller, plural: String) {
    let patch = json!({"spec": definition(&plural, narrow())["spec"]});
    let changed = admin.merge(&format!("{DEFINITIONS}/{plural}.test.example"), &patch).await;
    assert_eq!(changed.code, 200, "{}", changed.text);
}

/// The bytes of an object as they are stored.
async fn stored(store: &SqliteStore, key: &str) -> Option<Value> {
    store.get(key).await.unwrap().object.map(|object| serde_json::from_slice(&object.value).unwrap())
}

/// Writes past every API: takes an object away, if there is one, and makes `next` in its place.
async fn remake(store: &SqliteStore, key: &str, next: Value) {
    if let Some(object) = store.get(key).await.unwrap().object {
        store.write(key, Expect::Modified(object.modified), None, None).await.unwrap();
    }
    let made = store.write(key, Expect::Absent, Some(Bytes::from(next.to_string())), None).await.unwrap();
    assert!(matches!(made, Outcome::Done(_)), "{made:?}");
}

/// The next object of the name in `key`: what was there, with another UID.
async fn successor(store: &SqliteStore, key: &str) -> Value {
    let mut object = stored(store, key).await.unwrap();
    object["metadata"]["uid"] = "next".into();
    object["metadata"].as_object_mut().unwrap().remove("deletionTimestamp");
    object["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    object
}

/// Returns when the background work has seen all that was stored before.
async fn background_is_done(admin: &Caller) {
    let namespace = json!({"metadata": {"name": "marker"}});
    assert_eq!(admin.post("/api/v1/namespaces", &namespace).await.code, 201);
    assert_eq!(admin.delete("/api/v1/namespaces/marker").await.code, 200);
    eventually("the marker goes", || async { admin.get("/api/v1/namespaces/marker").await.code == 404 }).await;
}

/// Verb, subpath and query, content type, body.
fn writes(kind: &str) -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let object = |fields: Value| {
        let mut object = json!({"apiVersion": "test.example/v1", "kind": kind, "metadata": {"name": "t"}});
        object.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        object
    };
    let json = "application/json";
    let spec = object(json!({"spec": {"replicas": 2, "gone": "2"}}));
    let applied = object(json!({"spec": {"replicas": 7}}));
    let scale =
        json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "t"}, "spec": {"replicas": 3}});
    vec![
        ("POST", "", json, spec.clone()),
        ("PUT", "/t", json, spec.clone()),
        ("PUT", "/t/status", json, object(json!({"status": {"n": 1}}))),
        ("PUT", "/t/scale", json, scale),
        ("PATCH", "/t", "application/merge-patch+json", json!({"spec": {"gone": "3", "replicas": 5}})),
        (
            "PATCH",
            "/t",
            "application/json-patch+json",
            json!([
                {"op": "add", "path": "/spec/gone", "value": "4"}, {"op": "add", "path": "/spec/replicas", "value": 6},
            ]),
        ),
        // An apply that named the lost field would be refused, by the new schema.
        ("PATCH", "/t?fieldManager=a&force=true", "application/apply-patch+yaml", applied.clone()),
        ("PATCH", "/new?fieldManager=a", "application/apply-patch+yaml", {
            let mut new = applied.clone();
            new["metadata"]["name"] = "new".into();
            new
        }),
        ("DELETE", "/t", json, json!({"propagationPolicy": "Foreground"})),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_meets_a_new_schema_goes_through_that_one() {
    let (ours, gate) = Ours::gated().await;
    let admin = &ours.admin;
    for (index, (verb, path, form, body)) in writes("Kind").into_iter().enumerate() {
        let plural = format!("things{index}");
        define(admin, &plural, wide()).await;
        let things = format!("/apis/test.example/v1/namespaces/default/{plural}");
        let mut body = body;
        if body["kind"] == "Kind" {
            body["kind"] = format!("Kind{plural}").into();
        }
        if verb != "POST" {
            let object = json!({"apiVersion": "test.example/v1", "kind": format!("Kind{plural}"),
                "metadata": {"name": "t", "finalizers": ["test.example/held"]}, "spec": {"gone": "1", "replicas": 1}});
            let made = admin.post(&things, &object).await;
            assert_eq!(made.code, 201, "{}", made.text);
            if verb == "PUT" {
                body["metadata"]["resourceVersion"] = made.json()["metadata"]["resourceVersion"].clone();
            }
        }
        let name = if path.starts_with("/new") { "new" } else { "t" };
        let key = format!("/registry/test.example/{plural}/default/{name}");
        gate.once(Before::Write, &key, redefine(admin.clone(), plural.clone()));
        let answer = admin.send(verb, &format!("{things}{path}"), &[("content-type", form)], Some(&body)).await;
        assert!(answer.code < 300, "{verb} {path}: {}", answer.text);
        assert!(gate.is_open(), "{verb} {path}: the definition was changed before the write");
        let kept = stored(&gate.store, &key).await.unwrap();
        let shown = admin.get(&format!("{things}/{name}")).await.json();
        let listed = admin.get(&things).await.json();
        let listed = listed["items"].as_array().unwrap().iter().find(|item| item["metadata"]["name"] == name).unwrap();
        for (how, object) in [("stored", &kept), ("shown", &shown), ("listed", listed)] {
            assert_eq!(object["spec"].get("gone"), None, "{verb} {path}, {how}: {object}");
            assert_eq!(object["spec"]["new"], "d", "{verb} {path}, {how}: {object}");
        }
        let answered = answer.json();
        if answered["kind"] != "Scale" {
            assert_eq!(answered["spec"], kept["spec"], "{verb} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stored_of_a_kind_that_goes_meanwhile() {
    let (ours, gate) = Ours::gated().await;
    let admin = ours.admin.clone();
    define(&admin, "things", wide()).await;
    let key = "/registry/test.example/things/default/t";
    gate.once(Before::Write, key, async move {
        let path = format!("{DEFINITIONS}/things.test.example");
        assert_eq!(admin.delete(&path).await.code, 200);
        eventually("the definition goes", || async { admin.get(&path).await.code == 404 }).await;
    });
    let thing = json!({"apiVersion": "test.example/v1", "kind": "Kindthings", "metadata": {"name": "t"}});
    let made = ours.admin.post("/apis/test.example/v1/namespaces/default/things", &thing).await;
    assert_eq!(made.code, 404, "{}", made.text);
    assert_eq!(stored(&gate.store, key).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_with_its_schema_and_tells_all_that_came_before() {
    let (ours, _) = Ours::gated().await;
    let admin = &ours.admin;
    define(admin, "things", wide()).await;
    let things = "/apis/test.example/v1/namespaces/default/things";
    let thing = |name: &str| json!({"apiVersion": "test.example/v1", "kind": "Kindthings", "metadata": {"name": name}, "spec": {"gone": "1"}});
    assert_eq!(admin.post(things, &thing("a")).await.code, 201);
    // Longer than this caller waits for an answer.
    let mut watching =
        admin.client.get(format!("{}{things}?watch=true&timeoutSeconds=600", admin.url)).send().await.unwrap();
    assert_eq!(admin.post(things, &thing("b")).await.code, 201);
    redefine(admin.clone(), "things".to_owned()).await;
    assert_eq!(admin.post(things, &thing("c")).await.code, 201);
    let mut events = Vec::new();
    while let Some(piece) = watching.chunk().await.unwrap() {
        events.extend_from_slice(&piece);
    }
    let events = String::from_utf8(events).unwrap();
    let names: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["object"]["metadata"]["name"].take())
        .collect();
    assert_eq!(names, ["a", "b"], "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_namespace_made_again_holds_is_its_own() {
    let (ours, gate) = Ours::gated().await;
    let admin = &ours.admin;
    assert_eq!(admin.post("/api/v1/namespaces", &json!({"metadata": {"name": "shop"}})).await.code, 201);
    let map = json!({"metadata": {"name": "m"}});
    assert_eq!(admin.post("/api/v1/namespaces/shop/configmaps", &map).await.code, 201);
    let (namespace, key) = ("/registry/core/namespaces/shop", format!("{MAPS}/shop/m"));
    gate.once(Before::Get, &key, {
        let (store, key) = (gate.store.clone(), key.clone());
        async move {
            remake(&store, namespace, {
                let mut next = successor(&store, namespace).await;
                next["status"] = json!({"phase": "Active"});
                next
            })
            .await;
            remake(&store, &key, successor(&store, &key).await).await;
        }
    });
    assert_eq!(admin.delete("/api/v1/namespaces/shop").await.code, 200);
    eventually("both are made again", || async { gate.is_open() }).await;
    background_is_done(admin).await;
    for path in ["/api/v1/namespaces/shop", "/api/v1/namespaces/shop/configmaps/m"] {
        let left = admin.get(path).await.json();
        assert_eq!(left["metadata"]["uid"], "next", "{path}: {left}");
        assert_eq!(left["metadata"].get("deletionTimestamp"), None, "{path}: {left}");
        assert_ne!(left["spec"]["finalizers"], json!([]), "{path}: {left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_definition_made_again_has_is_its_own() {
    let (ours, gate) = Ours::gated().await;
    let admin = &ours.admin;
    define(admin, "things", wide()).await;
    let things = "/apis/test.example/v1/namespaces/default/things";
    let thing = json!({"apiVersion": "test.example/v1", "kind": "Kindthings", "metadata": {"name": "t"}});
    assert_eq!(admin.post(things, &thing).await.code, 201);
    let definition = "/registry/apiextensions.k8s.io/customresourcedefinitions/things.test.example";
    let key = "/registry/test.example/things/default/t";
    gate.once(Before::Get, key, {
        let store = gate.store.clone();
        async move {
            remake(&store, definition, successor(&store, definition).await).await;
            remake(&store, key, successor(&store, key).await).await;
        }
    });
    assert_eq!(admin.delete(&format!("{DEFINITIONS}/things.test.example")).await.code, 200);
    eventually("both are made again", || async { gate.is_open() }).await;
    background_is_done(admin).await;
    for path in [format!("{DEFINITIONS}/things.test.example"), format!("{things}/t")] {
        let left = admin.get(&path).await.json();
        assert_eq!(left["metadata"]["uid"], "next", "{path}: {left}");
        assert_eq!(left["metadata"].get("deletionTimestamp"), None, "{path}: {left}");
    }
}

/// What somebody does to a dependent just before the collector deletes it, and whether it must stay.
#[tokio::test(flavor = "multi_thread")]
async fn the_collector_deletes_only_what_it_looked_at() {
    let (ours, gate) = Ours::gated().await;
    let admin = &ours.admin;
    let maps = "/api/v1/namespaces/default/configmaps";
    for (case, is_another) in [("made-again", true), ("adopted", false)] {
        let owner = admin.post(maps, &json!({"metadata": {"name": format!("owner-{case}")}})).await.json();
        let other = admin.post(maps, &json!({"metadata": {"name": format!("other-{case}")}})).await.json();
        let reference = |owner: &Value| json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}]);
        let child = json!({"metadata": {"name": case, "ownerReferences": reference(&owner)}});
        let child = admin.post(maps, &child).await.json();
        let (store, key, path) = (gate.store.clone(), format!("{MAPS}/default/{case}"), format!("{maps}/{case}"));
        let adopt = json!({"metadata": {"ownerReferences": reference(&other)}});
        gate.once(Before::Get, &key.clone(), {
            let (admin, path) = (admin.clone(), path.clone());
            async move {
                if is_another {
                    remake(&store, &key, successor(&store, &key).await).await;
                } else {
                    assert_eq!(admin.merge(&path, &adopt).await.code, 200);
                }
            }
        });
        assert_eq!(admin.delete(&format!("{maps}/owner-{case}")).await.code, 200);
        eventually(case, || async { gate.is_open() }).await;
        background_is_done(admin).await;
        let left = admin.get(&path).await;
        assert_eq!(left.code, 200, "{case}: {}", left.text);
        let uid = if is_another { &json!("next") } else { &child["metadata"]["uid"] };
        assert_eq!(&left.json()["metadata"]["uid"], uid, "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_event_that_happens_again_stays() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::new(SqliteStore::open(&folder.path().join("store.db")).unwrap());
    let event = |name: &str, created: &str| {
        json!({"apiVersion": "v1", "kind": "Event", "involvedObject": {}, "type": "Normal", "reason": "R", "metadata": {
            "name": name, "namespace": "default", "uid": name, "creationTimestamp": created}})
    };
    let key = |name: &str| format!("/registry/core/events/default/{name}");
    for name in ["a", "b"] {
        remake(&gate.store, &key(name), event(name, "2020-01-01T00:00:00Z")).await;
    }
    gate.once(Before::Get, &key("a"), {
        let store = gate.store.clone();
        async move {
            let old = store.get(&key("a")).await.unwrap().object.unwrap();
            let again = Bytes::from(event("a", &jiff::Timestamp::now().to_string()).to_string());
            store.write(&key("a"), Expect::Modified(old.modified), Some(again), None).await.unwrap();
        }
    });
    let ours = Ours::over(gate.clone(), folder, Config::default()).await;
    let events = "/api/v1/namespaces/default/events";
    eventually("the other event goes", || async { ours.admin.get(&format!("{events}/b")).await.code == 404 }).await;
    assert!(gate.is_open());
    assert_eq!(ours.admin.get(&format!("{events}/a")).await.code, 200);
}
