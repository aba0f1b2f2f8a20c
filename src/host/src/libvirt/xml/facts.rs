//! What a domain is, read from its XML: only what decisions need.

use std::path::PathBuf;

use super::spec::{DiskFile, DiskFormat, DomainSpec, alias};
use super::{Element, XmlError};

/// The facts of one XML, live or inactive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Such as `pc-q35-7.2`.
    pub machine: String,
    /// `kvm` or `qemu`.
    pub accelerator: String,
    pub vcpus: u32,
    pub memory_bytes: u64,
    /// Sorted by alias.
    pub disks: Vec<DiskFacts>,
    /// Sorted by alias.
    pub nics: Vec<NicFacts>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiskFacts {
    /// `ua-<volume uid>`, `ua-seed`, or what libvirt gave a device of somebody else's.
    pub alias: String,
    /// The file, and what it rests on.
    pub files: Vec<DiskFile>,
    /// The PCI bus, that is 1 + slot.
    pub bus: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NicFacts {
    /// `ua-<port uid>`.
    pub alias: String,
    pub mac: String,
    pub tap: String,
    pub mtu: Option<u32>,
    pub bus: Option<u8>,
}

impl Facts {
    /// Reads `<domain>`.
    ///
    /// # Errors
    /// When a number in it is none.
    pub fn read(domain: &Element) -> Result<Self, XmlError> {
        let text = |name: &str| domain.find(name).map(|child| child.text.trim().to_owned()).unwrap_or_default();
        let kib: u64 = text("memory").parse().map_err(|_| XmlError::Shape("memory is not a number"))?;
        let empty = Element::default();
        let devices = domain.find("devices").unwrap_or(&empty);
        let mut disks: Vec<DiskFacts> = devices.all("disk").map(disk).collect();
        disks.sort();
        let mut nics: Vec<NicFacts> = devices.all("interface").map(nic).collect();
        nics.sort();
        Ok(Self {
            machine: domain.at(&["os", "type"], "machine").unwrap_or_default().to_owned(),
            accelerator: domain.get("type").unwrap_or_default().to_owned(),
            vcpus: text("vcpu").parse().map_err(|_| XmlError::Shape("vcpu is not a number"))?,
            memory_bytes: kib.saturating_mul(1024),
            disks,
            nics,
        })
    }

    /// What of `want` this domain lacks or has otherwise, in words for a user; empty when it is as wanted.
    #[must_use]
    pub fn differences(&self, want: &DomainSpec) -> Vec<String> {
        let mut out = Vec::new();
        if self.vcpus != want.vcpus {
            out.push(format!("{} CPUs instead of {}", self.vcpus, want.vcpus));
        }
        if self.memory_bytes / 1024 != want.memory_bytes / 1024 {
            out.push(format!("{} MiB of memory instead of {}", self.memory_bytes >> 20, want.memory_bytes >> 20));
        }
        let ours = |name: &str| name.starts_with("ua-") && name != "ua-seed";
        for disk in &want.disks {
            let files: Vec<&DiskFile> = std::iter::once(&disk.file).chain(&disk.backing).collect();
            match self.disks.iter().find(|seen| seen.alias == alias(disk.volume)) {
                None => out.push(format!("{} is not attached", called(&alias(disk.volume), &disk.file))),
                Some(seen) if !seen.files.iter().eq(files) => {
                    out.push(format!("{} has other files", called(&seen.alias, &disk.file)))
                }
                Some(_) => {}
            }
        }
        for seen in self.disks.iter().filter(|seen| ours(&seen.alias)) {
            if !want.disks.iter().any(|disk| alias(disk.volume) == seen.alias) {
                let name = seen.files.first().map_or_else(|| seen.alias.clone(), |file| called(&seen.alias, file));
                out.push(format!("{name} is still attached"));
            }
        }
        for nic in &want.nics {
            match self.nics.iter().find(|seen| seen.alias == alias(nic.port)) {
                None => out.push(format!("NIC {} is not attached", nic.mac)),
                Some(seen) if seen.mac != nic.mac => {
                    out.push(format!("a NIC has MAC {} instead of {}", seen.mac, nic.mac))
                }
                Some(seen) if seen.mtu != Some(nic.mtu) => out.push(format!("NIC {} has another MTU", nic.mac)),
                Some(_) => {}
            }
        }
        for seen in self.nics.iter().filter(|seen| ours(&seen.alias)) {
            if !want.nics.iter().any(|nic| alias(nic.port) == seen.alias) {
                out.push(format!("NIC {} is still attached", seen.mac));
            }
        }
        out
    }
}

/// A disk by the name of its Volume, which its file carries before the UID: people know no UIDs.
fn called(alias: &str, file: &DiskFile) -> String {
    let stem = file.path.file_stem().unwrap_or_default().to_string_lossy();
    let uid = alias.strip_prefix("ua-").unwrap_or(alias);
    format!("Volume {}", stem.strip_suffix(uid).and_then(|name| name.strip_suffix('.')).unwrap_or(&stem))
}

fn disk(disk: &Element) -> DiskFacts {
    let mut files = Vec::new();
    let format = |text: Option<&str>| if text == Some("qcow2") { DiskFormat::Qcow2 } else { DiskFormat::Raw };
    if let Some(path) = disk.at(&["source"], "file") {
        files.push(DiskFile { path: PathBuf::from(path), format: format(disk.at(&["driver"], "type")) });
    }
    let mut below = disk.find("backingStore");
    while let Some(store) = below {
        if let Some(path) = store.at(&["source"], "file") {
            files.push(DiskFile { path: PathBuf::from(path), format: format(store.at(&["format"], "type")) });
        }
        below = store.find("backingStore");
    }
    DiskFacts { alias: alias_of(disk), files, bus: bus(disk) }
}

fn nic(nic: &Element) -> NicFacts {
    NicFacts {
        alias: alias_of(nic),
        mac: nic.at(&["mac"], "address").unwrap_or_default().to_owned(),
        tap: nic.at(&["target"], "dev").unwrap_or_default().to_owned(),
        mtu: nic.at(&["mtu"], "size").and_then(|text| text.parse().ok()),
        bus: bus(nic),
    }
}

fn alias_of(device: &Element) -> String {
    device.at(&["alias"], "name").unwrap_or_default().to_owned()
}

fn bus(device: &Element) -> Option<u8> {
    u8::from_str_radix(device.at(&["address"], "bus")?.trim_start_matches("0x"), 16).ok()
}
