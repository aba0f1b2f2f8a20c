//! Images: fetched from where a tenant says, verified, inspected, converted once, then read-only in the pool.
//!
//! ```text
//! ├──────────────────────── fetch ─────────────────────────┤├─────────────────── convert ────────────────────┤
//! source ──stream──▶ checksum ──▶ private copy ──▶ inspect ──▶ qemu-img, shut in ──▶ inspect ──▶ flush, rename, sync ──▶ <pool>/images/…
//!  (fences)             wrong: gone                 unsafe: gone
//! ```
//! Nothing opens the bytes before our own reader of headers has looked at the copy that nobody else can change. Every
//! image is converted, a plain qcow2 too: what QEMU later runs on was written by the host's own `qemu-img`, is not
//! compressed and holds none of the tables that a tenant made up.

pub mod checksum;
mod convert;
mod import;
pub mod inspect;
mod pace;
mod receive;
pub mod source;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::path::PathBuf;

use tokio::sync::watch;

pub use checksum::{BadChecksum, Checksum};
pub use import::{Importer, Limits, Rules};
pub use inspect::{Format, InspectError};
pub use pace::{Pace, TooSlow};
pub use source::Source;
pub use source::address_policy::AddressPolicy;
pub use source::file::{FileError, Folders};
pub use source::http::HttpError;

use super::sandbox::SandboxError;
use super::{FileName, Refused, VolumeError};

/// An image as it was found in the pool: always qcow2, read-only. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSeen {
    pub path: PathBuf,
    /// The size of the disk in it: no clone is smaller.
    pub virtual_size: u64,
    /// What the file takes on the disk.
    pub allocated: u64,
}

/// What came of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// What the source was.
    pub format: Format,
    /// The digest of the source's bytes.
    pub digest: Checksum,
    /// The source's length in bytes.
    pub length: u64,
    /// The size of the disk in it, in bytes.
    pub virtual_size: u64,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Progress {
    #[default]
    Starting,
    /// Bytes that came, and how many there will be if the source said so.
    Downloading {
        done: u64,
        total: Option<u64>,
    },
    Converting {
        percent: u8,
    },
}

/// Why an image is not in the pool.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    TooSlow(#[from] TooSlow),
    #[error("the source is longer than the {limit} bytes this host takes")]
    TooLong { limit: u64 },
    #[error("wrong checksum: {got} came, {want} was wanted")]
    Checksum { want: String, got: String },
    /// The bytes themselves: nothing but other bytes can help.
    #[error("not an image that can be used")]
    Refused(#[source] Refused),
    #[error(
        "the pool at {} is full, but for what is kept for the host and for guests that run: delete Volumes or Images that \
         nobody needs, or give its file system more room", pool.display()
    )]
    NoSpace { pool: PathBuf },
    #[error("read the source")]
    Read(#[source] io::Error),
    #[error("write the image")]
    Write(#[source] io::Error),
    #[error("convert the image")]
    Convert(#[source] SandboxError),
    #[error("qemu-img made an image that cannot be used")]
    BadResult(#[source] Refused),
    #[error("qemu-img made a disk of {got} bytes from one of {want} bytes")]
    Result { want: u64, got: u64 },
    #[error(transparent)]
    Pool(#[from] VolumeError),
    #[error("the import was stopped")]
    Stopped,
}

impl ImportError {
    fn reading(error: io::Error) -> Self {
        Self::Read(error)
    }

    fn writing(error: io::Error) -> Self {
        Self::Write(error)
    }

    /// A full file system is an error of its own, whichever step met it.
    fn at_pool(self, pool: &std::path::Path) -> Self {
        match self {
            Self::Write(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                Self::NoSpace { pool: pool.to_owned() }
            }
            other => other,
        }
    }
}

/// The images of one pool.
pub trait Images: Send + Sync {
    /// A verified copy that waits in the pool to be converted; gone when it is dropped.
    type Fetched: Send;
    /// What is there; `None` only when the pool answered and the file is not in it.
    fn look(&self, image: &FileName) -> impl Future<Output = Result<Option<ImageSeen>, VolumeError>> + Send;
    /// Every image in the pool, by name.
    fn list(&self) -> impl Future<Output = Result<Vec<FileName>, VolumeError>> + Send;
    /// Fetches, verifies and inspects. Stops, and leaves nothing, when the future is dropped.
    fn fetch(
        &self,
        source: &Source,
        checksum: Option<&Checksum>,
        progress: &watch::Sender<Progress>,
    ) -> impl Future<Output = Result<Self::Fetched, ImportError>> + Send;
    /// Converts what was fetched, and publishes it. Stops, and leaves nothing, when the future is dropped.
    fn convert(
        &self,
        image: &FileName,
        fetched: Self::Fetched,
        progress: &watch::Sender<Progress>,
    ) -> impl Future<Output = Result<Imported, ImportError>> + Send;
    /// Removes an image that no volume of the pool is a clone of; one that is not there is removed already.
    fn delete(&self, image: &FileName) -> impl Future<Output = Result<(), VolumeError>> + Send;
}
