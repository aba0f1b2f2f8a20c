//! Requests with much to compute, held in the middle of it: others are answered meanwhile, by the one thread that all share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use nubium_store::{AnyStore, Expect, SqliteStore};
use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::access::{Admission, ChangeRequest, Identity};
use crate::http::body::Body;
use crate::object::meta;
use crate::server::ApiServer;
use crate::state::{Config, State};
use crate::{background, write};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const THINGS: &str = "/apis/test.example/v1/namespaces/default/things";
const MERGE: &str = "application/merge-patch+json";

/// Holds the computation of a change whose object has the label `hold`, until it is opened.
struct Gate {
    /// The one thread of the runtime, which must not be held.
    runtime: ThreadId,
    state: Mutex<Held>,
    changed: Condvar,
}

#[derive(Default)]
struct Held {
    open: bool,
    now: usize,
    most: usize,
    /// Whose changes were computed on the runtime's thread and elsewhere, by name.
    here: BTreeMap<String, usize>,
    elsewhere: BTreeMap<String, usize>,
}

impl Admission for Arc<Gate> {
    fn admit(&self, request: &ChangeRequest<'_>) -> Result<(), Failure> {
        let Some(object) = request.new.or(request.old) else { return Ok(()) };
        let name = meta::text(object, "name").to_owned();
        let mut held = self.state.lock();
        if thread::current().id() == self.runtime {
            *held.here.entry(name).or_default() += 1;
            return Ok(());
        }
        *held.elsewhere.entry(name).or_default() += 1;
        if object["metadata"]["labels"]["hold"] == "yes" {
            held.now += 1;
            held.most = held.most.max(held.now);
            while !held.open {
                self.changed.wait(&mut held);
            }
            held.now -= 1;
        }
        Ok(())
    }
}

impl Gate {
    fn open(&self) {
        self.state.lock().open = true;
        self.changed.notify_all();
    }

    /// Returns when so many computations are held.
    async fn holds(&self, count: usize) {
        until("computations are held", || self.state.lock().now == count).await;
    }
}

/// Waits for what other threads do; what is waited for does not depend on how long that takes.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it never happened that {what}");
}

struct Server {
    server: ApiServer,
    gate: Arc<Gate>,
    _folder: TempDir,
}

/// A request: method, path, content type, further headers, body.
type Ask<'a> = (&'a str, String, &'a str, &'a [(http::HeaderName, &'a str)], Vec<u8>);

impl Server {
    /// A server with the definition of Things, on the thread that calls.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = AnyStore::new(SqliteStore::open(&folder.path().join("store.db")).unwrap());
        let runtime = thread::current().id();
        let gate = Arc::new(Gate { runtime, state: Mutex::default(), changed: Condvar::new() });
        let mut state = State::new(store, Config::default());
        state.admission.push(Box::new(gate.clone()));
        let state = Arc::new(state);
        background::follow_definitions(&state).await.unwrap();
        write::ensure_namespace(&state, "default").await.unwrap();
        let server = Self { server: ApiServer(state), gate, _folder: folder };
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "things.test.example"},
            "spec": {"group": "test.example", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
                "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {
                        "status": {}, "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}},
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                        "spec": {"type": "object", "properties": {
                            "n": {"type": "integer"}, "text": {"type": "string"}}},
                        "status": {"type": "object", "properties": {"n": {"type": "integer"}}}}}}}]}});
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        assert_eq!(server.ask("POST", path, &definition).await, 201);
        server
    }

    fn computations(&self) -> &Computations {
        &self.server.0.computations
    }

    async fn send(&self, (method, path, form, headers, body): Ask<'_>) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, form);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.extension(Identity::admin("admin")).body(Full::new(Bytes::from(body))).unwrap();
        self.server.handle(request).await
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) -> u16 {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.send((method, path.to_owned(), "application/json", &[], body)).await.status().as_u16()
    }

    async fn read(&self, path: &str) -> Value {
        let response = self.send(("GET", path.to_owned(), "", &[], Vec::new())).await;
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    /// Stores an object past the API.
    async fn put_stored(&self, key: &str, mut object: Value) {
        object["metadata"]["namespace"] = "default".into();
        object["metadata"]["uid"] = object["metadata"]["name"].clone();
        object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        let value = crate::object::encode(&object);
        self.server.0.store.write(key, Expect::Absent, Some(value), None).await.unwrap();
    }

    /// Begins a request; answers its code, and how it is encoded.
    fn begin(self: &Arc<Self>, ask: Ask<'static>) -> JoinHandle<(u16, String)> {
        let server = self.clone();
        tokio::spawn(async move {
            let response = server.send(ask).await;
            let encoding = response.headers().get(CONTENT_ENCODING).map(|value| value.to_str().unwrap().to_owned());
            (response.status().as_u16(), encoding.unwrap_or_default())
        })
    }
}

fn large() -> String {
    "x".repeat(COSTLY)
}

fn map(name: &str, labels: &Value, text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"text": text}})
}

fn thing(name: &str, labels: &Value, text: &str) -> Value {
    json!({"apiVersion": "test.example/v1", "kind": "Thing", "metadata": {"name": name, "labels": labels},
        "spec": {"text": text, "n": 1}})
}

/// A costly request of every kind of write: of a large body, or of a small one for a large object.
fn costly_writes() -> Vec<(&'static str, Ask<'static>)> {
    let hold = json!({"hold": "yes"});
    let small = json!({"metadata": {"labels": hold}});
    let json = "application/json";
    let map_path = |name: &str| format!("{MAPS}/{name}");
    let apply = |name: &str| format!("{MAPS}/{name}?fieldManager=a&force=true");
    let bytes = |value: &Value| value.to_string().into_bytes();
    vec![
        ("created", ("POST", MAPS.to_owned(), json, &[], bytes(&map("created", &hold, &large())))),
        ("put", ("PUT", map_path("put"), json, &[], bytes(&map("put", &hold, "now small")))),
        ("merged", ("PATCH", map_path("merged"), MERGE, &[], bytes(&small))),
        (
            "patched",
            ("PATCH", map_path("patched"), "application/json-patch+json", &[], {
                bytes(&json!([{"op": "add", "path": "/metadata/labels", "value": hold}]))
            }),
        ),
        ("strategic", ("PATCH", map_path("strategic"), "application/strategic-merge-patch+json", &[], bytes(&small))),
        (
            "applied",
            ("PATCH", apply("applied"), "application/apply-patch+yaml", &[], {
                bytes(&map("applied", &hold, &large()))
            }),
        ),
        ("new", ("PATCH", apply("new"), "application/apply-patch+yaml", &[], bytes(&map("new", &hold, &large())))),
        ("status", ("PATCH", format!("{THINGS}/status/status"), MERGE, &[], bytes(&json!({"status": {"n": 2}})))),
        ("scale", ("PATCH", format!("{THINGS}/scale/scale"), MERGE, &[], bytes(&json!({"spec": {"replicas": 2}})))),
        ("deleted", ("DELETE", map_path("deleted"), json, &[], Vec::new())),
    ]
}

/// Makes the large objects that [`costly_writes`] change.
async fn make_large(server: &Server) {
    for name in ["put", "merged", "patched", "strategic", "applied", "deleted"] {
        // A delete writes no label: the object has it before.
        let labels = if name == "deleted" { json!({"hold": "yes"}) } else { json!({}) };
        server.put_stored(&format!("/registry/core/configmaps/default/{name}"), map(name, &labels, &large())).await;
    }
    for name in ["status", "scale"] {
        let thing = thing(name, &json!({"hold": "yes"}), &large());
        server.put_stored(&format!("/registry/test.example/things/default/{name}"), thing).await;
    }
}

#[tokio::test]
async fn while_costly_writes_are_computed_everybody_else_is_answered() {
    let server = Arc::new(Server::start().await);
    make_large(&server).await;
    let costly = costly_writes();
    let names: Vec<&str> = costly.iter().map(|(name, _)| *name).collect();
    let begun: Vec<_> = costly.into_iter().map(|(_, ask)| server.begin(ask)).collect();
    server.gate.holds(AT_A_TIME).await;

    assert_eq!(server.ask("POST", MAPS, &map("small", &json!({}), "s")).await, 201);
    assert_eq!(server.ask("GET", &format!("{MAPS}/small"), &Value::Null).await, 200);
    assert_eq!(server.ask("PUT", &format!("{MAPS}/small"), &map("small", &json!({}), "t")).await, 200);
    assert_eq!(server.ask("DELETE", &format!("{MAPS}/small"), &Value::Null).await, 200);
    assert_eq!(server.ask("GET", "/readyz", &Value::Null).await, 200);
    assert!(begun.iter().all(|request| !request.is_finished()), "they are held");

    server.gate.open();
    for (name, request) in names.iter().zip(begun) {
        let (code, _) = request.await.unwrap();
        assert!(code == 200 || code == 201, "{name}: {code}");
    }
    let held = server.gate.state.lock();
    assert_eq!(held.most, AT_A_TIME, "few go on at a time");
    for name in names {
        assert!(held.elsewhere.contains_key(name), "{name} was computed elsewhere");
        assert!(!held.here.contains_key(name), "{name} held up the runtime");
    }
    assert_eq!(held.here["small"], 3, "what is small is computed where it is");
    assert!(!held.elsewhere.contains_key("small"));
}

#[tokio::test]
async fn a_computation_that_nobody_waits_for_keeps_its_place_until_it_ends_and_stores_nothing() {
    let server = Arc::new(Server::start().await);
    let held = |name: &str| map(name, &json!({"hold": "yes"}), &large()).to_string().into_bytes();
    let json = "application/json";
    let dropped = server.begin(("POST", MAPS.to_owned(), json, &[], held("dropped")));
    server.gate.holds(1).await;
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    let late = server.begin(("POST", format!("{MAPS}?timeout=1s"), json, &[], held("late")));
    assert_eq!(late.await.unwrap().0, 504, "the time limit holds");
    server.gate.holds(2).await;
    assert_eq!(server.computations().permits.available_permits(), AT_A_TIME - 2);

    server.gate.open();
    let all = server.computations().permits.acquire_many(AT_A_TIME as u32).await.unwrap();
    for name in ["dropped", "late"] {
        assert_eq!(server.ask("GET", &format!("{MAPS}/{name}"), &Value::Null).await, 404, "{name}");
    }
    drop(all);
}

#[tokio::test]
async fn a_costly_change_is_computed_again_when_somebody_wrote_meanwhile() {
    let server = Arc::new(Server::start().await);
    assert_eq!(server.ask("POST", MAPS, &map("a", &json!({}), &large())).await, 201);
    let path = format!("{MAPS}/a");
    let patch = json!({"metadata": {"labels": {"hold": "yes"}}}).to_string().into_bytes();
    let begun = server.begin(("PATCH", path.clone(), MERGE, &[], patch));
    server.gate.holds(1).await;
    let other = json!({"data": {"other": "1"}}).to_string().into_bytes();
    assert_eq!(server.send(("PATCH", path.clone(), MERGE, &[], other)).await.status(), 200);
    server.gate.open();
    assert_eq!(begun.await.unwrap().0, 200);
    let object = server.read(&path).await;
    assert_eq!((&object["data"]["other"], &object["metadata"]["labels"]["hold"]), (&json!("1"), &json!("yes")));
    assert_eq!(server.gate.state.lock().elsewhere["a"], 4, "the create, the patch, the other's, and the patch again");
}

#[tokio::test]
async fn costly_answers_and_bodies_wait_for_their_turn_and_others_do_not() {
    let server = Arc::new(Server::start().await);
    make_large(&server).await;
    assert_eq!(server.ask("POST", MAPS, &map("small", &json!({"a": "b"}), "s")).await, 201);
    let permits = server.computations().permits.clone();
    let all = permits.clone().acquire_many_owned(AT_A_TIME as u32).await.unwrap();
    let idle = Arc::strong_count(&permits);

    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": large()}}}).to_string();
    let get = |path: &str, headers: &'static [(http::HeaderName, &'static str)]| -> Ask<'static> {
        ("GET", path.to_owned(), "", headers, Vec::new())
    };
    let costly: Vec<Ask<'static>> = vec![
        get(MAPS, &[(ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io")]),
        get(&format!("{MAPS}?labelSelector=none%3Dhere"), &[]),
        get(&format!("{MAPS}?labelSelector=none%3Dhere&limit=5"), &[]),
        get(&format!("{MAPS}/put"), &[(ACCEPT, "application/yaml")]),
        get(&format!("{MAPS}/put"), &[(ACCEPT_ENCODING, "gzip")]),
        get(&format!("{MAPS}/put"), &[(ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io")]),
        get(&format!("{THINGS}/scale/scale"), &[]),
        get("/openapi/v2", &[]),
        get("/openapi/v3", &[]),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(), "application/json", &[], {
            review.into_bytes()
        }),
    ];
    let begun: Vec<_> = costly.into_iter().map(|ask| server.begin(ask)).collect();
    until("all wait in line", || Arc::strong_count(&permits) == idle + begun.len()).await;

    for path in [format!("{MAPS}/small"), format!("{MAPS}/put"), "/apis".to_owned()] {
        assert_eq!(server.ask("GET", &path, &Value::Null).await, 200, "{path}");
    }
    let small = server.send(get(&format!("{MAPS}/small"), &[(ACCEPT, "application/yaml")])).await;
    assert_eq!(small.status(), 200);
    let small = server.send(("GET", format!("{MAPS}/small"), "", &[(ACCEPT, table)], Vec::new())).await;
    assert_eq!(small.status(), 200);

    drop(all);
    let mut encodings = Vec::new();
    for request in begun {
        let (code, encoding) = request.await.unwrap();
        assert!(code == 200 || code == 201, "{code}");
        encodings.push(encoding);
    }
    assert_eq!(encodings[4], "gzip");
}
