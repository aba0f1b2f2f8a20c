//! Room on the disk: a store must be able to delete when everything else has filled it.
//!
//! ```text
//!  free ≥ headroom             everything is taken
//!  free < headroom             no new objects, no growing ones
//!  free < half of the reserve  the same, and the reserve's file is given back to the disk
//!  free ≥ headroom + reserve   the reserve is made again
//! ```

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// By how much a value may grow when the disk is full: what a status or a deletion mark needs.
pub(super) const SMALL_GROWTH: usize = 4096;

/// The disk's room, as the store manages it.
#[derive(Debug)]
pub(super) struct Room {
    folder: PathBuf,
    file: PathBuf,
    headroom: u64,
    reserve: u64,
    full: bool,
}

impl Room {
    /// The room of the store in `path`. Gives the reserve back at once when the disk is full: opening a database needs
    /// room too.
    pub fn open(path: &Path, headroom: u64, reserve: u64) -> Self {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let mut room = Self { folder, file: path.with_extension("reserve"), headroom, reserve, full: false };
        room.look();
        room
    }

    /// Looks at the disk. True when it has only room for what needs hardly any.
    pub fn look(&mut self) -> bool {
        let free = match self.free() {
            Ok(free) => free,
            Err(error) => {
                tracing::debug!(%error, "cannot look at the free space of the store's disk");
                return self.full;
            }
        };
        if free < self.reserve / 2 {
            self.give_back();
        } else if free >= self.headroom + self.reserve && !self.file.exists() {
            match self.make_reserve() {
                Ok(()) => {}
                Err(error) => tracing::debug!(%error, "cannot keep room back for deletions"),
            }
        }
        let full = free < self.headroom;
        if full != self.full {
            self.full = full;
            match full {
                true => tracing::error!(
                    free,
                    folder = %self.folder.display(),
                    "the store's disk is full: only deletions and small changes are taken"
                ),
                false => tracing::info!(free, "the store's disk has room again"),
            }
        }
        full
    }

    /// Gives the reserve back to the disk. True when there was one.
    pub fn give_back(&self) -> bool {
        fs::remove_file(&self.file).is_ok()
    }

    fn free(&self) -> io::Result<u64> {
        let disk = statvfs(&self.folder)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn make_reserve(&self) -> io::Result<()> {
        if self.reserve == 0 {
            return Ok(());
        }
        let file = File::options().create(true).write(true).truncate(true).mode(0o600).open(&self.file)?;
        let made = fallocate(&file, FallocateFlags::empty(), 0, self.reserve);
        if made.is_err() {
            self.give_back();
        }
        made.map_err(Into::into)
    }
}
