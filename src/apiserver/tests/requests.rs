//! What is special about single requests: bodies, sizes, forms, callers in the process.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is a failure")]

mod support;

use std::io::Read as _;

use flate2::read::GzDecoder;
use nubium_apiserver::{ApiServer, Config, Identity};
use nubium_store::{AnyStore, SqliteStore};
use serde_json::{Value, json};
use support::{Ours, definitions};
use tower::ServiceExt as _;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A length-delimited protobuf field.
fn part(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
    out.extend_from_slice(bytes);
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn protobuf_is_taken_for_built_in_kinds_only() {
    let ours = Ours::start().await;
    let entry = [part(1, b"key"), part(2, b"value")].concat();
    let map = [part(1, &part(1, b"from-go")), part(2, &entry)].concat();
    let meta = [part(1, b"v1"), part(2, b"ConfigMap")].concat();
    let body = [b"k8s\0".to_vec(), part(1, &meta), part(2, &map)].concat();
    let headers = [("content-type", "application/vnd.kubernetes.protobuf")];
    let made = ours.admin.send_bytes("POST", MAPS, &headers, Some(body.clone())).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(ours.admin.get(&format!("{MAPS}/from-go")).await.json()["data"], json!({"key": "value"}));
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(ours.admin.send_bytes("POST", crds, &headers, Some(body)).await.code, 415);
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_have_limits_and_large_answers_are_compressed_for_those_who_ask() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let map = |name: &str, size: usize| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "x".repeat(size)}});
    let huge = admin.post(MAPS, &map("huge", 4 << 20)).await;
    assert_eq!((huge.code, &huge.json()["reason"]), (413, &json!("RequestEntityTooLarge")));
    assert_eq!(admin.post(MAPS, &map("big", (1 << 20) + 1)).await.code, 422);
    assert_eq!(admin.post(MAPS, &map("fits", 200 << 10)).await.code, 201);
    let request = admin.client.get(format!("{}{MAPS}", admin.url)).header("accept-encoding", "gzip");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    let (mut text, bytes) = (String::new(), answer.bytes().await.unwrap());
    GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    let list: Value = serde_json::from_str(&text).unwrap();
    assert!(
        bytes.len() < 20_000 && list["items"].as_array().unwrap().iter().any(|item| item["metadata"]["name"] == "fits")
    );
    let plain = admin.get(MAPS).await;
    assert!(plain.text.len() > 200 << 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_the_same_again_changes_nothing_whichever_way() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    for definition in definitions() {
        admin.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await;
    }
    let server = json!({
        "apiVersion": "nubium.dev/v1alpha1", "kind": "Server", "metadata": {"name": "web-1", "namespace": "default"},
        "spec": {"flavor": "small", "disks": [{"name": "root", "image": "debian-12"}], "nics": [{"name": "eth0", "network": "blue"}]},
    });
    let path = "/apis/nubium.dev/v1alpha1/namespaces/default/servers/web-1";
    let made = admin.apply(&format!("{path}?fieldManager=git"), &server).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let made = made.json();
    assert_eq!(made["status"], json!({"observedGeneration": -1}), "the status has its default from the start");
    assert_eq!(made["spec"]["powerState"], "Running");
    let again = admin.apply(&format!("{path}?fieldManager=git"), &server).await;
    assert_eq!((again.code, again.json()), (200, made.clone()), "server-side apply");
    assert_eq!(admin.merge(path, &json!({"spec": {"flavor": "small"}})).await.json(), made, "merge patch");
    assert_eq!(admin.put(path, &made).await.json(), made, "update");
    let status = admin.merge(&format!("{path}/status"), &json!({"status": {"observedGeneration": -1}})).await;
    assert_eq!(status.json(), made, "status");
    // Two managers, one list: each has its own entry of it.
    let nic = json!({
        "apiVersion": "nubium.dev/v1alpha1", "kind": "Server", "metadata": {"name": "web-1"},
        "spec": {"nics": [{"name": "eth1", "network": "green"}]},
    });
    let both = admin.apply(&format!("{path}?fieldManager=second"), &nic).await.json();
    assert_eq!(both["spec"]["nics"].as_array().unwrap().len(), 2);
    assert_eq!(both["metadata"]["generation"], 2);
    let taken = json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "Server", "metadata": {"name": "web-1"}, "spec": {"flavor": "large"}});
    let conflict = admin.apply(&format!("{path}?fieldManager=second"), &taken).await;
    assert_eq!(
        (conflict.code, &conflict.json()["details"]["causes"][0]["reason"]),
        (409, &json!("FieldManagerConflict"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn defaults_that_came_later_are_there_when_old_objects_are_read() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let mut definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}}}}}}}],
        },
    });
    admin.post(definitions, &definition).await;
    let things = "/apis/example.com/v1/namespaces/default/things";
    let thing = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "old"}, "spec": {}});
    let old = admin.post(things, &thing).await.json();
    assert_eq!(old["spec"], json!({}));
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["b"] =
        json!({"type": "integer", "default": 7});
    let changed = admin.merge(&format!("{definitions}/things.example.com"), &definition).await;
    assert_eq!(changed.code, 200, "{}", changed.text);
    for found in [admin.get(&format!("{things}/old")).await.json(), admin.get(things).await.json()["items"][0].clone()]
    {
        assert_eq!(found["spec"], json!({"b": 7}));
        assert_eq!(found["metadata"]["resourceVersion"], old["metadata"]["resourceVersion"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_of_a_kind_show_the_same_object() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let version = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}}}}})
    };
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [version("v1alpha1", false), version("v1", true)],
        },
    });
    let made = admin.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await;
    assert_eq!((made.code, &made.json()["status"]["storedVersions"]), (201, &json!(["v1"])), "{}", made.text);
    let groups = admin.get("/apis/example.com").await.json();
    assert_eq!(groups["preferredVersion"]["version"], "v1");
    let path = |version: &str| format!("/apis/example.com/{version}/namespaces/default/things/t");
    let thing = |version: &str, spec: Value| json!({"apiVersion": format!("example.com/{version}"), "kind": "Thing", "metadata": {"name": "t"}, "spec": spec});
    let alpha =
        admin.apply(&format!("{}?fieldManager=one", path("v1alpha1")), &thing("v1alpha1", json!({"a": "1"}))).await;
    assert_eq!((alpha.code, &alpha.json()["apiVersion"]), (201, &json!("example.com/v1alpha1")), "{}", alpha.text);
    let v1 = admin.get(&path("v1")).await.json();
    assert_eq!((&v1["apiVersion"], &v1["spec"]), (&json!("example.com/v1"), &json!({"a": "1"})));
    // What one owns in one version is its own in the other.
    let conflict = admin.apply(&format!("{}?fieldManager=two", path("v1")), &thing("v1", json!({"a": "2"}))).await;
    assert_eq!(conflict.code, 409, "{}", conflict.text);
    let both = admin.apply(&format!("{}?fieldManager=two", path("v1")), &thing("v1", json!({"b": "2"}))).await.json();
    assert_eq!(both["spec"], json!({"a": "1", "b": "2"}));
    assert_eq!(both["metadata"]["managedFields"].as_array().unwrap().len(), 2);
    let watched = admin.get("/apis/example.com/v1alpha1/namespaces/default/things?watch=true&timeoutSeconds=1").await;
    assert_eq!(watched.lines()[0]["object"]["apiVersion"], "example.com/v1alpha1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_in_the_process_needs_no_connection() {
    let folder = tempfile::tempdir().unwrap();
    let store = AnyStore::new(SqliteStore::open(&folder.path().join("store.db")).unwrap());
    let server = ApiServer::start(store, Config::default()).await.unwrap();
    let get = |path: &str| http::Request::get(path).body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    let service = server.router_service();
    let refused = service.clone().oneshot(get("/api/v1/namespaces")).await.unwrap();
    assert_eq!(refused.status(), 403, "nobody");
    let admin = service.clone().acting_as(Identity::admin("controllers"));
    assert_eq!(admin.oneshot(get("/api/v1/namespaces")).await.unwrap().status(), 200);
    let mut request = get("/api/v1/namespaces/default/secrets");
    request.extensions_mut().insert(Identity::host("rack-1"));
    assert_eq!(service.oneshot(request).await.unwrap().status(), 403, "the extension says who asks");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_program_owns_what_it_writes() {
    let ours = Ours::start().await;
    let service = ours.server.router_service().acting_as(Identity::admin("nubium")).called_by("nubium-controllers");
    let map = json!({"metadata": {"name": "m"}, "data": {"a": "1"}}).to_string();
    let request = http::Request::post("/api/v1/namespaces/default/configmaps").body(map).unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), 201);
    let made = ours.admin.get("/api/v1/namespaces/default/configmaps/m").await.json();
    assert_eq!(made["metadata"]["managedFields"][0]["manager"], "nubium-controllers");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let call = async |server: &ApiServer, request: http::Request<String>| {
        let service = server.router_service().acting_as(Identity::admin("admin"));
        let answer = service.oneshot(request).await.unwrap();
        let code = answer.status().as_u16();
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        (code, serde_json::from_slice::<Value>(&body).unwrap_or_default())
    };
    let post = |path: &str, body: &Value| http::Request::post(path).body(body.to_string()).unwrap();
    let get = |path: &str| http::Request::get(path).body(String::new()).unwrap();
    let server = ApiServer::start(AnyStore::new(SqliteStore::open(&path).unwrap()), Config::default()).await.unwrap();
    for definition in definitions() {
        let request = post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition);
        assert_eq!(call(&server, request).await.0, 201);
    }
    let flavor = json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "Flavor", "metadata": {"name": "small"}, "spec": {"cpu": 1, "memory": "1Gi"}});
    let (code, made) = call(&server, post("/apis/nubium.dev/v1alpha1/flavors", &flavor)).await;
    assert_eq!(code, 201, "{made}");
    drop(server);
    // The store closes with the last one that uses it.
    let mut reopened = SqliteStore::open(&path);
    for _ in 0..200 {
        if reopened.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        reopened = SqliteStore::open(&path);
    }
    let server = ApiServer::start(AnyStore::new(reopened.unwrap()), Config::default()).await.unwrap();
    let (code, found) = call(&server, get("/apis/nubium.dev/v1alpha1/flavors/small")).await;
    assert_eq!((code, found), (200, made));
}
