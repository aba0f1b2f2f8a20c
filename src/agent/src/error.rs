//! Why an agent does not start.

use std::io;
use std::path::PathBuf;

use nubium_host::libvirt::private::PrivateError;
use nubium_host::libvirt::{ChoiceError, LibvirtError};
use nubium_host::storage::sandbox::SandboxError;
use tokio::task::JoinError;

use crate::endpoint::EndpointError;

/// Why an agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("make the folder {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("leave the mark {}", path.display())]
    Mark { path: PathBuf, source: io::Error },
    #[error("find out which libvirt has this host's guests")]
    Choice(#[from] ChoiceError),
    #[error("start the private libvirt")]
    Private(#[from] PrivateError),
    #[error("{libvirt} does not answer")]
    Libvirt { libvirt: String, source: LibvirtError },
    #[error("prepare qemu-img")]
    Sandbox(#[from] SandboxError),
    #[error("read what the machine has")]
    Facts(#[source] io::Error),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("a thread of the agent was lost")]
    Thread(#[from] JoinError),
}
