//! A file of the host, from a folder that its admin allowed.
//!
//! The name is a tenant's word. The kernel itself is asked to resolve it beneath the folder without following any link
//! (`openat2`), so there is no moment between a check and the use; what comes out has to be a regular file.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

/// Why a file of the host is not a source.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("this host allows no files as images; its admin can, with --image-dir")]
    NoFolder,
    #[error("{path:?} is not in a folder that this host allows for images (--image-dir)")]
    Outside { path: String },
    #[error("there is no file {path:?} in the folders that this host allows for images")]
    NotFound { path: String },
    #[error("{path:?} goes through a link, which is not followed; name the file itself")]
    Link { path: String },
    #[error("{path:?} is not a regular file")]
    NotRegular { path: String },
    #[error("{path:?} is still being written; it is read when nobody has it open for writing")]
    BeingWritten { path: String },
    #[error("{path:?} changed while it was read")]
    Changed { path: String },
    #[error("open {path:?}")]
    Open {
        path: String,
        #[source]
        source: io::Error,
    },
}

/// A writer that is about to close the file (or a child of it, between `fork` and `exec`) is waited for so long.
const CLOSING: Duration = Duration::from_millis(200);

/// The folders whose files can be images; none by default.
#[derive(Debug, Clone, Default)]
pub struct Folders(pub Vec<PathBuf>);

impl Folders {
    /// Opens a file by a path relative to one of the folders, or by an absolute path that begins with one of them. The
    /// first folder that has it wins. Blocking.
    pub fn open(&self, path: &str) -> Result<File, FileError> {
        if self.0.is_empty() {
            return Err(FileError::NoFolder);
        }
        let wanted = Path::new(path);
        let mut inside = false;
        for folder in &self.0 {
            let Some(below) = below(folder, wanted) else { continue };
            inside = true;
            match open_beneath(folder, below, path) {
                Err(FileError::NotFound { .. }) => {}
                done => return done,
            }
        }
        let path = path.to_owned();
        Err(if inside { FileError::NotFound { path } } else { FileError::Outside { path } })
    }
}

/// The part of a path below a folder, by its words alone; `None` when it is elsewhere or tries to climb.
fn below<'a>(folder: &Path, path: &'a Path) -> Option<&'a Path> {
    let below = if path.is_absolute() { path.strip_prefix(folder).ok()? } else { path };
    let plain = below.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    (plain && !below.as_os_str().is_empty()).then_some(below)
}

fn open_beneath(folder: &Path, below: &Path, path: &str) -> Result<File, FileError> {
    let named = || path.to_owned();
    let folder = File::open(folder).map_err(|source| FileError::Open { path: folder.display().to_string(), source })?;
    // Non-blocking, so that a FIFO cannot hold us; it changes nothing for a regular file.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let opened = openat2(folder.as_fd(), below, OpenHow::new().flags(flags).resolve(resolve));
    let file = File::from(opened.map_err(|errno| match errno {
        Errno::ENOENT | Errno::ENOTDIR => FileError::NotFound { path: named() },
        Errno::ELOOP => FileError::Link { path: named() },
        Errno::EXDEV => FileError::Outside { path: named() },
        Errno::ENXIO => FileError::NotRegular { path: named() },
        other => FileError::Open { path: named(), source: other.into() },
    })?);
    let about = file.metadata().map_err(|source| FileError::Open { path: named(), source })?;
    if !about.is_file() {
        return Err(FileError::NotRegular { path: named() });
    }
    let end = Instant::now() + CLOSING;
    while has_writer(&file) {
        if Instant::now() >= end {
            return Err(FileError::BeingWritten { path: named() });
        }
        sleep(Duration::from_millis(10));
    }
    Ok(file)
}

/// What must be the same before and after a file is read: its length and when it was changed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    length: u64,
    changed: (i64, i64),
    modified: (i64, i64),
}

impl Version {
    pub fn of(file: &File) -> io::Result<Self> {
        let about = file.metadata()?;
        Ok(Self {
            length: about.len(),
            changed: (about.ctime(), about.ctime_nsec()),
            modified: (about.mtime(), about.mtime_nsec()),
        })
    }

    /// Whether the file is as it was and nobody is about to change it.
    pub fn still_of(&self, file: &File) -> io::Result<bool> {
        Ok(*self == Self::of(file)? && !has_writer(file))
    }
}

/// `F_SETSIG` of Linux, which the libc crate does not name.
const F_SETSIG: libc::c_int = 10;

/// Whether any process has the file open for writing: the kernel gives no read lease then. Where a file system knows no
/// leases (NFS, FUSE) nobody can tell, and the length and the times have to do.
fn has_writer(file: &File) -> bool {
    let fd = file.as_raw_fd();
    // SAFETY: the descriptor is open for as long as `file` is borrowed; these commands take a number.
    unsafe {
        // Whoever opens it in the moment of the lease breaks that; the signal of it is one that is ignored by default.
        libc::fcntl(fd, F_SETSIG, libc::SIGURG);
        let denied = libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) < 0 && Errno::last() == Errno::EAGAIN;
        libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK);
        denied
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn world() -> (tempfile::TempDir, Folders) {
        let world = tempfile::tempdir().unwrap();
        let root = world.path();
        fs::create_dir_all(root.join("images/sub")).unwrap();
        fs::write(root.join("secret"), "s").unwrap();
        fs::write(root.join("images/a.img"), "a").unwrap();
        fs::write(root.join("images/sub/b.img"), "b").unwrap();
        symlink("../secret", root.join("images/link")).unwrap();
        symlink("a.img", root.join("images/inner")).unwrap();
        symlink("..", root.join("images/up")).unwrap();
        symlink("sub", root.join("images/folder")).unwrap();
        nix::unistd::mkfifo(&root.join("images/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let folders = Folders(vec![root.join("nothing-here-but-allowed"), root.join("images")]);
        fs::create_dir(root.join("nothing-here-but-allowed")).unwrap();
        (world, folders)
    }

    #[test]
    fn a_file_below_a_folder_opens_by_either_path() {
        let (world, folders) = world();
        let absolute = world.path().join("images/sub/b.img");
        for path in ["a.img", "./a.img", "sub/b.img", absolute.to_str().unwrap()] {
            assert!(folders.open(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn nothing_else_opens() {
        let (world, folders) = world();
        let secret = world.path().join("secret");
        let climbing = world.path().join("images/../secret");
        for path in [
            "../secret",
            "sub/../../secret",
            secret.to_str().unwrap(),
            climbing.to_str().unwrap(),
            "",
            "/",
            "/etc/passwd",
        ] {
            assert!(matches!(folders.open(path), Err(FileError::Outside { .. })), "{path}");
        }
        for path in ["link", "inner", "up/secret", "folder/b.img"] {
            assert!(matches!(folders.open(path), Err(FileError::Link { .. })), "{path}");
        }
        for path in ["sub", "pipe"] {
            assert!(matches!(folders.open(path), Err(FileError::NotRegular { .. })), "{path}");
        }
        for path in ["none", "a.img/x"] {
            assert!(matches!(folders.open(path), Err(FileError::NotFound { .. })), "{path}");
        }
        assert!(matches!(Folders::default().open("a.img"), Err(FileError::NoFolder)));
        assert!(matches!(folders.open("a\0b"), Err(FileError::Open { .. })));
    }
}
