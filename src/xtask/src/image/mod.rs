//! Disk images for tests, made from Debian's packages: bootable by BIOS from a virtio disk, whose identity comes from a
//! NoCloud seed. Nothing is mounted on the host, and nothing but apt uses the network.
//!
//! | image | is | for |
//! |---|---|---|
//! | `tiny` | Debian's cloud kernel, busybox, dropbear | most tests: at ssh in a few seconds under TCG |
//! | `debian` | systemd, cloud-init, sshd, guest agent | what real guests do |

mod boot;
mod cpio;
mod debian;
mod debs;
mod disk;
mod recipe;
mod tiny;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

pub use self::boot::try_boot;
use crate::command;
use crate::packages;
use crate::workspace;

/// Which image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Tiny,
    Debian,
}

impl Kind {
    /// The file's name without its ending.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Debian => "debian",
        }
    }

    /// The user whom the seed's ssh keys let in.
    pub fn user(self) -> &'static str {
        self.name()
    }
}

/// Where images are put unless said otherwise.
pub fn default_folder() -> PathBuf {
    workspace::target().join("images")
}

/// Makes `<folder>/<name>.qcow2` and `<name>.qcow2.sha256`, unless they are there and were made from the same recipe
/// and the same package versions. Returns the path of the image.
///
/// # Errors
/// When packages are missing and cannot be installed, or a tool fails.
pub fn build(kind: Kind, folder: &Path) -> Result<PathBuf> {
    let recipe = match kind {
        Kind::Tiny => {
            packages::ensure(&[packages::IMAGE_TINY])?;
            tiny::recipe()?
        }
        Kind::Debian => {
            packages::ensure(&[packages::IMAGE_DEBIAN])?;
            debian::recipe()?
        }
    };
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let image = folder.join(format!("{}.qcow2", kind.name()));
    if recipe.made(&image) {
        return Ok(image);
    }
    command::step(&format!("build image {}", kind.name()), || {
        let work = tempfile::Builder::new().prefix(".building-").tempdir_in(folder).context("create a work folder")?;
        let raw = work.path().join("disk.raw");
        match kind {
            Kind::Tiny => tiny::build(work.path(), &raw, &folder.join("debs"))?,
            Kind::Debian => debian::build(work.path(), &raw)?,
        }
        disk::publish(&raw, &image, kind == Kind::Debian)?;
        recipe.keep(&image)
    })?;
    Ok(image)
}
