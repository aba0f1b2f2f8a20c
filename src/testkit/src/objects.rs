//! A few objects behind a `kube::Client`, for tests of one pass: what the API server holds *now* can be changed after a
//! cache has read it, which is the case that decides whether something is destroyed.
//!
//! It lists, gets, patches status and swallows Events; a watch stays silent. It is no API server: it merges a status
//! field by field, and takes nothing away.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Value>,
    writes: Vec<Value>,
}

/// The objects, by path. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Objects(Arc<Mutex<State>>);

impl Objects {
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an object in place of the one that had its name.
    pub fn put(&self, object: impl serde::Serialize) {
        let object = serde_json::to_value(object).expect("objects of the API can be written as JSON");
        self.lock().objects.insert(path_of(&object), object);
    }

    /// Removes the object of that path, such as `/apis/nubium.dev/v1alpha1/namespaces/shop/volumes/web-1-root`.
    pub fn remove(&self, path: &str) {
        self.lock().objects.remove(path);
    }

    /// The status of the object of that path.
    pub fn status(&self, path: &str) -> Value {
        self.lock().objects.get(path).map(|object| object["status"].clone()).unwrap_or_default()
    }

    /// How many statuses were written.
    pub fn writes(&self) -> usize {
        self.lock().writes.len()
    }

    /// A client of them. Must be called within a Tokio runtime.
    pub fn client(&self) -> Client {
        let objects = self.clone();
        let service = tower::service_fn(move |request| {
            let objects = objects.clone();
            async move { Ok::<_, Infallible>(objects.answer(request).await) }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        if head.uri.query().unwrap_or_default().contains("watch=true") {
            let silence = StreamBody::new(stream::pending::<Result<http_body::Frame<Bytes>, Infallible>>());
            return Response::new(silence.boxed_unsync());
        }
        let sent = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let sent: Value = serde_json::from_slice(&sent).unwrap_or_default();
        let found = match head.method {
            Method::PATCH => self.patch(path.trim_end_matches("/status"), sent),
            Method::POST => Some(sent),
            _ => self.get(&path),
        };
        let (code, body) = match found {
            Some(object) => (200, object),
            None => (
                404,
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}),
            ),
        };
        let mut response = Response::new(Full::new(Bytes::from(body.to_string())).boxed_unsync());
        *response.status_mut() = http::StatusCode::from_u16(code).expect("a valid code");
        response
    }

    fn get(&self, path: &str) -> Option<Value> {
        let state = self.lock();
        let plural = path.rsplit('/').next().unwrap_or_default();
        let is_list = ["images", "volumes", "storagepools"].contains(&plural);
        if !is_list {
            return state.objects.get(path).cloned();
        }
        let ending = format!("/{plural}/");
        let items: Vec<&Value> =
            state.objects.iter().filter(|(at, _)| at.contains(&ending)).map(|(_, item)| item).collect();
        Some(json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}))
    }

    fn patch(&self, path: &str, sent: Value) -> Option<Value> {
        let mut state = self.lock();
        state.writes.push(sent.clone());
        let object = state.objects.get_mut(path)?;
        for (field, value) in sent["status"].as_object()? {
            match (field.as_str(), value.as_array()) {
                ("conditions", Some(entries)) => merge(&mut object["status"][field], entries, "type"),
                ("hosts", Some(entries)) => merge(&mut object["status"][field], entries, "name"),
                _ => object["status"][field] = value.clone(),
            }
        }
        Some(object.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn merge(into: &mut Value, entries: &[Value], key: &str) {
    let mut merged: Vec<Value> = into.as_array().cloned().unwrap_or_default();
    merged.retain(|old| entries.iter().all(|new| new[key] != old[key]));
    merged.extend(entries.iter().cloned());
    *into = Value::Array(merged);
}

fn path_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let plural = format!("{}s", text(&object["kind"]).to_lowercase());
    let (version, name) = (text(&object["apiVersion"]), text(&object["metadata"]["name"]));
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("/apis/{version}/namespaces/{namespace}/{plural}/{name}"),
        None => format!("/apis/{version}/{plural}/{name}"),
    }
}
