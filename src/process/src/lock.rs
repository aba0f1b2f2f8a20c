//! Lock files: one process at a time, and the others can find out which.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{PRIVATE_FILE, Process};

/// How long a lock whose holder is not known is waited for: its holder has only just begun, or it is a child between
/// `fork` and `exec` that inherited the file of a holder that ended.
const UNKNOWN_HOLDER: Duration = Duration::from_secs(1);

/// Why a lock could not be taken.
#[derive(Debug)]
pub enum LockError {
    /// Another process has it; `None` when it is not known which.
    Taken(Option<Process>),
    /// The file cannot be used.
    File(io::Error),
}

/// A lock on a file, held until this is dropped or the process ends, however it ends.
///
/// The file is the owner's alone (0600), so that nobody else can take the lock; it holds the process's number.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "it is held, not read")] File);

impl Lock {
    /// Takes the lock if nobody has it.
    ///
    /// # Errors
    /// [`LockError::Taken`] when another process has it.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let end = Instant::now() + UNKNOWN_HOLDER;
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(PRIVATE_FILE);
            let mut file = options.open(path).map_err(LockError::File)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => match holder(path).unwrap_or_default() {
                    None if Instant::now() < end => {
                        sleep(Duration::from_millis(20));
                        continue;
                    }
                    known => return Err(LockError::Taken(known)),
                },
                Err(TryLockError::Error(error)) => return Err(LockError::File(error)),
            }
            // Removed between the two calls (by a purge): the lock is on a file that nobody will find again.
            if !is_at(&file, path).map_err(LockError::File)? {
                continue;
            }
            let written = file
                .set_permissions(fs::Permissions::from_mode(PRIVATE_FILE))
                .and_then(|()| file.set_len(0))
                .and_then(|()| file.rewind())
                .and_then(|()| writeln!(file, "{}", std::process::id()));
            return written.map(|()| Self(file)).map_err(LockError::File);
        }
    }
}

/// The process that holds the lock on this file; `None` when there is no file, no lock, or its holder has only just
/// begun. Whoever is only named in the file is not returned: the kernel has to show that it holds the lock.
///
/// # Errors
/// When the file or the process cannot be looked at.
pub fn holder(path: &Path) -> io::Result<Option<Process>> {
    let mut text = String::new();
    match File::open(path).and_then(|mut file| file.read_to_string(&mut text)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let Ok(pid) = text.trim().parse() else { return Ok(None) };
    let Some(process) = Process::open(pid)? else { return Ok(None) };
    match process.holds_lock(path) {
        Ok(held) => Ok(held.then_some(process)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((open.dev(), open.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_lock_says_who_lives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("up.lock");
        assert!(holder(&path).unwrap().is_none());
        let held = Lock::take(&path).unwrap();
        assert_eq!(holder(&path).unwrap().map(|process| process.pid()), Some(std::process::id()));
        match Lock::take(&path) {
            Err(LockError::Taken(Some(process))) => assert_eq!(process.pid(), std::process::id()),
            other => panic!("{other:?}"),
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(held);
        assert!(holder(&path).unwrap().is_none(), "a process that is only written down is not the holder");
    }

    #[test]
    fn a_stranger_that_got_the_recorded_number_is_never_the_holder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("up.lock");
        let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
        let held = Lock::take(&path).unwrap();
        // The lock is held, and the file names a process that does not hold it.
        fs::write(&path, stranger.id().to_string()).unwrap();
        assert!(holder(&path).unwrap().is_none());
        assert!(matches!(Lock::take(&path), Err(LockError::Taken(None))));
        drop(held);
        assert!(holder(&path).unwrap().is_none());
        Process::open(stranger.id()).unwrap().unwrap().end(Duration::from_secs(5)).unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn a_lock_of_an_older_release_is_seen_and_made_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("up.lock");
        fs::write(&path, "1").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        file.try_lock().unwrap();
        fs::write(&path, std::process::id().to_string()).unwrap();
        assert_eq!(holder(&path).unwrap().map(|process| process.pid()), Some(std::process::id()));
        drop(file);
        let _held = Lock::take(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_lock_on_a_file_that_was_removed_is_not_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("up.lock");
        let _first = Lock::take(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = Lock::take(&path).unwrap();
        assert!(holder(&path).unwrap().is_some());
    }
}
