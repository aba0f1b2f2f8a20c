//! `nubium down`: an admin's explicit act on this host. Stops what is ours, strangers included, and keeps the disks.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nubium_host::clock;
use nubium_host::libvirt::private::PrivateError;
use nubium_host::libvirt::{ChoiceError, Connection, Libvirt, LibvirtError};
use nubium_host::network::LinuxNetworks;
use nubium_host::qemu::{Holder, holders_below};

use crate::Config;
use crate::driver::private_libvirt;
use crate::network::{Netd, TeardownError, teardown};
use crate::purge::remove_tree;
use crate::server::{Stopped, stop_all, undefine_all};
use tokio::task::JoinError;

/// Why a host could not be taken down.
#[derive(Debug, thiserror::Error)]
pub enum DownError {
    #[error("find the libvirts that may have guests")]
    Choice(#[from] ChoiceError),
    #[error("start or stop the private libvirt")]
    Private(#[from] PrivateError),
    #[error("a thread was lost")]
    Thread(#[from] JoinError),
    #[error("stop the guests in {uri}")]
    Libvirt { uri: String, source: LibvirtError },
    #[error("look for processes that have files in {} open", path.display())]
    Look { path: PathBuf, source: io::Error },
    #[error("guests still run that no libvirt shows: {}", processes(.0))]
    Running(Vec<Holder>),
    #[error(transparent)]
    Network(#[from] TeardownError),
    #[error("remove {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
}

/// What was done to take a host down.
#[derive(Debug)]
pub struct Down {
    /// The guests that were stopped.
    pub stopped: Stopped,
    /// What is mounted in a folder of ours: it was left as it is.
    pub left: Vec<PathBuf>,
}

/// Stops every guest of ours, ends our helpers, and puts the machine's network back as it was. With `purge`, no file
/// of ours stays either. The agent itself has to be stopped before.
pub async fn down(config: &Config, timeout: Duration, purge: bool) -> Result<Down, DownError> {
    let mut stopped = Stopped::default();
    let private = private_libvirt(config);
    // Not only the one on record: an earlier Nubium may have left guests in the other.
    for libvirt in blocking(move || Libvirt::with_guests(private)).await?? {
        let Stopped { gracefully, hard } = stop_guests(&libvirt, timeout, purge).await?;
        stopped.gracefully.extend(gracefully);
        stopped.hard.extend(hard);
        blocking(move || libvirt.stop()).await??;
    }
    let path = config.state.clone();
    let left = blocking(move || holders_below(&[&path])).await?;
    let left = left.map_err(|source| DownError::Look { path: config.state.clone(), source })?;
    if !left.is_empty() {
        return Err(DownError::Running(left));
    }
    let links = LinuxNetworks::new(config.state.clone(), Duration::ZERO);
    let netd = Netd::new(&config.program, config.netd());
    teardown(&links, &netd).await?;
    let mut left = remove(&config.run)?;
    if purge {
        left.extend(remove(&config.state)?);
    }
    Ok(Down { stopped, left })
}

async fn stop_guests(libvirt: &Libvirt, timeout: Duration, purge: bool) -> Result<Stopped, DownError> {
    let ensured = libvirt.clone();
    blocking(move || ensured.ensure()).await??;
    let (connection, _) = Connection::new(libvirt);
    let failed = |source| DownError::Libvirt { uri: libvirt.uri(), source };
    let stopped = stop_all(&connection, timeout, clock::since_boot()).await.map_err(failed)?;
    if purge {
        undefine_all(&connection).await.map_err(failed)?;
    }
    Ok(stopped)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    tokio::task::spawn_blocking(work).await
}

fn processes(holders: &[Holder]) -> String {
    let each = |Holder { pid, file }: &Holder| format!("process {pid} has {} open", file.display());
    holders.iter().map(each).collect::<Vec<_>>().join(", ")
}

fn remove(path: &Path) -> Result<Vec<PathBuf>, DownError> {
    remove_tree(path).map_err(|source| DownError::Remove { path: path.to_owned(), source })
}
