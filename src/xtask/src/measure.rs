//! `cargo xtask bench`: builds what is measured and what measures, both optimised, and starts it.

use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;

use crate::command;
use crate::image;
use crate::packages;
use crate::workspace;

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// From apply to Running, without a host's share of it
    ControlPlane,
    /// A whole cloud with real guests: memory, a start, repairs, silence
    Cloud,
    /// The API server beside the real one
    Apiserver,
}

/// Measures those parts, or all, and prints the figures.
///
/// # Errors
/// When something cannot be built or does not run.
pub fn run(parts: &[Part]) -> Result<()> {
    let wanted = |part| parts.is_empty() || parts.contains(&part);
    packages::ensure(&[packages::BUILD, packages::HOST, packages::IMAGE_TINY, packages::KUBERNETES])?;
    if wanted(Part::ControlPlane) {
        let control_plane = ["bench", "--quiet", "--package", "nubium-testkit", "--bench", "control-plane"];
        let build = [&control_plane[..], &["--no-run"]].concat();
        command::step("build the bench of the control plane", || cargo(&build))?;
        cargo(&control_plane)?;
    }
    let others: Vec<&str> = [(Part::Cloud, "cloud"), (Part::Apiserver, "apiserver")]
        .into_iter()
        .filter(|(part, _)| wanted(*part))
        .map(|(_, name)| name)
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    image::build(image::Kind::Tiny, &image::default_folder())?;
    command::step("build nubium", || cargo(&["build", "--quiet", "--release", "--package", "nubium"]))?;
    command::step("build the bench", || {
        let package = ["--package", "nubium-xtask", "--features", "bench", "--bin", "nubium-bench"];
        cargo(&[&["build", "--quiet", "--release"][..], &package].concat())
    })?;
    let built = workspace::cargo_target().join("release");
    command::run(Command::new(built.join("nubium-bench")).arg(built.join("nubium")).args(others))
}

fn cargo(arguments: &[&str]) -> Result<()> {
    command::run(Command::new("cargo").current_dir(workspace::root()).args(arguments))
}
