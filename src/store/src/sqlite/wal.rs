//! The write-ahead log's file, made as long as it gets before the first commit.
//!
//! A commit that makes a file longer syncs its data, its extents and its inode one after the other; one that overwrites
//! syncs only data. SQLite takes what follows the last frame that it wrote for no frame: zeros have no valid checksum.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// After how many pages SQLite takes the log over into the database and begins it anew.
pub(super) const CHECKPOINT_PAGES: u32 = 2000;

/// The length of that many pages, each with its header, and some more for the commit that is the last.
const LENGTH: u64 = (CHECKPOINT_PAGES as u64 + 100) * (4096 + 24);

/// Fills the file of the store in `path` up with zeros. Nothing that is there is changed.
pub(super) fn lengthen(path: &Path) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    let file = File::options().write(true).open(name)?;
    let zeros = [0; 64 << 10];
    let mut at = file.metadata()?.len();
    if at >= LENGTH {
        return Ok(());
    }
    while at < LENGTH {
        let length = zeros.len().min(usize::try_from(LENGTH - at).unwrap_or(usize::MAX));
        file.write_all_at(&zeros[..length], at)?;
        at += length as u64;
    }
    file.sync_all()
}
