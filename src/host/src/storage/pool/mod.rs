//! Volumes as files of a pool.
//!
//! A volume is always qcow2, written by us: a guest can write a header into its disk, but never into the file that holds
//! it, so the format is a fact of the record and is never probed. A clone is an overlay over its image with a *relative*
//! backing path, so that a pool can be moved or mounted elsewhere.

pub mod directory;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use directory::{Claim, DirectoryPool, FileOwner, Mark, Records};

use super::{BadName, FileName, Refused};

/// A volume's file as it was found. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSeen {
    /// The absolute path; the format is always qcow2.
    pub path: PathBuf,
    /// The size of the disk that a guest sees.
    pub size: u64,
    /// What the file takes on the disk now.
    pub allocated: u64,
    /// The image it is a clone of, in the same pool.
    pub image: Option<BackingImage>,
    /// A QEMU has it open.
    pub in_use: bool,
}

/// The image under a clone: what a domain's `<backingStore>` must name. Always qcow2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackingImage {
    pub image: FileName,
    pub path: PathBuf,
}

/// Space of a pool's file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub capacity: u64,
    pub available: u64,
}

/// Kept free of new disks: the store of the cloud may be on the same file system, and guests that run write on.
const KEPT: u64 = 64 << 20;
/// A small file system keeps one part in so many instead.
const KEPT_OF_SMALL: u64 = 8;
/// Images are large, and leave one part in so many free.
const KEPT_BY_IMAGES: u64 = 20;

impl Space {
    /// What new disks may take.
    pub fn for_disks(self) -> u64 {
        self.available.saturating_sub(self.kept())
    }

    /// What images may take.
    pub fn for_images(self) -> u64 {
        self.available.saturating_sub(self.kept().max(self.capacity / KEPT_BY_IMAGES))
    }

    fn kept(self) -> u64 {
        KEPT.min(self.capacity / KEPT_OF_SMALL)
    }
}

/// What went wrong with a volume's file.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error(
        "the pool at {} is full, but for what is kept for the host and for guests that run: delete Volumes or Images that \
         nobody needs, or give its file system more room", pool.display()
    )]
    NoSpace { pool: PathBuf },
    #[error("the disk of {size} bytes is smaller than its image of {image} bytes")]
    SmallerThanImage { size: u64, image: u64 },
    #[error("a disk cannot have {size} bytes: a multiple of 512, at least 512 and at most {largest}, is needed")]
    Size { size: u64, largest: u64 },
    #[error("the image {image} is not in the pool")]
    NoImage { image: FileName },
    #[error("the volume {volume} is not in the pool")]
    NoVolume { volume: FileName },
    #[error("{volume} is there already, and differs: {what}")]
    Different { volume: FileName, what: String },
    #[error("{clone} is a clone of {image}")]
    HasClones { image: String, clone: String },
    #[error("a running QEMU has {} open", path.display())]
    InUse { path: PathBuf },
    #[error("{} is not a volume as it was made", path.display())]
    NotOurs {
        path: PathBuf,
        #[source]
        source: Refused,
    },
    #[error(transparent)]
    Name(#[from] BadName),
    #[error("{} is in no folder that this host allows for pools; its admin can, with --pool-dir", path.display())]
    NotAllowed { path: PathBuf },
    #[error("{} is a link or no folder; a pool's path has to lead through folders alone", path.display())]
    Link { path: PathBuf },
    #[error("{} is not empty ({entry:?}), and no pool of Nubium: name an empty or a new folder", path.display())]
    NotEmpty { path: PathBuf, entry: String },
    #[error("{} belongs to StoragePool {name} ({uid}), as its file .nubium-pool says", path.display())]
    OtherPool { path: PathBuf, name: String, uid: String },
    #[error("{} is inside the pool at {}; name a folder beside it", path.display(), outer.display())]
    Inside { path: PathBuf, outer: PathBuf },
    #[error("{} has no mark of this pool, though it had one: mount its file system", path.display())]
    NotMounted { path: PathBuf },
    #[error(
        "{0} is user {owner}'s with mode {mode:04o}; a pool's folder has to be root's, writable by root alone and \
         passable for QEMU: `chown root {0}; chmod 0711 {0}`", path.display()
    )]
    FolderMode { path: PathBuf, owner: u32, mode: u32 },
    #[error("another process works in the pool at {}", pool.display())]
    Taken { pool: PathBuf },
    #[error("{verb} {}", path.display())]
    File {
        verb: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the pool at {} did not answer within {deadline:?}", pool.display())]
    Slow { pool: PathBuf, deadline: Duration },
}

/// The volumes of one pool. Every method is idempotent: what it would make is looked at first.
pub trait Volumes: Send + Sync {
    /// What is there; `None` only when the pool answered and the file is not in it.
    fn look(&self, volume: &FileName) -> impl Future<Output = Result<Option<VolumeSeen>, VolumeError>> + Send;
    /// Every volume in the pool, by name (for what runs without an object).
    fn list(&self) -> impl Future<Output = Result<Vec<FileName>, VolumeError>> + Send;
    /// A clone of an image of this pool, `size` bytes large and never smaller than the image.
    fn create_clone(
        &self,
        volume: &FileName,
        image: &FileName,
        size: u64,
    ) -> impl Future<Output = Result<(), VolumeError>> + Send;
    /// An empty disk of `size` bytes.
    fn create_blank(&self, volume: &FileName, size: u64) -> impl Future<Output = Result<(), VolumeError>> + Send;
    /// Removes a disk that no QEMU has open; one that is not there is removed already.
    fn delete(&self, volume: &FileName) -> impl Future<Output = Result<(), VolumeError>> + Send;
    /// The volumes that are clones of an image.
    fn clones_of(&self, image: &FileName) -> impl Future<Output = Result<Vec<FileName>, VolumeError>> + Send;
    /// The pool's space.
    fn space(&self) -> impl Future<Output = Result<Space, VolumeError>> + Send;
}
