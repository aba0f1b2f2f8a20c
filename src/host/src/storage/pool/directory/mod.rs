//! The `directory` driver: a pool is a folder on a file system of the host.
//!
//! ```text
//! <pool>/images/<namespace>/<image>.<uid>.qcow2     root's, 0444: nobody changes what others are clones of
//! <pool>/volumes/<namespace>/<volume>.<uid>.qcow2   QEMU's user's, 0600
//! <pool>/incoming/…                                 what is being made; emptied when the pool is opened
//! <pool>/.nubium-pool                               whose folder it is
//! ```
//! All folders are root's, so that no QEMU can replace a file. Everything is made in `incoming`, flushed, renamed and the
//! folder synced: a file under its name is whole, also after a power cut.

mod claim;
mod in_use;
mod mark;
mod publish;
#[cfg(test)]
mod tests;
mod volumes;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::task::JoinHandle;

pub use claim::Claim;
pub use mark::{Mark, Records};
pub(crate) use publish::{Staging, publish, sync_folder};
pub(crate) use volumes::{locked, read_header};

use claim::{by_descriptor, open_folder};

use super::{Space, VolumeError};
use crate::storage::FileName;

const DEADLINE: Duration = Duration::from_secs(30);
const FOLDER_MODE: u32 = 0o711;

/// The user and group that QEMU runs as, who owns the volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileOwner {
    pub uid: u32,
    pub gid: u32,
}

/// A pool that is a folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DirectoryPool {
    root: PathBuf,
    owner: FileOwner,
    folder: Arc<File>,
    _lock: Arc<Flock<File>>,
}

impl DirectoryPool {
    /// Claims the folder and empties its `incoming`. Until the last clone is dropped no other process of this host can open
    /// it. Blocking.
    pub fn open(claim: &Claim, owner: FileOwner) -> Result<Self, VolumeError> {
        let root = claim.root.clone();
        let failed = |verb, source| VolumeError::File { verb, path: root.join(claim::INCOMING), source };
        let folder = claim.take()?;
        let incoming = by_descriptor(&folder).join(claim::INCOMING);
        let held = open_folder(&incoming).map_err(|source| failed("open the folder", source))?;
        let lock = Flock::lock(held, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => VolumeError::Taken { pool: root.clone() },
            other => failed("lock", other.into()),
        })?;
        empty(&by_descriptor(&lock)).map_err(|source| failed("empty the folder", source))?;
        Ok(Self { root, owner, folder: Arc::new(folder), _lock: Arc::new(lock) })
    }

    /// Whether the pool's path still leads to the folder that was claimed, and not to what is below its mount point. Blocking.
    pub(crate) fn is_there(&self) -> Result<(), VolumeError> {
        let failed = |source| VolumeError::File { verb: "look at", path: self.root.clone(), source };
        let not_mounted = || VolumeError::NotMounted { path: self.root.clone() };
        let claimed = self.folder.metadata().map_err(failed)?;
        match fs::symlink_metadata(&self.root) {
            Ok(found) if (found.dev(), found.ino()) == (claimed.dev(), claimed.ino()) => Ok(()),
            Ok(_) => Err(not_mounted()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(not_mounted()),
            Err(error) => Err(failed(error)),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an image's file is, or would be.
    pub fn image_path(&self, image: &FileName) -> PathBuf {
        self.images().join(image.relative())
    }

    /// Where a volume's file is, or would be.
    pub fn volume_path(&self, volume: &FileName) -> PathBuf {
        self.volumes().join(volume.relative())
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.root.join(claim::IMAGES)
    }

    fn volumes(&self) -> PathBuf {
        self.root.join(claim::VOLUMES)
    }

    pub(crate) fn incoming(&self) -> PathBuf {
        self.root.join(claim::INCOMING)
    }

    /// The pool's space now. Blocking.
    pub fn space_now(&self) -> Result<Space, VolumeError> {
        let seen = nix::sys::statvfs::statvfs(&self.root).map_err(|errno| VolumeError::File {
            verb: "ask for the space of",
            path: self.root.clone(),
            source: errno.into(),
        })?;
        let unit = seen.fragment_size();
        Ok(Space { capacity: seen.blocks() * unit, available: seen.blocks_available() * unit })
    }

    /// Runs blocking work on the pool's files away from the async threads, with a deadline: a pool that does not answer
    /// is an error, never an absence.
    pub(crate) async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, VolumeError> + Send + 'static,
    ) -> Result<T, VolumeError> {
        let pool = self.clone();
        within_deadline(&self.root, tokio::task::spawn_blocking(move || pool.is_there().and_then(|()| work(&pool))))
            .await
    }
}

/// Waits for blocking work on a pool, but not for ever.
pub(crate) async fn within_deadline<T>(
    pool: &Path,
    running: JoinHandle<Result<T, VolumeError>>,
) -> Result<T, VolumeError> {
    let slow = || VolumeError::Slow { pool: pool.to_owned(), deadline: DEADLINE };
    match tokio::time::timeout(DEADLINE, running).await {
        Ok(Ok(done)) => done,
        Ok(Err(stopped)) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(slow()),
        },
        Err(_) => Err(slow()),
    }
}

/// Every file of the form `<namespace>/<name>.<uid>.qcow2` below `folder`. Blocking.
pub(crate) fn names_below(folder: &Path) -> Result<Vec<FileName>, VolumeError> {
    let mut names = Vec::new();
    for namespace in entries(folder)? {
        match entries(&folder.join(&namespace)) {
            Ok(files) => {
                names.extend(files.iter().filter_map(|file| FileName::from_relative(&Path::new(&namespace).join(file))))
            }
            Err(error) if is_no_folder(&error) => {} // a stray file, or a folder that just went with its last file
            Err(error) => return Err(error),
        }
    }
    names.sort();
    Ok(names)
}

fn is_no_folder(error: &VolumeError) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error, VolumeError::File { source, .. } if matches!(source.kind(), NotFound | NotADirectory))
}

fn entries(folder: &Path) -> Result<Vec<OsString>, VolumeError> {
    let list = || fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>();
    list().map_err(|source| VolumeError::File { verb: "list", path: folder.to_owned(), source })
}

fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    Ok(())
}

/// Opens an existing file of the pool, never through a link. `None` when it is not there.
pub(crate) fn open_existing(path: &Path, write: bool) -> Result<Option<File>, VolumeError> {
    match OpenOptions::new().read(true).write(write).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(VolumeError::File { verb: "open", path: path.to_owned(), source }),
    }
}
