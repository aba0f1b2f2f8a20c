//! What every request works with: the store, the kinds, and who may do what.

use std::path::PathBuf;

use jiff::Timestamp;
use nubium_store::AnyStore;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::access::{Admission, Authorizer, HostBounds, HostRoles, HostStatus, Policy};
use crate::computations::Computations;
use crate::kind::{self, Registry};

/// Server configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The time, for timestamps of objects and ages in tables.
    pub clock: fn() -> Timestamp,
    /// Namespaces that are there from the start.
    pub namespaces: Vec<String>,
    /// The store's file, whose size is measured.
    pub store_file: Option<PathBuf>,
    /// Fields of custom resources whose use is answered with a warning.
    pub field_warnings: Vec<FieldWarning>,
    /// What hosts may do.
    pub policy: Policy,
}

/// A field whose use is answered with a warning.
#[derive(Debug, Clone)]
pub struct FieldWarning {
    pub group: String,
    /// The plural name.
    pub resource: String,
    /// Where it is, such as `spec.nics[].address`: `[]` stands for every item of a list.
    pub path: String,
    pub text: String,
}

impl Default for Config {
    fn default() -> Self {
        let namespaces = ["default", "kube-system"].map(str::to_owned).to_vec();
        Self {
            clock: Timestamp::now,
            namespaces,
            store_file: None,
            field_warnings: Vec::new(),
            policy: Policy::default(),
        }
    }
}

/// What every request works with.
pub(crate) struct State {
    pub store: AnyStore,
    pub registry: Registry,
    pub config: Config,
    /// Decides before anything is read.
    pub authorizer: Box<dyn Authorizer>,
    /// Decide over a change as a whole, just before it is stored. All must agree.
    pub admission: Vec<Box<dyn Admission>>,
    pub computations: Computations,
    /// True once the server stops: watches end then.
    pub stopping: watch::Sender<bool>,
    /// Tasks that end with the server.
    tasks: Mutex<Vec<AbortHandle>>,
}

impl State {
    pub fn new(store: AnyStore, config: Config) -> Self {
        let Policy { rules, parts } = config.policy.clone();
        Self {
            store,
            registry: kind::registry(),
            config,
            authorizer: Box::new(HostRoles(rules)),
            admission: vec![Box::new(HostStatus(parts)), Box::new(HostBounds::default())],
            computations: Computations::default(),
            stopping: watch::Sender::new(false),
            tasks: Mutex::default(),
        }
    }

    /// Lets a task run only as long as the server.
    pub fn keep(&self, task: AbortHandle) {
        self.tasks.lock().push(task);
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.tasks.lock().iter().for_each(AbortHandle::abort);
    }
}
