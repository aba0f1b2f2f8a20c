//! The real Kubernetes, etcd and Helm, built from the Go module proxy: what we compare and measure ourselves with, and
//! what our users come with. Nothing of the product needs them. Wants Go; a cold build takes some minutes, a second call
//! nothing.

mod modules;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command;
use crate::workspace;

/// A program that we build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    KubeApiserver,
    Etcd,
    KubeControllerManager,
    Helm,
}

impl Peer {
    /// All, in the order in which they are built: the most wanted first.
    pub const ALL: [Self; 4] = [Self::KubeApiserver, Self::Etcd, Self::KubeControllerManager, Self::Helm];
    /// Those that a control plane is made of.
    pub const CONTROL_PLANE: [Self; 3] = [Self::KubeApiserver, Self::Etcd, Self::KubeControllerManager];

    /// The binary's file name.
    pub fn name(self) -> &'static str {
        match self {
            Self::KubeApiserver => "kube-apiserver",
            Self::Etcd => "etcd",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::Helm => "helm",
        }
    }
}

/// Where the peers are, unless said otherwise: `NUBIUM_PEERS` if it is set.
pub fn default_folder() -> PathBuf {
    std::env::var_os("NUBIUM_PEERS").map_or_else(|| workspace::target().join("peers"), PathBuf::from)
}

/// The path of a peer's binary, whether it is there or not.
pub fn binary(folder: &Path, peer: Peer) -> PathBuf {
    folder.join("bin").join(peer.name())
}

/// Whether they can be built here.
pub fn go_is_here() -> bool {
    command::succeeds(Command::new("go").arg("version"))
}

/// Builds those of the peers that are missing into `<folder>/bin`.
///
/// # Errors
/// When there is no Go, or it cannot fetch or build them.
pub fn build(folder: &Path, wanted: &[Peer]) -> Result<Vec<PathBuf>> {
    let missing: Vec<_> = wanted.iter().copied().filter(|peer| !binary(folder, *peer).exists()).collect();
    if let (Some(peer), false) = (missing.first(), go_is_here()) {
        bail!("building {} needs Go (https://go.dev), which is not installed", peer.name());
    }
    for peer in missing {
        let name = peer.name();
        command::step(&format!("build {name} {}", modules::version(peer)), || one(folder, peer))?;
    }
    Ok(wanted.iter().map(|peer| binary(folder, *peer)).collect())
}

fn one(folder: &Path, peer: Peer) -> Result<()> {
    let module = modules::lay_out(folder, peer)?;
    let to = binary(folder, peer);
    let parent = to.parent().expect("a binary is in a folder");
    fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    go(&module, &["mod", "tidy"])?;
    let new = to.with_extension("new");
    let flags = format!("-ldflags={}", modules::link_flags(peer));
    go(&module, &["build", "-trimpath", &flags, "-o", &new.to_string_lossy(), modules::package(peer)])?;
    fs::rename(&new, &to).with_context(|| format!("rename to {}", to.display()))
}

/// With low priority: it takes all processors for minutes.
fn go(folder: &Path, arguments: &[&str]) -> Result<()> {
    command::output(Command::new("nice").args(["-n", "5", "go"]).args(arguments).current_dir(folder)).map(drop)
}
