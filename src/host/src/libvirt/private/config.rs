//! The configuration of a private libvirtd and virtlogd: QEMU unprivileged, seccomp on, console logs bounded.

use std::fs;
use std::path::Path;

use nix::unistd::{Group, User};
use nubium_process::{TRAVERSABLE_FOLDER, make_folder};

use super::{Layout, PrivateError};

/// A console log rotates at this size, and one older piece is kept: at most twice this a server.
pub const CONSOLE_LOG_BYTES: u64 = 1024 * 1024;
const CONSOLE_LOG_BACKUPS: u32 = 1;

/// The users that distributions make for QEMU, in the order we look for them.
const QEMU_USERS: [&str; 2] = ["libvirt-qemu", "qemu"];

/// Whom QEMU runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QemuUser {
    pub user: String,
    pub group: String,
    pub uid: u32,
    pub gid: u32,
}

impl QemuUser {
    /// The distribution's own user for QEMU, in group `kvm` where that exists.
    ///
    /// # Errors
    /// When the machine has no such user (its libvirt package is not installed), or its user database cannot be read.
    pub fn find() -> Result<Self, PrivateError> {
        for name in QEMU_USERS {
            let Some(user) = User::from_name(name).map_err(PrivateError::Users)? else { continue };
            let group = match Group::from_name("kvm").map_err(PrivateError::Users)? {
                Some(group) => Some(group),
                None => Group::from_gid(user.gid).map_err(PrivateError::Users)?,
            };
            let (group, gid) = group.map_or((user.gid.to_string(), user.gid), |group| (group.name, group.gid));
            return Ok(Self { user: user.name, group, uid: user.uid.as_raw(), gid: gid.as_raw() });
        }
        Err(PrivateError::NoQemuUser)
    }
}

/// What the kernel offers to confine QEMU beyond seccomp and its user.
#[must_use]
pub fn has_security_module() -> bool {
    let apparmor = fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|on| on.trim() == "Y");
    apparmor || Path::new("/sys/fs/selinux/enforce").exists()
}

/// The text of `qemu.conf`.
#[must_use]
pub fn qemu_conf(qemu: &QemuUser, security_module: bool) -> String {
    let QemuUser { user, group, uid: _, gid: _ } = qemu;
    let driver = if security_module { "" } else { "security_driver = \"none\"\n" };
    format!(
        "user = \"{user}\"\ngroup = \"{group}\"\n{driver}seccomp_sandbox = 1\nstdio_handler = \"logd\"\n\
         dynamic_ownership = 1\nremember_owner = 0\nset_process_name = 1\n"
    )
}

/// The text of `virtlogd.conf`.
#[must_use]
pub fn virtlogd_conf() -> String {
    format!("max_size = {CONSOLE_LOG_BYTES}\nmax_backups = {CONSOLE_LOG_BACKUPS}\nlog_level = 3\n")
}

/// The text of `libvirtd.conf`: root only, no polkit, warnings only.
#[must_use]
pub fn libvirtd_conf() -> String {
    "unix_sock_rw_perms = \"0700\"\nunix_sock_ro_perms = \"0700\"\nauth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\n\
     log_level = 3\nmax_clients = 100\n"
        .to_owned()
}

/// Makes the folders and writes the three files. Takes effect at the next start of libvirtd.
///
/// # Errors
/// When the folder cannot be written.
pub fn write(layout: &Layout, qemu: &QemuUser) -> Result<(), PrivateError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| PrivateError::Write { path, source }
    };
    for (folder, _) in layout.binds() {
        // QEMU's user passes through them to what is its own.
        make_folder(&folder, TRAVERSABLE_FOLDER).map_err(io(&folder))?;
    }
    let etc = layout.etc();
    for (name, text) in [
        ("qemu.conf", qemu_conf(qemu, has_security_module())),
        ("virtlogd.conf", virtlogd_conf()),
        ("libvirtd.conf", libvirtd_conf()),
    ] {
        let path = etc.join(name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        let new = etc.join(format!(".{name}.new"));
        super::write_private(&new, &text).map_err(io(&new))?;
        fs::rename(&new, &path).map_err(io(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_security_driver_is_off_only_where_there_is_none() {
        let qemu = QemuUser { user: "qemu".into(), group: "kvm".into(), uid: 7, gid: 8 };
        assert!(qemu_conf(&qemu, false).contains("security_driver = \"none\""));
        assert!(!qemu_conf(&qemu, true).contains("security_driver"));
    }

    #[test]
    fn writing_twice_leaves_the_same_files() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        let qemu = QemuUser { user: "qemu".into(), group: "kvm".into(), uid: 7, gid: 8 };
        write(&layout, &qemu).unwrap();
        let first = fs::metadata(layout.etc().join("qemu.conf")).unwrap().modified().unwrap();
        write(&layout, &qemu).unwrap();
        assert_eq!(fs::metadata(layout.etc().join("qemu.conf")).unwrap().modified().unwrap(), first);
    }
}
