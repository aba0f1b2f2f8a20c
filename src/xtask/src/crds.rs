//! `cargo xtask crds`: see the program of that name.

use std::process::Command;

use anyhow::Result;

use crate::command;
use crate::workspace;

/// Writes the CRDs' manifests, or only checks that they are not stale.
///
/// # Errors
/// When they are stale, or the kinds do not compile.
pub fn run(check: bool) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(workspace::root());
    cargo.args(["run", "--quiet", "--package", "nubium-xtask", "--features", "crds", "--bin", "nubium-crds"]);
    if check {
        cargo.args(["--", "--check"]);
    }
    command::run(&mut cargo)
}
