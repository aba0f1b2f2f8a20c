//! netd: DHCP for every Network of a host, in one small process of its own.
//!
//! It is not the agent: it goes on answering while the agent and the control plane are restarted, replaced or gone,
//! so a guest's lease never depends on them. All it knows is one file, which the agent replaces atomically; after
//! each reading it says in a status file beside it which revision it serves. Every address is decided elsewhere:
//! netd has only static leases, keeps nothing, and may be killed at any time.
//!
//! ```text
//!  agent ── netd.json ──▶ netd ── packet socket on br0, one per Network's namespace ── guests
//!        ◀─ netd.status.json ─┘
//! ```
//! What guests send is hostile. One socket a Network, with a filter in the kernel; each packet is looked at alone;
//! nothing that a guest says is remembered or logged.

mod answer;
mod config;
mod dhcp;
mod packet;
mod request;
mod serve;
mod socket;
mod status;
mod unchanged;

use std::path::{Path, PathBuf};

use nubium_process::{Lock, LockError};

pub use config::{Config, ConfigError, Lease, Mac, Network};
pub use dhcp::{Dhcp, DhcpError, DhcpSeen};
pub use status::{Served, Status};
pub use unchanged::UnchangedFile;

/// Why netd stopped. It never stops by itself while it can serve something.
#[derive(Debug, thiserror::Error)]
pub enum NetdError {
    #[error("cannot lock {path}")]
    Lock { path: PathBuf, source: std::io::Error },
    #[error("another netd serves {path}")]
    Taken { path: PathBuf },
    #[error("cannot watch {path}")]
    Watch { path: PathBuf, source: std::io::Error },
    #[error("cannot wait for packets")]
    Wait(#[source] std::io::Error),
}

/// The process: serves what `config` says until it is killed. The lock and the status are files beside it.
pub fn main(config: &Path) -> Result<(), NetdError> {
    let path = pid_path(config);
    let _held = Lock::take(&path).map_err(|error| match error {
        LockError::Taken(_) => NetdError::Taken { path },
        LockError::File(source) => NetdError::Lock { path, source },
    })?;
    serve::run(config)
}

/// Where a running netd keeps its process id, locked.
pub fn pid_path(config: &Path) -> PathBuf {
    config.with_extension("pid")
}

/// Where netd says what it serves.
pub fn status_path(config: &Path) -> PathBuf {
    config.with_extension("status.json")
}
