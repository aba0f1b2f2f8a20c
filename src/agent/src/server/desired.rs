//! The input: a Server and what it refers to, as validated values with every default filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use nubium_api::{
    ConditionStatus, DEFAULT_MTU, DEFAULT_POOL, Device, Disk, MadeFor, Network, Nic, Port, PowerState, Server, Volume,
    condition, contract,
};
use nubium_host::libvirt::{Accelerator, QemuIds, domain_name};
use nubium_host::network::{MacAddr, Netns, names};
use nubium_host::seed::Seed;
use nubium_host::storage::FileName;
use nubium_runtime::Marked;
use uuid::Uuid;

/// What is the same for all Servers of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// This Host's name.
    pub host: String,
    pub accelerator: Accelerator,
    /// Whom the libvirt here runs QEMU as.
    pub qemu: QemuIds,
    /// Where each Server has a folder for its seed and its console's log.
    pub folder: PathBuf,
    /// How long a guest may take to power off before it is turned off.
    pub stop_deadline: Duration,
}

/// Proof that a live GET of this very UID showed it marked for deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenMarked {
    uid: String,
}

impl From<&Marked<Server>> for SeenMarked {
    fn from(marked: &Marked<Server>) -> Self {
        Self { uid: marked.uid() }
    }
}

#[cfg(test)]
impl SeenMarked {
    pub(super) fn for_test(uid: Uuid) -> Self {
        Self { uid: uid.to_string() }
    }
}

/// What a pass is about.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    pub server: &'a Server,
    /// The Volumes and Networks that it refers to and that exist, and all Ports of its namespace that are on this host;
    /// others may be among them.
    pub volumes: &'a [Volume],
    pub ports: &'a [Arc<Port>],
    pub networks: &'a [Network],
    /// The seed that was rendered for it; `None` while there is none.
    pub seed: Option<&'a Seed>,
    /// Without it, a Server that is marked for deletion is left as it is.
    pub marked: Option<&'a SeenMarked>,
}

/// What this host shall have of one Server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    pub namespace: String,
    pub name: String,
    pub uid: Uuid,
    pub generation: i64,
    pub presence: Presence,
    pub running: bool,
    /// Whether this host keeps cpu and memory for it: without, a guest that is off is not started.
    pub admitted: bool,
    pub restarted_at: Option<String>,
    pub vcpus: u32,
    pub memory_bytes: u64,
    /// In the Server's order: the first one boots.
    pub disks: Vec<WantedDisk>,
    pub nics: Vec<WantedNic>,
    pub seed: Option<Seed>,
    /// The slots on record in the Server's status.
    pub recorded: Vec<Device>,
    /// The taps of Ports that are other Servers' now. One that is on this domain's record was its own before.
    pub others_taps: BTreeSet<String>,
    /// Disks that cannot be used yet, by name, and why.
    pub waiting_disks: BTreeMap<String, String>,
    /// NICs that cannot be used yet, by name, and why. A caller that knows more may add to it.
    pub waiting_nics: BTreeMap<String, String>,
}

/// Whether it shall be here at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    Present,
    Absent(SeenMarked),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedDisk {
    /// As the Server calls it.
    pub name: String,
    pub uid: Uuid,
    pub pool: String,
    pub file: FileName,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedNic {
    /// As the Server calls it.
    pub name: String,
    pub uid: Uuid,
    pub mac: MacAddr,
    pub tap: String,
    pub netns: Netns,
    pub mtu: u32,
}

/// Why a Server cannot be made true on this host as it stands.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    #[error("the Server has no {0} yet")]
    Unborn(&'static str),
    #[error("the Server's {0} is no UUID")]
    Uid(&'static str),
    #[error("the Server is bound to {bound}, not to this host")]
    Elsewhere { bound: String },
    #[error("the Server's size in force is not known yet")]
    NoSize,
    #[error("the Server is marked for deletion, and that was not looked at live")]
    Unproven,
    #[error("the proof of deletion is another object's")]
    OtherProof,
    #[error("a name cannot be a file's")]
    Name(#[from] nubium_host::storage::BadName),
}

/// A Server that was placed by a release without admission has no such condition, and its room.
fn is_admitted(server: &Server) -> bool {
    let conditions = server.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    condition(conditions, contract::ADMITTED).is_none_or(|admitted| admitted.status == ConditionStatus::True)
}

impl Desired {
    /// # Errors
    /// [`Invalid`], of which none lets anything be started, stopped or removed.
    pub fn new(input: Input<'_>, settings: &Settings) -> Result<Self, Invalid> {
        let Input { server, volumes, ports, networks, seed, marked } = input;
        let meta = &server.metadata;
        let namespace = meta.namespace.clone().ok_or(Invalid::Unborn("namespace"))?;
        let name = meta.name.clone().ok_or(Invalid::Unborn("name"))?;
        let text = meta.uid.as_deref().ok_or(Invalid::Unborn("UID"))?;
        let uid: Uuid = text.parse().map_err(|_| Invalid::Uid("UID"))?;
        let generation = meta.generation.ok_or(Invalid::Unborn("generation"))?;
        FileName::new(&namespace, &name, text)?; // they become a folder's name
        let presence = match (meta.deletion_timestamp.is_some(), marked) {
            (_, Some(marked)) if marked.uid == text => Presence::Absent(marked.clone()),
            (_, Some(_)) => return Err(Invalid::OtherProof),
            (true, None) => return Err(Invalid::Unproven),
            (false, None) => Presence::Present,
        };
        let mut this = Self {
            namespace,
            name,
            uid,
            generation,
            presence,
            running: server.spec.power_state == PowerState::Running,
            admitted: is_admitted(server),
            restarted_at: server.spec.restarted_at.as_ref().map(|time| seconds(time.0)),
            vcpus: 0,
            memory_bytes: 0,
            disks: Vec::new(),
            nics: Vec::new(),
            seed: None,
            recorded: server.status.as_ref().map(|status| status.devices.clone()).unwrap_or_default(),
            others_taps: BTreeSet::new(),
            waiting_disks: BTreeMap::new(),
            waiting_nics: BTreeMap::new(),
        };
        this.others_taps = ports.iter().filter(|port| this.is_anothers(port)).filter_map(|port| tap(port)).collect();
        if let Presence::Absent(_) = this.presence {
            return Ok(this); // it needs no more than a UID, so that what cannot be made true can still be deleted
        }
        let status = server.status.as_ref();
        let bound = status.and_then(|status| status.host.clone()).unwrap_or_default();
        if bound != settings.host {
            return Err(Invalid::Elsewhere { bound });
        }
        let size = status.and_then(|status| status.resources.as_ref()).ok_or(Invalid::NoSize)?;
        this.vcpus = size.cpu.count().map_err(|_| Invalid::NoSize)?;
        this.memory_bytes = size.memory.bytes().map_err(|_| Invalid::NoSize)?;
        this.seed = seed.cloned();
        this.add_disks(server, volumes, &settings.host);
        this.add_nics(server, ports, networks);
        Ok(this)
    }

    /// The folder of this Server alone.
    #[must_use]
    pub fn folder(&self, settings: &Settings) -> PathBuf {
        server_folder(&settings.folder, &self.namespace, &self.name, self.uid)
    }

    /// Its seed, in its folder.
    #[must_use]
    pub fn seed_path(folder: &Path) -> PathBuf {
        folder.join("seed.img")
    }

    /// The log of its serial console, in its folder.
    #[must_use]
    pub fn console_log(folder: &Path) -> PathBuf {
        folder.join("console.log")
    }

    fn add_disks(&mut self, server: &Server, volumes: &[Volume], host: &str) {
        for disk in &server.spec.disks {
            match self.disk(disk, volumes, host) {
                Ok(wanted) => self.disks.push(wanted),
                Err(why) => drop(self.waiting_disks.insert(disk.name.clone(), why)),
            }
        }
    }

    fn disk(&self, disk: &Disk, volumes: &[Volume], host: &str) -> Result<WantedDisk, String> {
        let volume = &disk.volume_name(&self.name);
        let found = find(volumes, &self.namespace, volume, |volume| &volume.metadata);
        let there = found.ok_or_else(|| format!("Volume {volume} does not exist"))?;
        if disk.volume.is_none() && !self.is_made_for_this(there.spec.made_for.as_ref()) {
            return Err(format!("Volume {volume} was not made for this Server"));
        }
        let uid = there.metadata.uid.as_deref().unwrap_or_default();
        match there.status.as_ref().and_then(|status| status.host.as_deref()) {
            Some(holder) if holder == host => {}
            Some(holder) => return Err(format!("Volume {volume} is on Host {holder}, and this is {host}")),
            None => return Err(format!("Volume {volume} has no host yet")),
        }
        let status = there.status.as_ref();
        if let Some(holder) =
            status.and_then(|status| status.attached_to.as_ref()).filter(|to| to.uid.parse() != Ok(self.uid))
        {
            return Err(format!("Volume {volume} is still attached to the guest of Server {}", holder.server));
        }
        // Its controller has given it up for deletion: whatever is on this host goes at any moment.
        let given_up = status.and_then(|status| condition(&status.conditions, "InUse"));
        if there.metadata.deletion_timestamp.is_some() && given_up.is_some_and(|it| it.status == ConditionStatus::False)
        {
            return Err(format!("Volume {volume} is being deleted"));
        }
        let file = FileName::new(&self.namespace, volume, uid).map_err(|error| error.to_string())?;
        Ok(WantedDisk {
            name: disk.name.clone(),
            uid: uid.parse().map_err(|_| format!("the UID of Volume {volume} is no UUID"))?,
            pool: there.spec.pool.clone().unwrap_or_else(|| DEFAULT_POOL.to_owned()),
            file,
        })
    }

    /// Whether a Port is another Server's: made for it, or given to it.
    fn is_anothers(&self, port: &Port) -> bool {
        let user = port.status.as_ref().and_then(|status| status.server.as_ref());
        let here = port.metadata.namespace.as_ref() == Some(&self.namespace);
        here && match &port.spec.made_for {
            Some(mark) => !self.is_made_for_this(Some(mark)),
            None => user.is_some_and(|user| *user != self.name),
        }
    }

    fn add_nics(&mut self, server: &Server, ports: &[Arc<Port>], networks: &[Network]) {
        for nic in &server.spec.nics {
            match self.nic(nic, ports, networks) {
                Ok(wanted) => self.nics.push(wanted),
                Err(why) => drop(self.waiting_nics.insert(nic.name.clone(), why)),
            }
        }
    }

    fn nic(&self, nic: &Nic, ports: &[Arc<Port>], networks: &[Network]) -> Result<WantedNic, String> {
        let port = &nic.port_name(&self.name);
        let found = find(ports, &self.namespace, port, |port| &port.metadata);
        let there = found.ok_or_else(|| format!("Port {port} does not exist"))?;
        let uid = there.metadata.uid.as_deref().unwrap_or_default();
        let status = there.status.as_ref();
        // To make a NIC's tap is to take away the one that is there, maybe from under another Server's guest.
        if nic.port.is_none() {
            if !self.is_made_for_this(there.spec.made_for.as_ref()) {
                return Err(format!("Port {port} was not made for this Server"));
            }
        } else {
            match status.and_then(|status| status.server.as_ref()) {
                Some(user) if *user == self.name => {}
                Some(user) => return Err(format!("Port {port} is used by Server {user}")),
                None => return Err(format!("Port {port} is not given to this Server yet")),
            }
        }
        let mac = status.and_then(|status| status.mac_address.as_deref()).map(str::parse::<MacAddr>);
        let Some(Ok(mac)) = mac else { return Err(format!("Port {port} has no MAC address yet")) };
        if status.is_none_or(|status| status.addresses.is_empty()) {
            return Err(format!("Port {port} has no address yet"));
        }
        let name = &there.spec.network;
        let found = find(networks, &self.namespace, name, |network| &network.metadata);
        let network = found.ok_or_else(|| format!("Network {name} does not exist"))?;
        let mtu = network.status.as_ref().and_then(|status| status.mtu).unwrap_or(DEFAULT_MTU);
        Ok(WantedNic {
            name: nic.name.clone(),
            uid: uid.parse().map_err(|_| format!("the UID of Port {port} is no UUID"))?,
            mac,
            tap: names::tap(uid),
            netns: Netns::new(&self.namespace, name),
            mtu: u32::try_from(mtu).unwrap_or_default(),
        })
    }
}

impl Desired {
    /// The name of its domain.
    pub(super) fn domain_name(&self) -> String {
        domain_name(&self.namespace, &self.name)
    }

    /// A name that exists without our mark is never adopted: its data and its address are another's.
    fn is_made_for_this(&self, mark: Option<&MadeFor>) -> bool {
        mark.is_some_and(|mark| mark.uid.parse() == Ok(self.uid))
    }
}

/// The folder of one Server below `root` ([`Settings::folder`]); a person can read from it whose it is.
#[must_use]
pub fn server_folder(root: &Path, namespace: &str, name: &str, uid: Uuid) -> PathBuf {
    root.join(namespace).join(format!("{name}.{uid}"))
}

fn find<'a, K>(
    all: &'a [K],
    namespace: &str,
    name: &str,
    meta: impl Fn(&K) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
) -> Option<&'a K> {
    all.iter().find(|one| meta(one).namespace.as_deref() == Some(namespace) && meta(one).name.as_deref() == Some(name))
}

/// The name of a Port's tap.
fn tap(port: &Port) -> Option<String> {
    port.metadata.uid.as_deref().map(names::tap)
}

/// One spelling for one moment.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
