//! The API server: starting it, and its background work.

use std::sync::Arc;

use nubium_store::AnyStore;

use crate::state::{Config, State};
use crate::{background, write};

/// The API server. Cheap to clone; all clones are the same server.
#[derive(Clone)]
pub struct ApiServer(pub(crate) Arc<State>);

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
        let state = Arc::new(State::new(store, config));
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

    /// Collects garbage, empties namespaces and definitions that go, forgets old events and old history. Runs until it
    /// is dropped; one server of a cluster is enough.
    pub async fn run_background(&self) {
        background::run(&self.0).await;
    }
}
