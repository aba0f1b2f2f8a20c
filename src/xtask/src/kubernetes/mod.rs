//! A real Kubernetes control plane on loopback: kube-apiserver over etcd, and a controller manager for what our API
//! server does by itself (garbage collection, namespace deletion). No nodes: it is there to show that Nubium needs
//! nothing but the Kubernetes API, and for its answers to be compared with ours.
//!
//! Everything is under one folder, and is there for the next look:
//! ```text
//! kubeconfig                  the admin's
//! ca.crt  ca.key              whoever it signs is let in; CN is the user, O the groups (agents' certificates)
//! apiserver/  etcd/           what they keep
//! *.log  processes
//! ```

mod certificates;
mod programs;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::command;
use crate::detached::{self, Started, until};
use crate::packages;
use crate::peers::{self, Peer};

pub use certificates::Pair;

const START_TIMEOUT: Duration = Duration::from_secs(120);

/// A running control plane.
#[derive(Debug, Clone)]
pub struct Kubernetes {
    folder: PathBuf,
    /// The API server's port on loopback.
    pub port: u16,
}

impl Kubernetes {
    /// Builds what is missing (see [`peers`]), and starts a control plane in `folder`, on free ports. It runs on when we
    /// end, until [`down`]. One that runs in the folder already is stopped first; its data stays.
    ///
    /// # Errors
    /// When it cannot be built or does not become ready; then what was started is stopped again.
    pub fn up(folder: &Path) -> Result<Self> {
        packages::ensure(&[packages::KUBERNETES])?;
        let peers = peers::default_folder();
        peers::build(&peers, &Peer::CONTROL_PLANE)?;
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let folder = fs::canonicalize(folder).with_context(|| format!("find {}", folder.display()))?;
        down(&folder)?;
        let [port, etcd_client, etcd_peer] = free_ports()?;
        let kubernetes = Self { folder, port };
        let ready = kubernetes.start(&peers, etcd_client, etcd_peer);
        if ready.is_err() {
            down(&kubernetes.folder)?;
        }
        ready.map(|()| kubernetes)
    }

    /// The admin's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        kubeconfig(&self.folder)
    }

    /// The authority of the API server's, the clients' and the hosts' certificates.
    pub fn authority(&self) -> PathBuf {
        certificates::authority(&self.folder).certificate
    }

    /// The admin's certificate and key.
    pub fn admin(&self) -> Pair {
        certificates::admin(&self.folder)
    }

    /// What the agent of a host is given: its certificate and key, and a kubeconfig that uses them.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn host(&self, name: &str) -> Result<(Pair, PathBuf)> {
        let pair = certificates::host(&self.folder, name)?;
        let kubeconfig = self.folder.join(format!("host-{name}.kubeconfig"));
        certificates::write_kubeconfig(&self.folder, &self.url(), &kubeconfig, &pair)?;
        Ok((pair, kubeconfig))
    }

    /// The processes' names and ids.
    pub fn processes(&self) -> Vec<(String, u32)> {
        detached::running(&self.folder)
    }

    /// Stops it; its data stays.
    ///
    /// # Errors
    /// When one of its processes does not end.
    pub fn down(&self) -> Result<()> {
        down(&self.folder)
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    fn start(&self, peers: &Path, etcd_client: u16, etcd_peer: u16) -> Result<()> {
        let Self { folder, port } = self;
        certificates::make(folder)?;
        let mut started = Started::new(folder);

        let etcd = format!("http://127.0.0.1:{etcd_client}");
        started.start(&peers::binary(peers, Peer::Etcd), &programs::etcd(folder, &etcd, etcd_peer))?;
        until("etcd", START_TIMEOUT, || programs::healthy(&format!("{etcd}/health"), None))?;

        let apiserver = peers::binary(peers, Peer::KubeApiserver);
        started.start(&apiserver, &programs::apiserver(folder, &etcd, *port))?;
        let url = self.url();
        until("kube-apiserver", START_TIMEOUT, || programs::healthy(&format!("{url}/readyz"), Some(folder)))?;
        certificates::write_kubeconfig(folder, &url, &self.kubeconfig(), &certificates::admin(folder))?;

        let manager = peers::binary(peers, Peer::KubeControllerManager);
        let [manager_port] = free_ports()?;
        started.start(&manager, &programs::controller_manager(folder, &self.kubeconfig(), manager_port))?;
        let manager_url = format!("https://127.0.0.1:{manager_port}/healthz");
        until("kube-controller-manager", START_TIMEOUT, || programs::healthy(&manager_url, None))
    }
}

/// The admin's kubeconfig of the control plane in a folder.
pub fn kubeconfig(folder: &Path) -> PathBuf {
    folder.join("kubeconfig")
}

/// Stops the control plane that was started in this folder, if it runs. Its data stays.
///
/// # Errors
/// When one of its processes does not end.
pub fn down(folder: &Path) -> Result<()> {
    detached::stop_all(folder)
}

/// `cargo xtask kubernetes up`.
///
/// # Errors
/// See [`Kubernetes::up`].
pub fn up_and_print(folder: &Path) -> Result<()> {
    let kubernetes = command::step("start Kubernetes", || Kubernetes::up(folder))?;
    println!("export KUBECONFIG={}", kubernetes.kubeconfig().display());
    Ok(())
}

/// Ports of loopback that nobody listens on now.
fn free_ports<const COUNT: usize>() -> Result<[u16; COUNT]> {
    let mut held = Vec::new();
    for _ in 0..COUNT {
        held.push(TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?);
    }
    let mut ports = [0; COUNT];
    for (port, socket) in ports.iter_mut().zip(&held) {
        *port = socket.local_addr().context("find a free port")?.port();
    }
    Ok(ports)
}
