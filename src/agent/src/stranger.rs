//! Strangers: guests with our record on this host and no object in the API. The agent leaves them alone and names them; an
//! administrator ends one here.
//!
//! What is one is decided by live looks only: libvirt's own list, and a GET of each Server in a cloud that knows this Host.
//! Another cloud's API server has none of our Servers, and would make a stranger of each guest.

use std::time::Duration;

use kube::{Api, Client};
use nubium_api::{Host, Server};
use nubium_host::clock;
use nubium_host::libvirt::private::PrivateError;
use nubium_host::libvirt::{
    ChoiceError, Connection, DomainList, DomainRecord, DomainState, Domains, Libvirt, LibvirtError,
};
use nubium_host::seed::{SeedError, SeedFiles, Seeds};
use nubium_runtime::{Live, live_get};
use tokio::task::JoinError;
use uuid::Uuid;

use crate::Config;
use crate::driver::private_libvirt;
use crate::server::{Stopped, server_folder, stop_one};

/// Why strangers could not be listed, or one not ended.
#[derive(Debug, thiserror::Error)]
pub enum StrangerError {
    #[error("find the libvirts that may have guests")]
    Choice(#[from] ChoiceError),
    #[error("start the private libvirt")]
    Private(#[from] PrivateError),
    #[error("a thread was lost")]
    Thread(#[from] JoinError),
    #[error("ask {uri}")]
    Libvirt { uri: String, source: LibvirtError },
    #[error("get {what} from the API server")]
    Get { what: String, source: kube::Error },
    #[error(
        "this cloud has no Host {0}: name the kubeconfig of this host's cloud with --kubeconfig, and its name with --host"
    )]
    OtherCloud(String),
    #[error("remove the folder of the guest's seed and console log")]
    Folder(#[from] SeedError),
}

/// A guest of ours.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The domain's name.
    pub domain: String,
    /// What its Server was.
    pub record: DomainRecord,
    /// Whether its QEMU is there.
    pub active: bool,
    libvirt: Libvirt,
}

/// What became of the look at a host's guests.
#[derive(Debug, Default)]
pub struct Guests {
    pub guests: Vec<Guest>,
    /// Domains of ours whose record cannot be read, by name.
    pub unreadable: Vec<String>,
}

/// All guests of ours on this host, whether they have an object or not.
pub async fn guests(config: &Config) -> Result<Guests, StrangerError> {
    let private = private_libvirt(config);
    let mut all = Guests::default();
    for libvirt in tokio::task::spawn_blocking(move || Libvirt::with_guests(private)).await?? {
        let ensured = libvirt.clone();
        tokio::task::spawn_blocking(move || ensured.ensure()).await??;
        let (connection, _) = Connection::new(&libvirt);
        let listed = connection.list().await;
        let DomainList { seen, unreadable } =
            listed.map_err(|source| StrangerError::Libvirt { uri: libvirt.uri(), source })?;
        all.guests.extend(seen.into_iter().filter_map(|domain| {
            let record = domain.owner.filter(|owner| owner.uid == domain.uuid)?;
            let active = !matches!(domain.state, DomainState::Off(_));
            Some(Guest { domain: domain.name, record, active, libvirt: libvirt.clone() })
        }));
        all.unreadable.extend(unreadable.into_iter().filter(|domain| domain.ours).map(|domain| domain.name));
    }
    Ok(all)
}

/// Of these guests, those whose Server, looked for live by its UID, is no more.
pub async fn without_object(client: &Client, host: &str, guests: Vec<Guest>) -> Result<Vec<Guest>, StrangerError> {
    let failed = |what: String| move |source| StrangerError::Get { what, source };
    let hosts: Api<Host> = Api::all(client.clone());
    if hosts.get_opt(host).await.map_err(failed(format!("Host {host}")))?.is_none() {
        return Err(StrangerError::OtherCloud(host.to_owned()));
    }
    let mut strangers = Vec::new();
    for guest in guests {
        let DomainRecord { namespace, name, uid, .. } = &guest.record;
        let servers: Api<Server> = Api::namespaced(client.clone(), namespace);
        match live_get(&servers, name, &uid.to_string()).await.map_err(failed(format!("Server {namespace}/{name}")))? {
            Live::Wanted(_) | Live::Marked(_) => {}
            Live::Gone(_) => strangers.push(guest),
        }
    }
    Ok(strangers)
}

/// Stops this very guest, by its UUID, and forgets its definition, seed and console log. Its disks stay; the running agent
/// takes its taps away. Gives whether it powered off by itself; `None`: it was off.
pub async fn end(config: &Config, guest: &Guest, timeout: Duration) -> Result<Option<bool>, StrangerError> {
    let (connection, _) = Connection::new(&guest.libvirt);
    let Stopped { gracefully, hard } = end_domain(&connection, guest.record.uid, timeout)
        .await
        .map_err(|source| StrangerError::Libvirt { uri: guest.libvirt.uri(), source })?;
    let DomainRecord { namespace, name, uid, .. } = &guest.record;
    SeedFiles.remove_folder(&server_folder(&config.servers(), namespace, name, *uid)).await?;
    Ok((!gracefully.is_empty() || !hard.is_empty()).then_some(hard.is_empty()))
}

async fn end_domain(domains: &impl Domains, uid: Uuid, timeout: Duration) -> Result<Stopped, LibvirtError> {
    let stopped = stop_one(domains, uid, timeout, clock::since_boot()).await?;
    domains.undefine(uid).await?;
    Ok(stopped)
}
