//! `cargo xtask bench`: builds what is measured and what measures, both optimised, and starts it.

use std::process::Command;

use anyhow::Result;

use crate::command;
use crate::image;
use crate::packages;
use crate::workspace;

/// Measures, and prints the figures.
///
/// # Errors
/// When something cannot be built or does not run.
pub fn run() -> Result<()> {
    packages::ensure(&[packages::BUILD, packages::HOST, packages::IMAGE_TINY, packages::KUBERNETES])?;
    image::build(image::Kind::Tiny, &image::default_folder())?;
    command::step("build nubium", || cargo(&["build", "--quiet", "--release", "--package", "nubium"]))?;
    command::step("build the bench", || {
        let package = ["--package", "nubium-xtask", "--features", "bench", "--bin", "nubium-bench"];
        cargo(&[&["build", "--quiet", "--release"][..], &package].concat())
    })?;
    let control_plane = ["bench", "--quiet", "--package", "nubium-testkit", "--bench", "control-plane"];
    command::step("build the bench of the control plane", || cargo(&[&control_plane[..], &["--no-run"]].concat()))?;
    cargo(&control_plane)?;
    let built = workspace::cargo_target().join("release");
    command::run(Command::new(built.join("nubium-bench")).arg(built.join("nubium")))
}

fn cargo(arguments: &[&str]) -> Result<()> {
    command::run(Command::new("cargo").current_dir(workspace::root()).args(arguments))
}
