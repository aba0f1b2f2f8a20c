//! The Debian packages that each task needs. What is missing is installed, and said; what is there is left alone.
//!
//! Installing a package starts its services, which would give a development machine daemons that nobody asked for (a
//! libvirtd of the host's, beside ours). So while we install, a `policy-rc.d` says no, unless the machine has one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command;

/// What the workspace compiles against.
pub const BUILD: &[&str] = &["gcc", "libc6-dev", "libvirt-dev", "pkg-config"];

/// What a host needs to run servers.
pub const HOST: &[&str] = &[
    "iproute2",
    "iptables",
    "libvirt-clients",
    "libvirt-daemon-system",
    "nftables",
    "openssh-client",
    "procps",
    "qemu-system-x86",
    "qemu-utils",
];

/// What `cargo xtask image tiny` needs.
pub const IMAGE_TINY: &[&str] = &["e2fsprogs", "mtools", "qemu-utils", "syslinux", "syslinux-common"];

/// What `cargo xtask image debian` needs.
pub const IMAGE_DEBIAN: &[&str] =
    &["debian-archive-keyring", "e2fsprogs", "mmdebstrap", "mtools", "qemu-utils", "syslinux", "syslinux-common"];

/// What booting an image by hand needs.
pub const IMAGE_BOOT: &[&str] = &["mtools", "openssh-client", "qemu-system-x86"];

/// What a real Kubernetes control plane needs beside its binaries.
pub const KUBERNETES: &[&str] = &["ca-certificates", "curl", "openssl"];

/// What the tests run, beside all of the above.
pub const TEST: &[&str] = &["busybox-static", "curl", "iputils-ping"];

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs those of the packages that are missing.
///
/// # Errors
/// When some are missing and we are not root, or apt fails.
pub fn ensure(wanted: &[&[&str]]) -> Result<()> {
    let wanted: BTreeSet<&str> = wanted.iter().copied().flatten().copied().collect();
    let missing: Vec<&str> = wanted.into_iter().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !nix::unistd::Uid::effective().is_root() {
        bail!("these packages are missing, run as root to have them installed: {}", missing.join(" "));
    }
    command::step(&format!("install packages: {}", missing.join(" ")), || {
        lists()?;
        let _no_services = NoServices::new()?;
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt.args(["install", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"]).args(&missing);
        command::output(&mut apt).map(drop)
    })
}

/// Fetches apt's package lists when there are none.
///
/// # Errors
/// When apt cannot fetch them.
pub fn lists() -> Result<()> {
    let any = fs::read_dir("/var/lib/apt/lists")
        .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages")));
    if any {
        return Ok(());
    }
    command::step("fetch package lists", || command::output(Command::new("apt-get").arg("update")).map(drop))
}

/// The versions of packages that apt would install, by name.
///
/// # Errors
/// When apt knows no such package.
pub fn candidates(packages: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut apt = Command::new("apt-cache");
    let policy = command::output(apt.arg("policy").args(packages).env("LC_ALL", "C"))?;
    let versions = parse_policy(&policy);
    if let Some(unknown) = packages.iter().find(|package| !versions.contains_key(**package)) {
        bail!("apt knows no package {unknown}; run apt-get update");
    }
    Ok(versions)
}

fn parse_policy(policy: &str) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    let mut package = "";
    for line in policy.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with(' ')) {
            package = name;
        } else if let Some(version) = line.trim().strip_prefix("Candidate: ").filter(|version| *version != "(none)") {
            versions.insert(package.to_owned(), version.to_owned());
        }
    }
    versions
}

fn installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]);
    command::output(&mut query).is_ok_and(|status| status.split_whitespace().any(|word| word == "installed"))
}

/// While this lives, installing a package starts no service.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn new() -> Result<Self> {
        let ours = !Path::new(POLICY).exists();
        if ours {
            fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("write {POLICY}"))?;
            fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("chmod {POLICY}"))?;
        }
        Ok(Self { ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse_policy;

    #[test]
    fn a_package_that_cannot_be_installed_has_no_version() {
        let policy = "zlib1g:\n  Installed: 1\n  Candidate: 1:1.2\n  Version table:\n *** 1:1.2 500\ngone:\n  Candidate: (none)\n";
        let versions = parse_policy(policy);
        assert_eq!(versions.len(), 1);
        assert_eq!(versions["zlib1g"], "1:1.2");
    }
}
