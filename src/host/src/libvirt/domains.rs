//! The verbs of domains, as a trait: the real ones here, simulated ones in `testkit`.

use std::future::Future;

use uuid::Uuid;

use super::{DomainRecord, Facts, LibvirtError};

/// One look at a domain that is defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainSeen {
    pub uuid: Uuid,
    pub name: String,
    pub state: DomainState,
    /// `None`: it is not ours, and must not be touched.
    pub owner: Option<DomainRecord>,
    /// Whether libvirt keeps its definition when the guest ends; false of a running one that somebody undefined.
    pub persistent: bool,
    /// What runs now.
    pub live: Option<Facts>,
    /// What the next start runs.
    pub next: Facts,
    /// The definition that `next` was read from, to merge a change into.
    pub definition: String,
    /// Whether the running guest's console no longer reaches its log: what wrote it has ended since, and only a restart
    /// of the guest connects it again.
    pub console_lost: bool,
}

/// All domains of a libvirt.
#[derive(Debug, Default)]
pub struct DomainList {
    pub seen: Vec<DomainSeen>,
    /// Those that are there and could not be read.
    pub unreadable: Vec<Unreadable>,
}

/// A domain that is there and of which no more is known.
#[derive(Debug)]
pub struct Unreadable {
    pub uuid: Uuid,
    pub name: String,
    /// Whether it bears our record, or could not be asked and bears a name as ours do.
    pub ours: bool,
    /// Whether its QEMU runs, as far as libvirt says.
    pub active: bool,
    pub why: LibvirtError,
}

/// What a domain does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DomainState {
    Running,
    Paused(Pause),
    /// The guest is on its way down.
    Stopping,
    Off(Off),
    /// The guest's kernel gave up; its QEMU is still there.
    Crashed,
}

/// Why a guest stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pause {
    /// Started paused, or paused by somebody's command.
    Asked,
    /// A write failed, as a full pool does.
    IoError,
    /// libvirt is at work with it (migration, snapshot, save), or the guest sleeps.
    Other,
}

/// Why a guest is off, as far as libvirt remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Off {
    /// The guest powered itself off, by itself or because it was asked to.
    Guest,
    /// Somebody destroyed it.
    Destroyed,
    /// QEMU was told to end from outside, as by a SIGTERM.
    Host,
    /// Its QEMU died.
    Crashed,
    /// Its QEMU could not start.
    Failed,
    /// Never started, or libvirtd was restarted since.
    Unknown,
}

/// The domains of one libvirt. Every method is one primitive act or one look; an act that is already so succeeds.
/// An error says that something could not be done or could not be seen, never that a domain is not there.
pub trait Domains: Send + Sync {
    /// All domains, those of others included (`owner` is `None`). One that cannot be read hides no other.
    fn list(&self) -> impl Future<Output = Result<DomainList, LibvirtError>> + Send;
    /// The domain of that UUID; `None` only when libvirt said that there is none.
    fn look(&self, uuid: Uuid) -> impl Future<Output = Result<Option<DomainSeen>, LibvirtError>> + Send;
    /// Who has that name.
    fn named(&self, name: String) -> impl Future<Output = Result<Option<Uuid>, LibvirtError>> + Send;
    /// Makes a definition, or puts a new one in its place; counts from the next start.
    fn define(&self, xml: String) -> impl Future<Output = Result<(), LibvirtError>> + Send;
    /// Starts QEMU with the guest's CPUs halted.
    fn start_paused(&self, uuid: Uuid) -> impl Future<Output = Result<(), LibvirtError>> + Send;
    fn resume(&self, uuid: Uuid) -> impl Future<Output = Result<(), LibvirtError>> + Send;
    /// Presses the guest's power button.
    fn shutdown(&self, uuid: Uuid) -> impl Future<Output = Result<(), LibvirtError>> + Send;
    /// Ends QEMU at once.
    fn destroy(&self, uuid: Uuid) -> impl Future<Output = Result<(), LibvirtError>> + Send;
    /// Forgets a domain that is off, and what libvirt keeps beside it, its QEMU's log included. One that runs is left
    /// as it is.
    fn undefine(&self, uuid: Uuid) -> impl Future<Output = Result<(), LibvirtError>> + Send;
    /// Writes our record into the domain, at once and, where it is persistent, for all later starts.
    fn set_owner(&self, owner: DomainRecord) -> impl Future<Output = Result<(), LibvirtError>> + Send;
}
