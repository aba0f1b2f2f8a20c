//! The mark of a pool's folder: a file that says which StoragePool it belongs to.
//!
//! Without it a path is only a path: it may name somebody's data, or the mount point of a file system that is not there.
//! [`Records`] remember on this host which pools were marked, so that a mark that is missing later means "not mounted".

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::publish::sync_folder;

/// The name of the mark in a pool's folder.
pub const MARK: &str = ".nubium-pool";
/// The mark while it is being written.
pub(super) const UNFINISHED: &str = ".nubium-pool.new";
const LONGEST: u64 = 4096;

/// The StoragePool that a folder belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub name: String,
    pub uid: String,
}

impl Mark {
    /// Reads the mark of a folder; `None` when the folder has none.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Self>> {
        let path = folder.join(MARK);
        match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
            Ok(file) if file.metadata()?.len() <= LONGEST => Ok(Some(serde_json::from_reader(file)?)),
            Ok(_) => Err(io::ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Leaves the mark in a folder, whole or not at all.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        replace(folder, UNFINISHED, MARK, &serde_json::to_vec(self)?)
    }
}

/// The pools that this host has marked: a file for each UID, with the folder in it.
#[derive(Debug, Clone)]
pub struct Records(pub PathBuf);

impl Records {
    /// Where a pool was when it was marked.
    pub(super) fn folder_of(&self, uid: &str) -> io::Result<Option<PathBuf>> {
        match fs::read(self.0.join(uid)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn add(&self, uid: &str, folder: &Path) -> io::Result<()> {
        if self.folder_of(uid).ok().flatten().as_deref() == Some(folder) {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        replace(&self.0, ".new", uid, &serde_json::to_vec(folder)?)
    }
}

fn replace(folder: &Path, unfinished: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = folder.join(unfinished);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&path, folder.join(name))?;
    sync_folder(folder)
}
