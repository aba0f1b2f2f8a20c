//! The reaper's mount namespace: our folders over libvirt's, and a `/dev/kvm` that QEMU's user may open.
//!
//! Nothing here is seen outside the namespace, so the host's own `/dev/kvm` and `/etc/libvirt` stay as they are.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::{Gid, Group, chown};

use super::{Layout, PrivateError};

/// Lists the mount points that we had to make on the host, to be removed by `down`.
const MADE: &str = "made-targets";

pub(super) fn enter(layout: &Layout) -> Result<(), PrivateError> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(PrivateError::Unshare)?;
    // A slave still sees what is mounted on the host later (a pool), and gives nothing back.
    mount(None::<&Path>, "/", None::<&Path>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&Path>)
        .map_err(|source| PrivateError::Mount { from: "/".into(), over: "/".into(), source })?;
    let mut made = String::new();
    for (from, over) in layout.binds() {
        if !over.exists() {
            fs::create_dir_all(over).map_err(|source| PrivateError::Write { path: over.into(), source })?;
            made.push_str(&format!("{}\n", over.display()));
        }
        bind(&from, over)?;
    }
    if !made.is_empty() {
        let path = layout.root().join(MADE);
        let before = fs::read_to_string(&path).unwrap_or_default();
        super::write_private(&path, &(before + &made)).map_err(|source| PrivateError::Write { path, source })?;
    }
    if let Err(error) = give_kvm(layout) {
        eprintln!("cannot give /dev/kvm to QEMU's user: {error}");
    }
    Ok(())
}

/// Removes the mount points that [`enter`] made, where they are empty.
pub(super) fn remove_made_targets(layout: &Layout) {
    let list = layout.root().join(MADE);
    for path in fs::read_to_string(&list).unwrap_or_default().lines() {
        fs::remove_dir(path).ok();
    }
    fs::remove_file(list).ok();
}

fn bind(from: &Path, over: &Path) -> Result<(), PrivateError> {
    mount(Some(from), over, None::<&Path>, MsFlags::MS_BIND, None::<&Path>).map_err(|source| PrivateError::Mount {
        from: from.into(),
        over: over.into(),
        source,
    })
}

/// A node of our own over `/dev/kvm`, of group `kvm`. With a node that QEMU's user cannot open, libvirt asks QEMU for its
/// abilities again at every single call, seconds each.
fn give_kvm(layout: &Layout) -> Result<(), PrivateError> {
    let kvm = Path::new("/dev/kvm");
    let Ok(there) = fs::metadata(kvm) else { return Ok(()) };
    let group = Group::from_name("kvm").map_err(PrivateError::Users)?;
    let gid = group.map_or(Gid::from_raw(0), |group| group.gid);
    if there.permissions().mode() & 0o060 == 0o060 && there.gid() == gid.as_raw() {
        return Ok(());
    }
    let folder = layout.devices();
    fs::create_dir_all(&folder).map_err(|source| PrivateError::Write { path: folder.clone(), source })?;
    let mounting = |source: Errno| PrivateError::Mount { from: folder.clone(), over: kvm.into(), source };
    mount(Some("tmpfs"), &folder, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, Some("size=64k,mode=755"))
        .map_err(mounting)?;
    let node = folder.join("kvm");
    mknod(&node, SFlag::S_IFCHR, Mode::from_bits_truncate(0o660), there.rdev()).map_err(mounting)?;
    fs::set_permissions(&node, fs::Permissions::from_mode(0o660))
        .map_err(|source| PrivateError::Write { path: node.clone(), source })?;
    chown(&node, None, Some(gid)).map_err(mounting)?;
    bind(&node, kvm)
}
