//! How a file gets its name: temporary, flushed, renamed, the folder synced.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::{DirectoryPool, FOLDER_MODE, FileOwner};

/// A private folder (root's, 0700) for the parts of one file that is being made; gone with all it holds when dropped.
#[derive(Debug)]
pub(crate) struct Staging {
    folder: PathBuf,
}

impl Staging {
    pub(crate) fn new(pool: &DirectoryPool) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        pool.is_there().map_err(io::Error::other)?;
        let folder = pool.incoming().join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self { folder })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A new file in it.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        File::options().read(true).write(true).create_new(true).open(self.path(name))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "could not remove an unfinished file");
        }
    }
}

/// Gives a finished file its owner, its mode and its name, and syncs the folder. `false` when the name is taken: what
/// stands there is never replaced.
pub(crate) fn publish(file: &File, from: &Path, to: &Path, owner: FileOwner, mode: u32) -> io::Result<bool> {
    fchown(file, Some(owner.uid), Some(owner.gid))?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()?;
    let folder = to.parent().expect("a file of a pool is in a namespace's folder");
    if let Err(error) = DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
    } else {
        fs::set_permissions(folder, fs::Permissions::from_mode(FOLDER_MODE))?;
        sync_folder(folder.parent().expect("a namespace's folder is in the pool"))?;
    }
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => sync_folder(folder).map(|()| true),
        Err(Errno::EEXIST) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes what was renamed or removed in a folder last through a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
