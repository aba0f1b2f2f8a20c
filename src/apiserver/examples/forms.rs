//! How long lists take in each form: `cargo run --release -p nubium-apiserver --example forms`.
//!
//! Lists 10,000 ConfigMaps of 1 kB and 5,000 Servers inside this process, whole and by kubectl's pages of 500, as a plain
//! list, as metadata alone and as a table.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use nubium_apiserver::{ApiServer, Config, Identity, RouterService};
use nubium_store::{AnyStore, Expect, SqliteStore};
use serde_json::{Value, json};
use tower::Service as _;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How often each list is made; the median counts.
const TIMES: usize = 21;
const FORMS: [(&str, &str); 3] = [
    ("plain", "application/json"),
    ("metadata", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"),
    ("table", "application/json;as=Table;v=v1;g=meta.k8s.io"),
];

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let store = AnyStore::new(SqliteStore::open(&folder.path().join("store.db"))?);
    let server = ApiServer::start(store.clone(), Config::default()).await?;
    let admin = server.router_service().acting_as(Identity::admin("admin"));
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../crds/servers.yaml"))?;
    let definition: Value = serde_saphyr::from_str(&text)?;
    post(&admin, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await?;

    let maps = "/api/v1/namespaces/default/configmaps";
    post(&admin, maps, &json!({"metadata": {"name": "m"}, "data": {"text": "x".repeat(700)}})).await?;
    copy(&store, "/registry/core/configmaps/default/", "m", 10_000).await?;
    let servers = "/apis/nubium.dev/v1alpha1/namespaces/default/servers";
    let spec = json!({"flavor": "small", "disks": [{"name": "root", "image": "debian-12", "size": "10Gi"}],
        "nics": [{"name": "eth0", "network": "default"}]});
    let status = json!({"host": "rack-1", "addresses": [{"name": "eth0", "network": "default",
        "address": "10.77.0.2", "macAddress": "52:54:00:00:00:01"}], "conditions": [
        {"type": "Ready", "status": "True", "reason": "Running", "message": "the guest runs",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}]});
    let object =
        json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "Server", "metadata": {"name": "s"}, "spec": spec});
    post(&admin, servers, &object).await?;
    let status = json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "Server", "status": status});
    let path = format!("{servers}/s/status?fieldManager=agent&fieldValidation=Ignore");
    send(&admin, "PATCH", &path, "application/merge-patch+json", status.to_string()).await?;
    copy(&store, "/registry/nubium.dev/servers/default/", "s", 5_000).await?;

    for (name, path) in [("10,000 ConfigMaps", maps), ("5,000 Servers", servers)] {
        for (page, query) in [("all", ""), ("500", "?limit=500")] {
            for (form, accept) in FORMS {
                let (took, size) = list(&admin, &format!("{path}{query}"), accept).await?;
                println!("{name:>18}, {page:>3}, {form:>8}: {:>8.2} ms, {size:>9} bytes", took.as_secs_f64() * 1e3);
            }
        }
    }
    Ok(())
}

/// Stores `count` copies of an object under other names.
async fn copy(store: &AnyStore, prefix: &str, name: &str, count: usize) -> Result<()> {
    let object = store.get(&format!("{prefix}{name}")).await?.object.ok_or("the object was made")?;
    let text = std::str::from_utf8(&object.value)?;
    for number in 1..count {
        let copied = text.replacen(&format!("\"name\":\"{name}\""), &format!("\"name\":\"{name}-{number}\""), 1);
        store.write(&format!("{prefix}{name}-{number}"), Expect::Absent, Some(copied.into()), None).await?;
    }
    Ok(())
}

async fn post(admin: &RouterService, path: &str, body: &Value) -> Result<()> {
    send(admin, "POST", path, "application/json", body.to_string()).await
}

async fn send(admin: &RouterService, method: &str, path: &str, form: &str, body: String) -> Result<()> {
    let request =
        Request::builder().method(method).uri(path).header(CONTENT_TYPE, form).body(Full::<Bytes>::from(body))?;
    let response = admin.clone().call(request).await?;
    let status = response.status();
    let text = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    if status.is_success() { Ok(()) } else { Err(String::from_utf8_lossy(&text).into_owned().into()) }
}

/// The median time of a list, and its size.
async fn list(admin: &RouterService, path: &str, accept: &str) -> Result<(Duration, usize)> {
    let (mut times, mut size) = (Vec::new(), 0);
    for _ in 0..TIMES {
        let request = Request::builder().uri(path).header(ACCEPT, accept).body(Full::<Bytes>::default())?;
        let begun = Instant::now();
        let response = admin.clone().call(request).await?;
        size = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes().len();
        times.push(begun.elapsed());
    }
    times.sort();
    Ok((times[TIMES / 2], size))
}
