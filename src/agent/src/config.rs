//! The agent's configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};
use nubium_host::acceleration::Mode;

use crate::endpoint::Identity;

/// The agent's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// This Host's name.
    pub host: String,
    /// Where what must survive a reboot is kept, such as `/var/lib/nubium`.
    pub state: PathBuf,
    /// Where what must not survive a reboot is kept, such as `/run/nubium`.
    pub run: PathBuf,
    /// The program that becomes netd and libvirt's reaper.
    pub program: PathBuf,
    /// The folders that Images may name files of.
    pub image_dirs: Vec<PathBuf>,
    /// The folders below which StoragePools may be, beside the state folder.
    pub pool_dirs: Vec<PathBuf>,
    /// Ranges that Images may be fetched from although they are the host's own or link-local.
    pub image_http_allow: Vec<IpNet>,
    /// Where the addresses between the host and its Networks come from.
    pub transit: Ipv4Net,
    /// Where the cloud's API server is, if not on this machine.
    pub api_server: Vec<Ipv4Addr>,
    /// How guests shall be run.
    pub acceleration: Mode,
    /// The agent's own door, if it has one.
    pub door: Option<EndpointConfig>,
}

impl Config {
    /// The folder of a private libvirt.
    pub fn libvirt(&self) -> PathBuf {
        self.state.join("libvirt")
    }

    /// The file that says which libvirt has this host's guests.
    pub fn libvirt_choice(&self) -> PathBuf {
        self.state.join("libvirt-choice")
    }

    /// The folder with a folder for each Server.
    pub fn servers(&self) -> PathBuf {
        self.state.join("servers")
    }

    /// The folder of the pools that name none.
    pub fn pools(&self) -> PathBuf {
        self.state.join("pools")
    }

    /// The mark of an agent that ran here since the machine was booted or taken down.
    pub fn mark(&self) -> PathBuf {
        self.run.join("agent")
    }

    /// netd's file.
    pub fn netd(&self) -> PathBuf {
        self.run.join("netd.json")
    }
}

/// Where the agent answers for consoles and streams, and as whom.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where clients reach it, as the Host's status says.
    pub advertise: String,
    /// Its certificate, and the CA of its clients.
    pub identity: Identity,
}
