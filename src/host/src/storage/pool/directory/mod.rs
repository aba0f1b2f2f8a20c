//! The `directory` driver: a pool is a folder on a file system of the host.
//!
//! ```text
//! <pool>/images/<namespace>/<image>.<uid>.qcow2     root's, 0444: nobody changes what others are clones of
//! <pool>/volumes/<namespace>/<volume>.<uid>.qcow2   QEMU's user's, 0600
//! <pool>/incoming/…                                 what is being made; emptied when the pool is opened
//! ```
//! All folders are root's, so that no QEMU can replace a file. Everything is made in `incoming`, flushed, renamed and the
//! folder synced: a file under its name is whole, also after a power cut.

mod in_use;
mod publish;
mod volumes;

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::task::JoinHandle;

pub(crate) use publish::{Staging, publish, sync_folder};
pub(crate) use volumes::{locked, read_header};

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
    _lock: Arc<Flock<File>>,
}

impl DirectoryPool {
    /// Makes the folders of the pool and empties `incoming`. Until its last clone is dropped nobody else can open it.
    /// Blocking.
    pub fn open(root: &Path, owner: FileOwner) -> Result<Self, VolumeError> {
        let failed = |verb, path: &Path, source| VolumeError::File { verb, path: path.to_owned(), source };
        let made = make_folder(root).and_then(|()| File::open(root));
        let folder = made.map_err(|source| failed("make the folder", root, source))?;
        let lock = Flock::lock(folder, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => VolumeError::Taken { pool: root.to_owned() },
            other => failed("lock", root, other.into()),
        })?;
        let pool = Self { root: root.to_owned(), owner, _lock: Arc::new(lock) };
        for folder in [pool.images(), pool.volumes()] {
            make_folder(&folder).map_err(|source| failed("make the folder", &folder, source))?;
        }
        let incoming = pool.incoming();
        let emptied = match fs::remove_dir_all(&incoming) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => DirBuilder::new().mode(0o700).create(&incoming),
        };
        emptied.map_err(|source| VolumeError::File { verb: "empty the folder", path: incoming, source })?;
        Ok(pool)
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
        self.root.join("images")
    }

    fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    pub(crate) fn incoming(&self) -> PathBuf {
        self.root.join("incoming")
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
        within_deadline(&self.root, tokio::task::spawn_blocking(move || work(&pool))).await
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

fn make_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder) {
        Ok(()) => fs::set_permissions(folder, fs::Permissions::from_mode(FOLDER_MODE)),
        Err(error) => Err(error),
    }
}

/// Opens an existing file of the pool, never through a link. `None` when it is not there.
pub(crate) fn open_existing(path: &Path, write: bool) -> Result<Option<File>, VolumeError> {
    match OpenOptions::new().read(true).write(write).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(VolumeError::File { verb: "open", path: path.to_owned(), source }),
    }
}
