//! The real machine: libvirt, the kernel's networks, netd, folders as pools.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nubium_host::acceleration::{Acceleration, Probe};
use nubium_host::libvirt::private::{Layout, PrivateLibvirt};
use nubium_host::libvirt::{Connection, Libvirt, LibvirtError};
use nubium_host::network::LinuxNetworks;
use nubium_host::seed::SeedFiles;
use nubium_host::storage::image::{AddressPolicy, Folders, Rules};
use nubium_host::storage::{DirectoryPools, FileOwner};
use nubium_runtime::{Chain, Key, WarnOnce};
use tokio::sync::Mutex;
use tokio::sync::mpsc::Receiver;
use tracing::warn;
use uuid::Uuid;

use super::{Driver, Facts};
use crate::error::AgentError;
use crate::network::Netd;
use crate::{Config, host};

/// A libvirtd that is asked for its version answers at once, whatever else it does.
const PING_LIMIT: Duration = Duration::from_secs(15);
/// So often in a row the private libvirtd is asked in vain before it is replaced.
const PINGS: u32 = 3;

/// How old a look at the networks may be, so that passes that come together share one. Together with the time between two
/// passes it bounds how long a damage stays unseen.
const FRESH: Duration = Duration::from_millis(500);

/// This machine.
pub struct Linux {
    facts: Facts,
    libvirt: Libvirt,
    connection: Connection,
    events: Mutex<Receiver<Uuid>>,
    networks: LinuxNetworks,
    netd: Netd,
    pools: Arc<DirectoryPools>,
    warnings: WarnOnce,
    /// How often in a row libvirt did not answer a ping.
    unanswered: AtomicU32,
}

/// The private libvirt of this host, whether it runs or not.
pub(crate) fn private_libvirt(config: &Config) -> PrivateLibvirt {
    PrivateLibvirt::new(Layout::new(config.libvirt()), &config.program)
}

/// The libvirt of this host's guests, running where that is for us to do.
async fn open_libvirt(config: &Config) -> Result<Libvirt, AgentError> {
    let (private, record): (_, PathBuf) = (private_libvirt(config), config.libvirt_choice());
    let opened = tokio::task::spawn_blocking(move || {
        let libvirt = Libvirt::choose(private, &record)?;
        libvirt.ensure()?;
        Ok(libvirt)
    });
    opened.await?
}

impl Linux {
    /// Starts what is ours to start, and looks at what the machine is.
    pub async fn open(config: &Config) -> Result<Self, AgentError> {
        let libvirt = open_libvirt(config).await?;
        let name = described(&libvirt, &config.libvirt_choice());
        let away = |source| AgentError::Libvirt { libvirt: name.clone(), source };
        let (connection, events) = Connection::new(&libvirt);
        // Programs that are asked for their versions take their time, and so does the probe.
        let software = async { host::software().await.map_err(AgentError::Facts) };
        let (acceleration, software) = tokio::try_join!(find_acceleration(config), software)?;
        let facts = Facts {
            acceleration,
            capacity: host::capacity().map_err(AgentError::Facts)?,
            software,
            qemu: connection.qemu_ids().await.map_err(away)?,
            libvirt: name.clone(),
        };
        let rules = Rules {
            folders: Folders(config.image_dirs.clone()),
            fence: AddressPolicy { allow: config.image_http_allow.clone(), ..AddressPolicy::default() },
            ..Rules::default()
        };
        let allowed = [config.state.clone()].into_iter().chain(config.pool_dirs.clone()).collect();
        let owner = FileOwner { uid: facts.qemu.uid, gid: facts.qemu.gid };
        Ok(Self {
            pools: Arc::new(DirectoryPools::new(config.pools(), allowed, owner, rules)?),
            networks: LinuxNetworks::new(config.state.clone(), FRESH),
            netd: Netd::new(&config.program, config.netd()),
            events: Mutex::new(events),
            connection,
            libvirt,
            facts,
            warnings: WarnOnce::default(),
            unanswered: AtomicU32::new(0),
        })
    }
}

/// As the subject of a sentence that says that it is away: what is to be done about that is for its owner to do.
fn described(libvirt: &Libvirt, record: &Path) -> String {
    match libvirt {
        Libvirt::System => format!(
            "the host's own libvirt (qemu:///system; its administrator starts it, or, if it was removed and had no guest of \
             Nubium, deletes {}, which names it, and restarts nubium)",
            record.display()
        ),
        Libvirt::Private(_) => "the private libvirtd".to_owned(),
    }
}

async fn find_acceleration(config: &Config) -> Result<Acceleration, AgentError> {
    let mode = config.acceleration;
    Ok(tokio::task::spawn_blocking(move || Probe::default().find(mode)).await?)
}

impl Driver for Linux {
    type Domains = Connection;
    type Networks = LinuxNetworks;
    type Dhcp = Netd;
    type Pools = DirectoryPools;
    type Seeds = SeedFiles;

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn domains(&self) -> &Connection {
        &self.connection
    }

    fn networks(&self) -> &LinuxNetworks {
        &self.networks
    }

    fn dhcp(&self) -> &Netd {
        &self.netd
    }

    fn pools(&self) -> &Arc<DirectoryPools> {
        &self.pools
    }

    fn seeds(&self) -> &SeedFiles {
        &SeedFiles
    }

    async fn domain_event(&self) -> Uuid {
        match self.events.lock().await.recv().await {
            Some(uuid) => uuid,
            // The connection holds the other end for as long as the agent runs.
            None => std::future::pending().await,
        }
    }

    fn dhcp_died(&self) -> impl Future<Output = ()> + Send {
        self.netd.died()
    }

    async fn revive(&self) {
        let libvirt = self.libvirt.clone();
        let failed = match tokio::task::spawn_blocking(move || libvirt.ensure()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Chain(&error).to_string()),
            Err(error) => Some(error.to_string()),
        };
        let failed = failed.map(|error| format!("cannot start libvirtd again: {error}"));
        self.warnings.log(&Key::cluster("libvirtd"), failed.as_deref());
        self.replace_silent().await;
    }
}

impl Linux {
    /// Replaces a private libvirtd that runs and answers nothing. The administrator's is only reported.
    async fn replace_silent(&self) {
        let Libvirt::Private(private) = &self.libvirt else { return };
        match self.connection.ping(PING_LIMIT).await {
            Ok(()) => self.unanswered.store(0, Ordering::Relaxed),
            Err(LibvirtError::NoAnswer { .. }) if self.unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= PINGS => {
                self.unanswered.store(0, Ordering::Relaxed);
                warn!("libvirtd does not answer: replacing it; guests go on");
                let private = private.clone();
                let replaced = tokio::task::spawn_blocking(move || private.replace_silent()).await;
                if let Ok(Err(error)) = replaced {
                    warn!(error = %Chain(&error), "cannot replace libvirtd");
                }
            }
            // A libvirtd that is starting refuses connections.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_libvirt_that_is_away_is_named_with_the_file_that_chose_it_and_what_to_do() {
        let said = described(&Libvirt::System, Path::new("/var/lib/nubium/libvirt-choice"));
        for part in ["qemu:///system", "deletes /var/lib/nubium/libvirt-choice", "restarts nubium"] {
            assert!(said.contains(part), "{said}");
        }
    }
}
