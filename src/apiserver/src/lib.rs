//! The Kubernetes API over a store and schemas. Kinds are data.
//!
//! ```text
//!            TLS, HTTP/1.1 and 2 ─┐
//!  callers in this process ───────┴▶ handle ▶ target, options ▶ access ▶ kind ─▶ read  (get, list, watch; tables)
//!                                                                 ▲           └▶ write (create, update, patch, delete)
//!                                    registry ── definitions ─────┘                  │ schema: prune, default, own, check
//!                                                                                    ▼
//!  background: garbage, namespaces, definitions, old events ◀── watch ────────────── store
//! ```
//! It knows none of Nubium's kinds: those come as CustomResourceDefinitions, like any user's. The built-in kinds are
//! described in `data/`. What is not there answers as Kubernetes does.

mod access;
mod background;
mod call;
mod discovery;
mod failure;
mod http;
mod kind;
mod metrics;
mod object;
mod openapi;
mod pages;
mod protobuf;
mod read;
mod trace;
mod write;

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use nubium_store::AnyStore;

pub use access::{ADMINS, HOSTS, Identity};
pub use failure::{Failure, Subject};
pub use http::body::{Body, BoxError};
pub use http::pki::{Authority, Pair, PkiError};
pub use http::service::RouterService;

/// A server's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The time, for timestamps of objects and ages in tables.
    pub clock: fn() -> Timestamp,
    /// Namespaces that are there from the start.
    pub namespaces: Vec<String>,
    /// The store's file, whose size is measured.
    pub store_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        let namespaces = ["default", "kube-system"].map(str::to_owned).to_vec();
        Self { clock: Timestamp::now, namespaces, store_file: None }
    }
}

/// The API server. Cheap to clone; all clones are the same server.
#[derive(Clone)]
pub struct ApiServer(pub(crate) Arc<State>);

/// What every request works with.
pub(crate) struct State {
    pub store: AnyStore,
    pub registry: kind::Registry,
    pub config: Config,
    /// True once the server stops: watches end then.
    pub stopping: tokio::sync::watch::Sender<bool>,
    /// Tasks that end with the server.
    tasks: parking_lot::Mutex<Vec<tokio::task::AbortHandle>>,
}

impl State {
    /// Lets a task run only as long as the server.
    pub fn keep(&self, task: tokio::task::AbortHandle) {
        self.tasks.lock().push(task);
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.tasks.lock().iter().for_each(tokio::task::AbortHandle::abort);
    }
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the store cannot be read")]
    Store(#[from] nubium_store::Error),
    #[error("the namespace {name} cannot be made: {message}")]
    Namespace { name: String, message: String },
}

impl ApiServer {
    /// A server over `store`: reads the definitions, makes the first namespaces, follows the definitions from then on.
    /// Must be called inside a tokio runtime.
    pub async fn start(store: AnyStore, config: Config) -> Result<Self, StartError> {
        let state = Arc::new(State {
            store,
            registry: kind::Registry::new(),
            config,
            stopping: tokio::sync::watch::Sender::new(false),
            tasks: parking_lot::Mutex::default(),
        });
        background::follow_definitions(&state).await?;
        let server = Self(state);
        for name in &server.0.config.namespaces {
            write::ensure_namespace(&server.0, name).await.map_err(|failure| StartError::Namespace {
                name: name.clone(),
                message: failure.message().to_owned(),
            })?;
        }
        Ok(server)
    }

    /// The API as a service for callers in this process; say who calls with [`RouterService::acting_as`].
    pub fn router_service(&self) -> RouterService {
        RouterService::new(self.clone())
    }

    /// Collects garbage, empties namespaces and definitions that go, forgets old events and old history. Runs until it
    /// is dropped; one server of a cluster is enough.
    pub async fn run_background(&self) {
        background::run(&self.0).await;
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
