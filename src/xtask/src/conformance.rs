//! `cargo xtask conformance …`: the same stories, whichever API server the cloud has.
//!
//! The real Kubernetes is not a part of `cargo xtask test`: its first build takes minutes.

use anyhow::Result;

use crate::command;
use crate::packages;
use crate::peers::{self, Peer};
use crate::stories;

/// Runs the stories on the embedded API server; of all stories those whose names hold one of the words.
///
/// # Errors
/// When something cannot be built, or a story fails.
pub fn embedded(words: &[String]) -> Result<()> {
    packages::ensure(&[packages::BUILD, packages::HOST, packages::TEST, packages::IMAGE_TINY, packages::IMAGE_DEBIAN])?;
    command::step("stories", || stories::run("embedded", words))
}

/// Runs the story of random actions and faults alone, for that many seconds.
///
/// # Errors
/// When something cannot be built, or the cloud does not end as it was asked to.
pub fn chaos(seconds: u64, seed: Option<u64>) -> Result<()> {
    packages::ensure(&[packages::BUILD, packages::HOST, packages::TEST, packages::IMAGE_TINY, packages::IMAGE_DEBIAN])?;
    let mut variables = vec![("NUBIUM_CHAOS_SECONDS", seconds.to_string())];
    variables.extend(seed.map(|seed| ("NUBIUM_SEED", seed.to_string())));
    command::step("chaos", || stories::run_with("embedded", &["random actions".to_owned()], &variables))
}

/// Runs the stories on a real Kubernetes, where Nubium is controllers and an agent beside kube-apiserver, etcd and
/// kube-controller-manager; of all stories those whose names hold one of the words.
///
/// # Errors
/// When something cannot be built, or a story fails.
pub fn kubernetes(words: &[String]) -> Result<()> {
    packages::ensure(&[
        packages::BUILD,
        packages::HOST,
        packages::TEST,
        packages::KUBERNETES,
        packages::IMAGE_TINY,
        packages::IMAGE_DEBIAN,
    ])?;
    peers::build(&peers::default_folder(), &Peer::ALL)?;
    command::step("stories on a real Kubernetes", || stories::run("kubernetes", words))
}
