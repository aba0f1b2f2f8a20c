//! The newest revision that was answered, in a small file beside the store.
//!
//! SQLite takes a write-ahead log that was cut off or damaged for one that ends there, and opens without a word. This file
//! shows that something is missing. It is written after each commit and not synced: it may lag behind the store after a
//! power cut, and is never ahead of it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::Revision;

const LENGTH: usize = 12;

/// The file, open for writing.
pub(super) struct Newest(File);

impl Newest {
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        Ok(Self(options.open(path.with_extension("revision"))?))
    }

    /// What was recorded; `None` when nothing whole is there.
    pub fn read(&self) -> io::Result<Option<Revision>> {
        let mut bytes = [0; LENGTH];
        match self.0.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let (revision, sum) = bytes.split_at(8);
        let whole = crc32fast::hash(revision).to_le_bytes() == sum;
        Ok(whole.then(|| revision.try_into().map(Revision::from_le_bytes).ok()).flatten())
    }

    /// Records a revision in place: it needs no room that the file does not have.
    pub fn write(&self, revision: Revision) -> io::Result<()> {
        let revision = revision.to_le_bytes();
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&revision);
        bytes[8..].copy_from_slice(&crc32fast::hash(&revision).to_le_bytes());
        self.0.write_all_at(&bytes, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_half_a_file_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let newest = Newest::open(&path).unwrap();
        assert_eq!(newest.read().unwrap(), None);
        newest.write(7).unwrap();
        newest.write(8).unwrap();
        assert_eq!(Newest::open(&path).unwrap().read().unwrap(), Some(8));
        newest.0.write_all_at(&[9], 0).unwrap();
        assert_eq!(newest.read().unwrap(), None);
        newest.0.set_len(5).unwrap();
        assert_eq!(newest.read().unwrap(), None);
    }
}
