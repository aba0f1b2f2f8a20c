//! Removing a folder with all that is in it, and nothing that is mounted there.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Removes `root` and what is below it, on its own file system only. What is mounted below stays, with the folders that
/// lead there; the answer names it. A root that is not there is removed already.
pub(crate) fn remove_tree(root: &Path) -> io::Result<Vec<PathBuf>> {
    let root = match fs::canonicalize(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        root => root?,
    };
    let mounts = below(&root, &fs::read("/proc/thread-self/mountinfo")?);
    if mounts.is_empty() {
        return gone(fs::remove_dir_all(&root)).map(|()| Vec::new());
    }
    remove_around(&root, &mounts)?;
    Ok(mounts.into_iter().filter(|mount| *mount != root).collect())
}

/// Empties a folder that is, or leads to, a mount point.
fn remove_around(folder: &Path, mounts: &[PathBuf]) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if !entry.file_type()?.is_dir() {
            gone(fs::remove_file(&path))?;
        } else if mounts.contains(&path) {
            continue;
        } else if mounts.iter().any(|mount| mount.starts_with(&path)) {
            remove_around(&path, mounts)?;
        } else {
            gone(fs::remove_dir_all(&path))?;
        }
    }
    Ok(())
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The mount points at or below a folder, from the text of `/proc/thread-self/mountinfo`.
fn below(root: &Path, mountinfo: &[u8]) -> Vec<PathBuf> {
    let point = |line: &[u8]| line.split(|byte| *byte == b' ').nth(4).map(unescape);
    let mut mounts: Vec<PathBuf> =
        mountinfo.split(|byte| *byte == b'\n').filter_map(point).filter(|mount| mount.starts_with(root)).collect();
    mounts.sort();
    mounts.dedup();
    mounts
}

/// The kernel writes a space, tab, line end or backslash of a path as three octal digits.
fn unescape(escaped: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, code.and_then(|digits| u8::from_str_radix(digits, 8).ok())) {
            (b'\\', Some(byte)) => {
                path.push(byte);
                rest = &after[3..];
            }
            _ => {
                path.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(path).into()
}

#[cfg(test)]
mod tests {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};

    use super::*;

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        let text = b"22 1 0:21 / / rw shared:1 - ext4 /dev/vda rw\n\
                     40 22 0:30 / /var/lib/nubium/pools/a\\040b rw - nfs x rw\n\
                     41 22 0:31 / /var/lib/nubium2 rw - nfs x rw\n";
        assert_eq!(below(Path::new("/var/lib/nubium"), text), [PathBuf::from("/var/lib/nubium/pools/a b")]);
    }

    #[test]
    fn what_is_mounted_below_stays_and_is_named() {
        if !nix::unistd::geteuid().is_root() {
            return eprintln!("SKIPPED: only root can mount");
        }
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap().join("state");
        let (other, bound) = (root.join("pools/fast x"), root.join("pools/bound"));
        for path in [&other, &bound, &root.join("pools/plain/volumes")] {
            fs::create_dir_all(path).unwrap();
        }
        fs::write(root.join("store.db"), "").unwrap();
        fs::write(root.join("pools/plain/volumes/disk"), "").unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("precious"), "").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), root.join("link")).unwrap();
        let (tree, precious) = (root.clone(), elsewhere.path().to_owned());
        // A mount namespace is a thread's.
        let left = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
            mount(Some("tmpfs"), &other, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
            fs::write(other.join("disk"), "").unwrap();
            // Of the same device: a device number does not tell it.
            mount(Some(&precious), &bound, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
            let left = remove_tree(&tree).unwrap();
            assert!(other.join("disk").exists());
            left
        });
        assert_eq!(left.join().unwrap(), [root.join("pools/bound"), root.join("pools/fast x")]);
        assert!(elsewhere.path().join("precious").exists());
        let names = |path: &Path| {
            let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&root), ["pools"]);
        assert_eq!(names(&root.join("pools")), ["bound", "fast x"]);
        // Here nothing is mounted.
        assert!(remove_tree(&root).unwrap().is_empty());
        assert!(!root.exists() && remove_tree(&root).unwrap().is_empty());
    }
}
