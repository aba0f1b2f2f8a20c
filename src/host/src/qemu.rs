//! The QEMU processes of this machine, whoever started them: what `/proc` says of the files and taps they have open.
//!
//! A guest that no libvirt shows still writes to its disk; this is how it is found.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A QEMU process, and a file of ours that it has open.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    pub pid: u32,
    pub file: PathBuf,
}

/// The QEMU processes that have a file below one of `folders` open: each with one such file. Links are not followed.
/// Blocks.
///
/// # Errors
/// When a folder or `/proc` could not be read: nothing is known then.
pub fn holders_below(folders: &[&Path]) -> io::Result<Vec<Holder>> {
    let mut files = BTreeMap::new();
    for folder in folders {
        collect(folder, &mut files)?;
    }
    holders(&files, &is_qemu)
}

/// The taps that QEMU processes have open, by name, in whatever network namespace. Blocks.
///
/// # Errors
/// When `/proc` does not show what a QEMU has open. What other processes have open is not asked: some of them show it to
/// nobody.
pub fn held_taps() -> io::Result<BTreeSet<String>> {
    let mut taps = BTreeSet::new();
    for pid in pids()?.into_iter().filter(|pid| is_qemu(*pid)) {
        for (number, _) in open_files(pid)?.into_iter().filter(|(_, link)| link == Path::new("/dev/net/tun")) {
            let info = ignore_gone(fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")))?.unwrap_or_default();
            taps.extend(info.lines().find_map(|line| line.strip_prefix("iff:")).map(|name| name.trim().to_owned()));
        }
    }
    Ok(taps)
}

/// By device and inode: the same file has another path in another mount namespace.
type Files = BTreeMap<(u64, u64), PathBuf>;

fn collect(path: &Path, files: &mut Files) -> io::Result<()> {
    let Some(meta) = ignore_gone(fs::symlink_metadata(path))? else { return Ok(()) };
    if meta.is_file() {
        files.insert((meta.dev(), meta.ino()), path.to_owned());
    } else if meta.is_dir() {
        for entry in ignore_gone(fs::read_dir(path))?.into_iter().flatten() {
            collect(&entry?.path(), files)?;
        }
    }
    Ok(())
}

fn holders(files: &Files, wanted: &dyn Fn(u32) -> bool) -> io::Result<Vec<Holder>> {
    let mut found = Vec::new();
    for pid in pids()?.into_iter().filter(|pid| wanted(*pid)) {
        for (number, _) in open_files(pid)? {
            let Some(meta) = ignore_gone(fs::metadata(format!("/proc/{pid}/fd/{number}")))? else { continue };
            if let Some(file) = files.get(&(meta.dev(), meta.ino())) {
                found.push(Holder { pid, file: file.clone() });
                break;
            }
        }
    }
    Ok(found)
}

fn is_qemu(pid: u32) -> bool {
    let program = match fs::read_link(format!("/proc/{pid}/exe")) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => called_as(pid),
        program => program.unwrap_or_default(),
    };
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("qemu-system-") || name.starts_with("qemu-kvm") || name.starts_with("kvm")
}

/// The program of a process by its own word, which everybody may read.
fn called_as(pid: u32) -> PathBuf {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let program = line.split(|byte| *byte == 0).next().unwrap_or_default();
    PathBuf::from(String::from_utf8_lossy(program).into_owned())
}

fn pids() -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(pids)
}

/// The numbers of a process's open files, and what each leads to; none of a process that has ended.
fn open_files(pid: u32) -> io::Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for entry in ignore_gone(fs::read_dir(format!("/proc/{pid}/fd")))?.into_iter().flatten() {
        let Some(entry) = ignore_gone(entry)? else { continue };
        let Some(link) = ignore_gone(fs::read_link(entry.path()))? else { continue };
        files.push((entry.file_name().to_string_lossy().into_owned(), link));
    }
    Ok(files)
}

fn ignore_gone<T>(answer: io::Result<T>) -> io::Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_show_nothing_hide_no_tap() {
        // Among all processes of this machine some may not be read, as the first one of a container.
        assert!(held_taps().is_ok());
        assert_eq!(called_as(std::process::id()), PathBuf::from(std::env::args_os().next().unwrap()));
    }

    #[test]
    fn a_process_with_a_file_open_is_found_by_the_file_and_not_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("pools/default");
        fs::create_dir_all(&below).unwrap();
        let (disk, link) = (below.join("web-1.qcow2"), folder.path().join("elsewhere"));
        let own = std::process::id();
        let look = || {
            let mut files = Files::new();
            collect(&folder.path().join("pools"), &mut files).unwrap();
            holders(&files, &|pid| pid == own).unwrap()
        };
        fs::write(&disk, "x").unwrap();
        assert_eq!(look(), []);
        fs::hard_link(&disk, &link).unwrap();
        let open = fs::File::open(&link).unwrap();
        assert_eq!(look(), [Holder { pid: own, file: disk }]);
        assert_eq!(holders_below(&[folder.path()]).unwrap(), [], "this test is no QEMU");
        drop(open);
        assert_eq!(look(), []);
    }
}
