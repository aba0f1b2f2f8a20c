//! What an agent asks of a host's DHCP, as a trait, so that a whole host can be simulated. The agent has the real one,
//! which writes the file and keeps the process alive.

use std::{future::Future, path::PathBuf};

use crate::config::{ConfigError, Network};

/// What netd does for one Network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DhcpSeen {
    /// Whether a netd runs (and is the program it should be).
    pub running: bool,
    /// What its file says of this Network.
    pub configured: Option<Network>,
    /// The namespace that it really listens in, by the kernel's number, for the file as it is now.
    pub serving: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum DhcpError {
    #[error("netd's files cannot be used")]
    File(#[from] ConfigError),
    #[error("cannot ask whether netd runs: {path}")]
    Lock { path: PathBuf, source: std::io::Error },
    #[error("cannot start netd: {exe}")]
    Start { exe: PathBuf, source: std::io::Error },
    #[error("netd did not begin to serve within {0:?}; its log is beside its file")]
    NotStarted(std::time::Duration),
    #[error("netd ended as soon as it was started ({said}); its log is {}", log.display())]
    Ended { said: String, log: PathBuf },
    #[error("netd did not take over revision {revision} within {within:?}")]
    NotAcknowledged { revision: u64, within: std::time::Duration },
    #[error("cannot stop netd")]
    Stop(#[source] std::io::Error),
}

/// A host's DHCP. Namespaces are named as under `/run/netns`. Every change may be repeated.
pub trait Dhcp: Send + Sync {
    fn look(&self, namespace: &str) -> impl Future<Output = Result<DhcpSeen, DhcpError>> + Send;
    /// Starts netd if none runs, and replaces one of another version.
    fn start(&self) -> impl Future<Output = Result<(), DhcpError>> + Send;
    /// Serves a Network by this configuration, instead of the one before; returns when netd has taken it over.
    fn serve(&self, network: &Network) -> impl Future<Output = Result<(), DhcpError>> + Send;
    /// Serves it no more; returns when netd has closed all it held in the namespace, or is dead.
    fn forget(&self, namespace: &str) -> impl Future<Output = Result<(), DhcpError>> + Send;
    /// Ends netd.
    fn stop(&self) -> impl Future<Output = Result<(), DhcpError>> + Send;
}
