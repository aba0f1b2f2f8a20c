//! Named network namespaces, as `ip netns` has them: a file under `/run/netns` on which the namespace is mounted.
//!
//! A file that is only a file is a husk (something died between making it and mounting on it); a husk counts as
//! absent, and making or deleting the namespace clears it.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::statfs::{NSFS_MAGIC, fstatfs},
};

use nubium_process::make_folder;

use super::{
    error::{NetworkError, Result},
    names::Netns,
};

/// Where `ip netns` looks.
pub const DIR: &str = "/run/netns";

pub fn path(netns: &Netns) -> PathBuf {
    Path::new(DIR).join(netns.as_str())
}

/// Every namespace of ours on this host, husks left out.
pub fn list() -> Result<Vec<Netns>> {
    let entries = match fs::read_dir(DIR) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(NetworkError::ListNamespaces { dir: DIR.into(), source }),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| NetworkError::ListNamespaces { dir: DIR.into(), source })?;
        let Some(netns) = entry.file_name().to_str().and_then(Netns::parse) else { continue };
        if open(&netns)?.is_some() {
            names.push(netns);
        }
    }
    names.sort();
    Ok(names)
}

/// The namespace's file, or `None` when there is none (or only a husk).
pub fn open(netns: &Netns) -> Result<Option<fs::File>> {
    let failed = |source| NetworkError::EnterNamespace { name: netns.to_string(), source };
    let file = match fs::File::open(path(netns)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let fs = fstatfs(file.as_fd()).map_err(|errno| failed(errno.into()))?;
    Ok((fs.filesystem_type() == NSFS_MAGIC).then_some(file))
}

/// The kernel's number of the namespace behind the name: it changes when the namespace was made anew.
pub fn inode(file: &fs::File) -> io::Result<u64> {
    Ok(file.metadata()?.ino())
}

/// Makes the namespace, empty. There already: nothing happens.
pub fn create(netns: &Netns) -> Result<()> {
    if open(netns)?.is_some() {
        return Ok(());
    }
    let failed = |step| move |source| NetworkError::CreateNamespace { name: netns.to_string(), step, source };
    prepare_dir().map_err(failed("the folder"))?;
    let path = path(netns);
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed("the file to mount it on"))?;
    let target = path.clone();
    // The namespace is a thread's own: the rest of this process never leaves the host's.
    let made = std::thread::Builder::new()
        .name("netns-new".into())
        .spawn(move || -> io::Result<()> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            mount(Some("/proc/thread-self/ns/net"), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            Ok(())
        })
        .map_err(failed("a thread for it"))?
        .join()
        .map_err(|_| NetworkError::ThreadLost { name: netns.to_string() })?;
    made.map_err(failed("the mount"))
}

/// Takes the name away. The namespace itself goes when nothing holds it any more, which is why whoever calls this
/// deletes the links in it first.
pub fn delete(netns: &Netns) -> Result<()> {
    let failed = |source: io::Error| NetworkError::DeleteNamespace { name: netns.to_string(), source };
    let path = path(netns);
    match umount2(&path, MntFlags::MNT_DETACH) {
        // EINVAL: a husk, nothing is mounted there.
        Ok(()) | Err(nix::Error::EINVAL) => {}
        Err(nix::Error::ENOENT) => return Ok(()),
        Err(errno) => return Err(failed(errno.into())),
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

/// Moves the calling thread into the namespace; only ever called on a thread made for it.
pub(super) fn enter(netns: &Netns) -> Result<()> {
    let file = open(netns)?.ok_or_else(|| NetworkError::NoNamespace { name: netns.to_string() })?;
    setns(file.as_fd(), CloneFlags::CLONE_NEWNET)
        .map_err(|errno| NetworkError::EnterNamespace { name: netns.to_string(), source: errno.into() })
}

/// `/run/netns` as a shared mount, so that a namespace that is deleted here is deleted in every mount namespace
/// that was copied from ours, and one that is made here is seen there.
fn prepare_dir() -> io::Result<()> {
    if !Path::new(DIR).exists() {
        // As `ip netns` makes it: any user may list the names.
        make_folder(Path::new(DIR), 0o755)?;
    }
    let shared = |_| mount(None::<&str>, DIR, None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>);
    match shared(()) {
        Ok(()) => {}
        Err(nix::Error::EINVAL) => {
            // Not a mount point yet.
            mount(Some(DIR), DIR, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
            shared(())?;
        }
        Err(errno) => return Err(errno.into()),
    }
    Ok(())
}

/// Whether [`DIR`] is there, and a mount point.
pub(super) struct DirState {
    pub exists: bool,
    pub mounted: bool,
}

pub(super) fn dir_state() -> Result<DirState> {
    let failed = |source| NetworkError::ListNamespaces { dir: DIR.into(), source };
    let mount_of = |path: &Path| match fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path) {
        Ok(file) => mount_id(&file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let parent = Path::new(DIR).parent().expect("it is an absolute path");
    let (there, above) = (mount_of(Path::new(DIR)).map_err(failed)?, mount_of(parent).map_err(failed)?);
    Ok(DirState { exists: there.is_some(), mounted: there.is_some() && there != above })
}

/// The kernel's number of the mount that a file was opened through. The list of mounts would not do: it also names
/// those that another mount hides.
fn mount_id(file: &fs::File) -> io::Result<u64> {
    let info = fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", file.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    id.ok_or_else(|| io::Error::other("the kernel tells no mnt_id"))
}

/// Undoes what [`create`] did to [`DIR`] when it was first called, unless somebody else uses it by now.
pub(super) fn restore_dir(unmount: bool, remove: bool) -> Result<()> {
    let failed = |source: io::Error| NetworkError::ListNamespaces { dir: DIR.into(), source };
    let empty = match fs::read_dir(DIR) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !empty {
        return Ok(());
    }
    if unmount && dir_state()?.mounted {
        umount2(DIR, MntFlags::MNT_DETACH).map_err(|errno| failed(errno.into()))?;
    }
    if remove {
        fs::remove_dir(DIR).map_err(failed)?;
    }
    Ok(())
}
