//! The `debian` image: a real Debian with systemd, cloud-init, sshd and the guest agent. Its files are in
//! `images/debian`.
//!
//! The kernel that boots is the copy on the FAT partition: a kernel upgraded inside the guest is not used, which is
//! right for a test and wrong for anything else.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::disk::Disk;
use super::recipe::Recipe;
use super::tiny::only_match;
use crate::command;

const VERSION: u32 = 1;
const RELEASE: &str = "bookworm";
const MIRRORS: &[&str] = &[
    "deb http://deb.debian.org/debian bookworm main",
    "deb http://deb.debian.org/debian bookworm-updates main",
    "deb http://deb.debian.org/debian-security bookworm-security main",
];
const PACKAGES: &[&str] = &[
    "ca-certificates",
    "cloud-guest-utils",
    "cloud-init",
    "curl",
    "dbus",
    "e2fsprogs",
    "initramfs-tools",
    "iproute2",
    "iputils-ping",
    "linux-image-cloud-amd64",
    "netcat-openbsd",
    "netplan.io",
    "openssh-server",
    "procps",
    "python3-minimal",
    "qemu-guest-agent",
    "sudo",
    "systemd",
    "systemd-resolved",
    "systemd-sysv",
    "udev",
    "zstd",
];

const SYSLINUX: &str = include_str!("../../../../images/debian/syslinux.cfg");
const CUSTOMIZE: &str = include_str!("../../../../images/debian/customize");
/// Put into the root before the packages are configured, for what they make (the initrd), or after it, for what they
/// would otherwise overwrite. Path, content.
const BEFORE: &[(&str, &str)] = &[
    ("etc/initramfs-tools/modules", include_str!("../../../../images/debian/modules")),
    ("etc/initramfs-tools/conf.d/nubium", "MODULES=list\nCOMPRESS=zstd\n"),
    ("etc/kernel-img.conf", "do_symlinks=no\n"),
];
const AFTER: &[(&str, &str)] = &[
    ("etc/cloud/cloud.cfg", include_str!("../../../../images/debian/cloud.cfg")),
    ("etc/cloud/ds-identify.cfg", include_str!("../../../../images/debian/ds-identify.cfg")),
    ("etc/fstab", include_str!("../../../../images/debian/fstab")),
];

/// What the image is made from.
pub fn recipe() -> Result<Recipe> {
    let mut recipe = Recipe::new("debian", VERSION);
    for (path, content) in BEFORE.iter().chain(AFTER) {
        recipe.add(path, content);
    }
    recipe.add("syslinux.cfg", SYSLINUX);
    recipe.add("customize", CUSTOMIZE);
    recipe.add_packages(PACKAGES)?;
    Ok(recipe)
}

/// Writes the disk to `raw`, with what it needs on the way in `work`.
pub fn build(work: &Path, raw: &Path) -> Result<()> {
    let root = work.join("root");
    let before = work.join("before");
    let after = work.join("after");
    lay_out(&before, BEFORE)?;
    lay_out(&after, AFTER)?;
    let customize = work.join("customize");
    fs::write(&customize, CUSTOMIZE).context("write the customize script")?;

    let mut strap = Command::new("mmdebstrap");
    strap.args(["--variant=minbase", "--quiet", "--format=directory"]);
    strap.arg(format!("--include={}", PACKAGES.join(",")));
    strap.arg(r#"--aptopt=Apt::Install-Recommends "false""#);
    strap.arg("--dpkgopt=path-exclude=/usr/share/man/*").arg("--dpkgopt=path-exclude=/usr/share/doc/*");
    strap.arg("--dpkgopt=force-confold");
    strap.arg(format!("--extract-hook=cp -rT {} \"$1\"", before.display()));
    strap.arg(format!("--customize-hook=cp -rT {} \"$1\"", after.display()));
    strap.arg(format!("--customize-hook=sh {} \"$1\"", customize.display()));
    strap.arg(RELEASE).arg(&root).args(MIRRORS);
    command::output(&mut strap)?;

    let config = work.join("syslinux.cfg");
    fs::write(&config, SYSLINUX).context("write syslinux.cfg")?;
    let boot = root.join("boot");
    let kernel = only_match(&boot, |name| name.starts_with("vmlinuz-"))?;
    let initrd = only_match(&boot, |name| name.starts_with("initrd.img-"))?;
    let boot_files = [(kernel, "vmlinuz"), (initrd, "initrd"), (config, "syslinux.cfg")];
    Disk { size: 2048, boot_size: 96, boot_files: &boot_files, label: "debian-root", root: &root }.write(raw)
}

fn lay_out(folder: &Path, files: &[(&str, &str)]) -> Result<()> {
    for (path, content) in files {
        let path = folder.join(path);
        let parent = path.parent().expect("every file is in a folder");
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
