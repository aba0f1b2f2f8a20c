//! What can go wrong with a libvirt of our own, one variant an operation.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;

/// Why the private libvirt could not be started, found or stopped.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    #[error("cannot read the machine's users")]
    Users(#[source] Errno),
    #[error("this machine has no user for QEMU (libvirt-qemu or qemu): install its libvirt package")]
    NoQemuUser,
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot lock {}", path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("cannot start {program}")]
    Start { program: String, source: io::Error },
    #[error("cannot make a mount namespace of our own")]
    Unshare(#[source] Errno),
    #[error("cannot mount {} over {}", from.display(), over.display())]
    Mount { from: PathBuf, over: PathBuf, source: Errno },
    #[error("cannot set up the reaper: {what}")]
    Setup { what: &'static str, source: Errno },
    #[error("libvirtd did not answer on {} within {waited:?}; see {}", socket.display(), log.display())]
    Silent { socket: PathBuf, log: PathBuf, waited: Duration },
    #[error("cannot stop process {pid} of the private libvirt")]
    Stop { pid: u32, source: io::Error },
}
