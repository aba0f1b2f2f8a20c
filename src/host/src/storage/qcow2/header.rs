//! The header of a qcow2 file, read without trusting it.
//!
//! QEMU follows what a header says: a backing file or an external data file is a path on the host that the guest then
//! reads. So a header is parsed here, by code that opens nothing, and only what [`Header::check`] knows to be harmless goes
//! on. The layout is that of QEMU's `docs/interop/qcow2.txt`; all numbers are big-endian.

use crate::storage::Refused;

/// The first four bytes of every qcow2 (and of the older qcow) file.
pub const MAGIC: [u8; 4] = *b"QFI\xfb";

const V2_LENGTH: usize = 72;
const V3_LENGTH: usize = 104;
const LARGEST_L1: u64 = 32 << 20;
const LARGEST_REFCOUNT_TABLE: u64 = 8 << 20;

pub(crate) const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
const COMPRESSION: u64 = 1 << 3;
pub(super) const EXTENDED_L2: u64 = 1 << 4;
const KNOWN: u64 = DIRTY | CORRUPT | DATA_FILE | COMPRESSION | EXTENDED_L2;
const AUTOCLEAR_RAW_DATA: u64 = 1 << 1;

const EXTENSION_END: u32 = 0;
const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
const EXTENSION_DATA_FILE: u32 = 0x4441_5441;
const EXTENSION_LUKS: u32 = 0x0537_be77;

/// What a qcow2 header says. Offsets and sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub version: u32,
    pub cluster_bits: u32,
    /// The size of the disk that a guest sees.
    pub size: u64,
    /// The backing file's name, as written.
    pub backing: Option<String>,
    pub backing_format: Option<String>,
    pub data_file: bool,
    pub encryption: u32,
    pub snapshots: u32,
    pub incompatible: u64,
    pub autoclear: u64,
    pub refcount_order: u32,
    pub l1_entries: u32,
    pub l1_offset: u64,
    pub refcount_offset: u64,
    pub refcount_clusters: u32,
    pub compression: u8,
}

impl Header {
    /// Reads the header from the first bytes of a file (64 KiB are enough for every file QEMU writes). `None` when the
    /// file does not begin as a qcow2 file does. Never panics, whatever the bytes.
    pub fn parse(head: &[u8]) -> Option<Result<Self, Refused>> {
        head.starts_with(&MAGIC).then(|| Self::after_magic(head))
    }

    fn after_magic(head: &[u8]) -> Result<Self, Refused> {
        let version = u32_at(head, 4)?;
        let length = match version {
            2 => V2_LENGTH,
            3 => {
                let length = usize::try_from(u32_at(head, 100)?).unwrap_or(usize::MAX);
                if length < V3_LENGTH || length % 8 != 0 {
                    return Err(Refused::Malformed("a header length that is no header's"));
                }
                length
            }
            other => return Err(Refused::QcowVersion(other)),
        };
        let v3 = version == 3;
        let mut header = Self {
            version,
            cluster_bits: u32_at(head, 20)?,
            size: u64_at(head, 24)?,
            backing: None,
            backing_format: None,
            data_file: false,
            encryption: u32_at(head, 32)?,
            snapshots: u32_at(head, 60)?,
            incompatible: if v3 { u64_at(head, 72)? } else { 0 },
            autoclear: if v3 { u64_at(head, 88)? } else { 0 },
            refcount_order: if v3 { u32_at(head, 96)? } else { 4 },
            l1_entries: u32_at(head, 36)?,
            l1_offset: u64_at(head, 40)?,
            refcount_offset: u64_at(head, 48)?,
            refcount_clusters: u32_at(head, 56)?,
            compression: if length > V3_LENGTH { *head.get(V3_LENGTH).ok_or(Refused::Truncated)? } else { 0 },
        };
        if !(9..=21).contains(&header.cluster_bits) {
            return Err(Refused::Malformed("a cluster size outside 512 bytes to 2 MiB"));
        }
        let first_cluster = head.get(..1 << header.cluster_bits).unwrap_or(head);
        let (backing_offset, backing_length) = (u64_at(head, 8)?, u32_at(head, 16)?);
        if backing_offset != 0 || backing_length != 0 {
            header.backing = Some(text(first_cluster, backing_offset, backing_length)?);
        }
        header.read_extensions(first_cluster, length)?;
        Ok(header)
    }

    fn read_extensions(&mut self, cluster: &[u8], mut at: usize) -> Result<(), Refused> {
        while at + 8 <= cluster.len() {
            let (kind, length) = (u32_at(cluster, at)?, u32_at(cluster, at + 4)?);
            let length =
                usize::try_from(length).map_err(|_| Refused::Malformed("a header extension larger than a file"))?;
            at += 8;
            match kind {
                EXTENSION_END => return Ok(()),
                EXTENSION_BACKING_FORMAT => self.backing_format = Some(text(cluster, at as u64, length as u32)?),
                EXTENSION_DATA_FILE => self.data_file = true,
                EXTENSION_LUKS => self.encryption = self.encryption.max(2),
                _ => {}
            }
            at = length
                .checked_next_multiple_of(8)
                .and_then(|padded| at.checked_add(padded))
                .filter(|end| *end <= cluster.len())
                .ok_or(Refused::Malformed("a header extension that leaves the header"))?;
        }
        Ok(())
    }

    /// Whether everything the header asks for is harmless and makes sense in a file of `length` bytes: nothing outside
    /// the file, no feature unknown here, tables within it. Dirty (lazy refcounts), compressed clusters (zlib, zstd) and
    /// extended L2 entries are fine.
    pub fn check(&self, length: u64) -> Result<(), Refused> {
        if let Some(name) = &self.backing {
            return Err(Refused::BackingFile(name.clone()));
        }
        if self.data_file || self.incompatible & DATA_FILE != 0 || self.autoclear & AUTOCLEAR_RAW_DATA != 0 {
            return Err(Refused::DataFile);
        }
        if self.encryption != 0 {
            return Err(Refused::Encrypted);
        }
        if self.incompatible & !KNOWN != 0 {
            return Err(Refused::UnknownFeatures(self.incompatible & !KNOWN));
        }
        if self.incompatible & CORRUPT != 0 {
            return Err(Refused::MarkedCorrupt);
        }
        if self.snapshots != 0 {
            return Err(Refused::InternalSnapshots(self.snapshots));
        }
        match (self.incompatible & COMPRESSION != 0, self.compression) {
            (false, 0) | (true, 1) => {}
            (_, other) => return Err(Refused::Compression(other)),
        }
        if self.refcount_order > 6 {
            return Err(Refused::Malformed("refcounts wider than 64 bits"));
        }
        self.check_tables(length)
    }

    fn check_tables(&self, length: u64) -> Result<(), Refused> {
        let cluster = 1u64 << self.cluster_bits;
        let entry = if self.incompatible & EXTENDED_L2 != 0 { 16 } else { 8 };
        let needed = self.size.div_ceil(cluster * (cluster / entry));
        let l1_bytes = u64::from(self.l1_entries) * 8;
        if u64::from(self.l1_entries) < needed {
            return Err(Refused::Malformed("an L1 table too small for the disk"));
        }
        if l1_bytes > LARGEST_L1 || !inside(self.l1_offset, l1_bytes, cluster, length) {
            return Err(Refused::Malformed("an L1 table outside the file"));
        }
        let refcounts = u64::from(self.refcount_clusters) * cluster;
        if refcounts == 0 || refcounts > LARGEST_REFCOUNT_TABLE || !inside(self.refcount_offset, 8, cluster, length) {
            return Err(Refused::Malformed("a refcount table outside the file"));
        }
        Ok(())
    }
}

fn inside(offset: u64, bytes: u64, cluster: u64, length: u64) -> bool {
    offset >= cluster && offset.is_multiple_of(cluster) && offset.checked_add(bytes).is_some_and(|end| end <= length)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Refused> {
    let four = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(Refused::Truncated)?;
    Ok(u32::from_be_bytes(*four))
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, Refused> {
    let eight = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(Refused::Truncated)?;
    Ok(u64::from_be_bytes(*eight))
}

fn text(cluster: &[u8], at: u64, length: u32) -> Result<String, Refused> {
    let start = usize::try_from(at).ok();
    let bytes = start
        .zip(usize::try_from(length).ok())
        .and_then(|(start, length)| cluster.get(start..start.checked_add(length)?));
    let bytes = bytes.ok_or(Refused::Malformed("a name that leaves the header"))?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}
