//! What a domain shall be: plain values, everything chosen before.

use std::fmt;
use std::path::PathBuf;

use uuid::Uuid;

use crate::libvirt::DomainRecord;

/// A whole domain. Its UUID is the owner's UID, its name `nubium.<namespace>.<name>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainSpec {
    pub owner: DomainRecord,
    pub accelerator: Accelerator,
    pub vcpus: u32,
    pub memory_bytes: u64,
    /// The first one boots.
    pub disks: Vec<DiskSpec>,
    pub nics: Vec<NicSpec>,
    /// The NoCloud seed, raw, at its fixed place behind all other disks.
    pub seed: Option<PathBuf>,
    /// Where the serial console is logged.
    pub console_log: PathBuf,
    /// Whom QEMU runs as: nothing on disk is given to it or taken from it by libvirt.
    pub qemu: QemuIds,
}

/// How the guest's instructions are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    Kvm,
    Tcg,
}

/// The user and group of the QEMU processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QemuIds {
    pub uid: u32,
    pub gid: u32,
}

/// A place for a disk or a NIC that the guest knows it by: which of the root ports it is behind.
/// Given once, and not given again while its device is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u8);

impl Slot {
    /// How many there are: one root port of 28 is the seed's.
    pub const COUNT: u8 = 27;

    #[must_use]
    pub fn new(index: u8) -> Option<Self> {
        (index < Self::COUNT).then_some(Self(index))
    }

    #[must_use]
    pub fn index(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A file and its recorded format; never probed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DiskFile {
    pub path: PathBuf,
    pub format: DiskFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DiskFormat {
    Qcow2,
    Raw,
}

impl DiskFormat {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

/// One virtio disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSpec {
    /// The Volume's UID: alias `ua-<uid>`, serial its first 20 hex digits.
    pub volume: Uuid,
    pub slot: Slot,
    pub file: DiskFile,
    /// What the file rests on, nearest first; empty for a file that stands alone.
    pub backing: Vec<DiskFile>,
}

impl DiskSpec {
    /// The serial number by which the guest can name the disk: `/dev/disk/by-id/virtio-<serial>`.
    #[must_use]
    pub fn serial(&self) -> String {
        let mut digits = self.volume.simple().to_string();
        digits.truncate(20);
        digits
    }
}

/// One virtio NIC on a tap of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicSpec {
    /// The Port's UID: alias `ua-<uid>`.
    pub port: Uuid,
    pub slot: Slot,
    /// Lower case, colons.
    pub mac: String,
    pub tap: String,
    pub mtu: u32,
}

/// The alias by which libvirt and QEMU know a device of ours.
#[must_use]
pub fn alias(uid: Uuid) -> String {
    format!("ua-{uid}")
}
