//! A server of ours on a free port, and a plain HTTPS client.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test binary uses its part of this, and a panic is a failed test"
)]

pub mod gate;
pub mod peer;

use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use nubium_apiserver::{ApiServer, Authority, Config, Identity, Policy};
use nubium_store::{AnyStore, SqliteStore};
use reqwest::{Certificate, Client, Method};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use gate::Gate;

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub code: u16,
    pub warnings: Vec<String>,
    pub content_type: String,
    pub text: String,
}

impl Answer {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// A watch's body: one JSON value a line.
    pub fn lines(&self) -> Vec<Value> {
        self.text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

/// Somebody who talks to a server.
#[derive(Clone)]
pub struct Caller {
    pub client: Client,
    pub url: String,
    pub token: Option<String>,
}

impl Caller {
    /// Sends one request; `body` goes out as JSON text, or as it is when it is a string.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
        let bytes = body.map(|body| match body {
            Value::String(text) => text.clone().into_bytes(),
            body => body.to_string().into_bytes(),
        });
        self.send_bytes(method, path, headers, bytes).await
    }

    pub async fn send_bytes(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.unwrap();
        let headers = response.headers();
        let text = |name: &str| headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned());
        let (warnings, content_type) = (text("warning").collect(), text("content-type").next().unwrap_or_default());
        let code = response.status().as_u16();
        let text = response.text().await.unwrap();
        Answer { code, warnings, content_type, text }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], Some(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, &[("content-type", "application/json")], Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], None).await
    }

    pub async fn merge(&self, path: &str, patch: &Value) -> Answer {
        self.send("PATCH", path, &[("content-type", "application/merge-patch+json")], Some(patch)).await
    }

    pub async fn apply(&self, path: &str, config: &Value) -> Answer {
        self.send("PATCH", path, &[("content-type", "application/apply-patch+yaml")], Some(config)).await
    }
}

/// Installs the one TLS provider.
pub fn tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// A server of ours, with its background work; ends when dropped.
pub struct Ours {
    pub server: ApiServer,
    pub admin: Caller,
    pub store: AnyStore,
    pub folder: TempDir,
    authority: Authority,
    _tasks: JoinSet<()>,
}

impl Ours {
    pub async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    pub async fn start_with(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let gate = Gate::new(SqliteStore::open(&folder.path().join("store.db")).unwrap());
        Self::over(gate, folder, config).await
    }

    /// A server that knows what our hosts may do.
    pub async fn with_hosts() -> Self {
        let policy = Policy::of(&nubium_api::contract::host_policy()).unwrap();
        Self::start_with(Config { policy, ..Config::default() }).await
    }

    /// A server, and the gate of its store.
    pub async fn gated() -> (Self, Gate) {
        let folder = tempfile::tempdir().unwrap();
        let gate = Gate::new(SqliteStore::open(&folder.path().join("store.db")).unwrap());
        (Self::over(gate.clone(), folder, Config::default()).await, gate)
    }

    /// A server over the store in `folder`.
    pub async fn over(gate: Gate, folder: TempDir, config: Config) -> Self {
        tls();
        let store = AnyStore::new(gate);
        let server = ApiServer::start(store.clone(), config).await.unwrap();
        let authority = Authority::new("test").unwrap();
        let pair = authority.server(&["127.0.0.1".to_owned()]).unwrap();
        let tls = authority.server_config(&pair).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        let (serving, working) = (server.clone(), server.clone());
        tasks.spawn(async move { serving.serve_tls(listener, tls, std::future::pending()).await.unwrap() });
        tasks.spawn(async move { working.run_background().await });
        let admin = caller(&authority, &url, Some(&Identity::admin("admin")));
        Self { server, admin, store, folder, authority, _tasks: tasks }
    }

    /// A caller with a certificate of this identity, or with none.
    pub fn caller(&self, identity: Option<&Identity>) -> Caller {
        caller(&self.authority, &self.admin.url, identity)
    }

    /// Writes a kubeconfig for the admin.
    pub fn kubeconfig(&self) -> std::path::PathBuf {
        let folder = self.folder.path();
        let pair = self.authority.client(&Identity::admin("admin")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        write("ca.crt", &self.authority.pem().certificate);
        write("admin.crt", &pair.certificate);
        write("admin.key", &pair.key);
        let (at, url) = (folder.display(), &self.admin.url);
        write(
            "kubeconfig",
            &format!(
                "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
                 contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
                 clusters: [{{name: c, cluster: {{server: '{url}', certificate-authority: {at}/ca.crt}}}}]\n\
                 users: [{{name: u, user: {{client-certificate: {at}/admin.crt, client-key: {at}/admin.key}}}}]\n"
            ),
        );
        folder.join("kubeconfig")
    }
}

fn caller(authority: &Authority, url: &str, identity: Option<&Identity>) -> Caller {
    let mut client = Client::builder()
        .tls_certs_only([Certificate::from_pem(authority.pem().certificate.as_bytes()).unwrap()])
        .user_agent("parity/1.0")
        .timeout(Duration::from_secs(60));
    if let Some(identity) = identity {
        let pair = authority.client(identity).unwrap();
        let pem = format!("{}{}", pair.certificate, pair.key);
        client = client.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
    }
    Caller { client: client.build().unwrap(), url: url.to_owned(), token: None }
}

/// Waits until `check` answers true, or fails after a while.
pub async fn eventually<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    for _ in 0..600 {
        if check().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never happened: {what}");
}

/// Nubium's own definitions, as they are generated.
pub fn definitions() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()).collect()
}
