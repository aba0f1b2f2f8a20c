//! One netd per file: the process holds a lock on its pid file for as long as it lives, however it dies.

use std::{
    fs,
    io::{self, Read, Seek, Write},
    path::Path,
    time::Duration,
};

use nix::fcntl::{Flock, FlockArg};

use crate::NetdError;

/// Takes the lock and writes our process id. Somebody who only asks ([`holder`]) holds it for a moment, so this
/// tries for a second.
pub(crate) fn take(path: &Path) -> Result<Flock<fs::File>, NetdError> {
    let failed = |source| NetdError::Lock { path: path.into(), source };
    let mut file = open(path).map_err(failed)?;
    for _ in 0..100 {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut held) => {
                let write = |held: &mut fs::File| {
                    held.set_len(0)?;
                    held.rewind()?;
                    writeln!(held, "{}", std::process::id())
                };
                write(&mut held).map_err(failed)?;
                return Ok(held);
            }
            Err((back, nix::Error::EWOULDBLOCK)) => file = back,
            Err((_, errno)) => return Err(failed(errno.into())),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(NetdError::Taken { path: path.into() })
}

/// The process id of the netd that holds the lock; `None` when none runs (or it has only just begun).
pub fn holder(path: &Path) -> io::Result<Option<u32>> {
    let file = match fs::OpenOptions::new().read(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_free) => Ok(None),
        Err((mut file, nix::Error::EWOULDBLOCK)) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(text.trim().parse().ok())
        }
        Err((_, errno)) => Err(errno.into()),
    }
}

fn open(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_says_who_lives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("netd.pid");
        assert_eq!(holder(&path).unwrap(), None);
        let held = take(&path).unwrap();
        assert_eq!(holder(&path).unwrap(), Some(std::process::id()));
        assert!(matches!(take(&path), Err(NetdError::Taken { .. })));
        drop(held);
        assert_eq!(holder(&path).unwrap(), None, "a pid that is only written down is not alive");
    }
}
