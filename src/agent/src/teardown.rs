//! `nubium down`: an admin's explicit act on this host. Stops what is ours, strangers included, and keeps the disks.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use nubium_host::libvirt::{Connection, LibvirtError};
use nubium_host::network::LinuxNetworks;

use crate::Config;
use crate::driver::open_libvirt;
use crate::network::{Netd, TeardownError, teardown};
use crate::run::AgentError;
use crate::server::{Stopped, stop_all, undefine_all};

/// Why a host could not be taken down.
#[derive(Debug, thiserror::Error)]
pub enum DownError {
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error("stop the guests")]
    Libvirt(#[from] LibvirtError),
    #[error(transparent)]
    Network(#[from] TeardownError),
    #[error("remove {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
}

/// Stops every guest of ours, ends our helpers, and puts the machine's network back as it was. With `purge`, no file
/// of ours stays either. The agent itself has to be stopped before.
pub async fn down(config: &Config, patience: Duration, purge: bool) -> Result<Stopped, DownError> {
    let mut stopped = Stopped::default();
    let system = std::path::Path::new("/run/libvirt/libvirt-sock").exists();
    // A private libvirt that was never started here has no guests; it is not started only to be stopped.
    if config.libvirt().exists() || system {
        let libvirt = open_libvirt(config).await?;
        let (connection, _) = Connection::new(libvirt.uri());
        stopped = stop_all(&connection, patience, Timestamp::now().as_second()).await?;
        if purge {
            undefine_all(&connection).await?;
        }
        drop(connection);
        let stop = tokio::task::spawn_blocking(move || libvirt.stop());
        stop.await.map_err(AgentError::from)?.map_err(AgentError::from)?;
    }
    let links = LinuxNetworks::new(config.state.clone());
    let netd = Netd::new(&config.program, config.netd());
    teardown(&links, &netd).await?;
    remove(&config.run)?;
    if purge {
        remove(&config.state)?;
    }
    Ok(stopped)
}

fn remove(path: &PathBuf) -> Result<(), DownError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DownError::Remove { path: path.clone(), source: error })
        }
        _ => Ok(()),
    }
}
