//! Modes of files and folders: everything is private unless somebody else needs it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::umask;

/// The mode of a file that only this program's user reads.
pub const PRIVATE_FILE: u32 = 0o600;
/// The mode of a folder that QEMU's user has to pass through, and that nobody else may list.
pub const TRAVERSABLE_FOLDER: u32 = 0o711;

/// From now on, what this process makes is its user's alone unless a mode is set on it. Returns what was in force.
pub fn private_umask() -> u32 {
    umask(Mode::from_raw_mode(0o077)).as_raw_mode()
}

/// The umask for a process that starts programs of others (libvirtd): what services usually have.
pub const USUAL_UMASK: u32 = 0o022;

/// Sets this process's umask.
pub fn set_umask(mask: u32) {
    umask(Mode::from_raw_mode(mask));
}

/// Makes a folder, and its parents where they lack, all with exactly this mode, whatever the umask. One that is there
/// already gets the mode as well; its parents are left alone.
///
/// # Errors
/// When it cannot be made.
pub fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(parent) = path.parent() else { return Err(error) };
            make_folder(parent, mode)?;
            return make_folder(path, mode);
        }
        Err(error) => return Err(error),
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Takes the access of group and others from every plain file directly in this folder: an older release left them
/// readable. Links are not followed; a folder that is not there has no such files.
///
/// # Errors
/// When the folder cannot be listed, or a mode cannot be set.
pub fn make_private(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_file() && mode & 0o077 != 0 {
            match fs::set_permissions(entry.path(), Permissions::from_mode(mode & 0o700)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn folders_have_the_mode_they_were_given() {
        let folder = tempfile::tempdir().unwrap();
        let before = mode(folder.path());
        let deep = folder.path().join("a/b/c");
        make_folder(&deep, TRAVERSABLE_FOLDER).unwrap();
        assert_eq!([mode(&deep), mode(&folder.path().join("a/b")), mode(&folder.path().join("a"))], [0o711; 3]);
        assert_eq!(mode(folder.path()), before);
        make_folder(&deep, 0o700).unwrap();
        assert_eq!((mode(&deep), mode(&folder.path().join("a/b"))), (0o700, 0o711));
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(make_folder(&folder.path().join("file"), 0o700).is_err());
    }

    #[test]
    fn files_of_an_older_release_are_made_private() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link, inner) =
            (folder.path().join("store.db"), folder.path().join("link"), folder.path().join("inner"));
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        fs::set_permissions(elsewhere.path(), Permissions::from_mode(0o644)).unwrap();
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), &link).unwrap();
        make_folder(&inner, TRAVERSABLE_FOLDER).unwrap();
        make_private(folder.path()).unwrap();
        assert_eq!((mode(&file), mode(elsewhere.path()), mode(&inner)), (0o600, 0o644, 0o711));
        make_private(&folder.path().join("absent")).unwrap();
    }
}
