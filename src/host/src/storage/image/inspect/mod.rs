//! What a file really is, decided by our own reader before anything else opens it.
//!
//! There is no `format` field on an Image: a person would get it wrong, and a probing tool can be lied to. The header
//! decides once, at import. A file that begins with qcow2's magic is a qcow2 file, so a raw disk that carries a qcow2
//! header with a backing file is refused for that backing file instead of being read through it later.

mod foreign;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::storage::Refused;
use crate::storage::qcow2::header::DIRTY;
use crate::storage::qcow2::{Header, tables};

/// How the bytes of an image encode a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    Raw,
    Qcow2,
}

impl Format {
    /// The name QEMU and people know it by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// A file that may be opened as what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspected {
    pub format: Format,
    /// The size of the disk in it, in bytes.
    pub virtual_size: u64,
    /// A qcow2 that was not closed: its reference counts may be wrong.
    pub dirty: bool,
}

/// A file that could not be read, or must not be used.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error("read the image's header")]
    Read(#[source] io::Error),
    #[error(transparent)]
    Refused(#[from] Refused),
}

const HEAD: usize = 64 << 10;
const TAIL: usize = 512;
const SECTOR: u64 = 512;

/// Reads head, tail and tables of a file that only we can write. `limit` is the largest disk allowed, in bytes. Blocking.
pub fn inspect(file: &File, limit: u64) -> Result<Inspected, InspectError> {
    let length = file.metadata().map_err(InspectError::Read)?.len();
    let head = read(file, 0, length.min(HEAD as u64))?;
    let tail = read(file, length.saturating_sub(TAIL as u64), length.min(TAIL as u64))?;
    let inspected = judge(&head, &tail, length, limit)?;
    if let Some(header) = Header::parse(&head) {
        tables::check(file, &header?).map_err(InspectError::Read)??;
    }
    Ok(inspected)
}

fn read(file: &File, at: u64, length: u64) -> Result<Vec<u8>, InspectError> {
    let mut bytes = vec![0; usize::try_from(length).expect("at most 64 KiB are read")];
    file.read_exact_at(&mut bytes, at).map_err(InspectError::Read)?;
    Ok(bytes)
}

/// The decision itself, from the first 64 KiB, the last 512 bytes and the length of a file. Pure; never panics.
pub fn judge(head: &[u8], tail: &[u8], length: u64, limit: u64) -> Result<Inspected, Refused> {
    if length == 0 {
        return Err(Refused::Empty);
    }
    let inspected = match Header::parse(head) {
        Some(header) => {
            let header = header?;
            header.check(length)?;
            Inspected { format: Format::Qcow2, virtual_size: header.size, dirty: header.incompatible & DIRTY != 0 }
        }
        None => {
            foreign::refuse(head, tail)?;
            Inspected { format: Format::Raw, virtual_size: length, dirty: false }
        }
    };
    match inspected.virtual_size {
        0 => Err(Refused::Malformed("a disk of no size")),
        size if size % SECTOR != 0 => Err(Refused::NotSectors(size)),
        size if size > limit => Err(Refused::TooLarge { size, limit }),
        _ => Ok(inspected),
    }
}
