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
    Apply,
    /// A Server added to 10 others and to 1,000
    Among,
    /// The scheduler's decisions: 20,000 Servers over 5,000 hosts
    Placement,
    /// A host with 20 Networks and 50 Servers that nobody touches
    Idle,
    /// A whole cloud with real guests: memory, a start, repairs, silence
    Cloud,
    /// The API server beside the real one
    Apiserver,
}

impl Part {
    const ALL: [Self; 6] = [Self::Apply, Self::Among, Self::Placement, Self::Idle, Self::Cloud, Self::Apiserver];

    /// The program that measures it.
    fn bench(self) -> Bench {
        match self {
            Self::Apply | Self::Among | Self::Placement | Self::Idle => Bench::InProcess,
            Self::Cloud | Self::Apiserver => Bench::Nubium,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bench {
    /// All in one process, guests simulated: `testkit`'s.
    InProcess,
    /// The program as it is shipped: [`crate::bench`].
    Nubium,
}

/// Measures those parts, or all, and prints the figures.
///
/// # Errors
/// When something cannot be built or does not run.
pub fn run(only: &[Part]) -> Result<()> {
    let wanted = |bench| -> Vec<String> {
        let parts = Part::ALL.into_iter().filter(|part| only.is_empty() || only.contains(part));
        let values = parts.filter(|part| part.bench() == bench).filter_map(|part| part.to_possible_value());
        values.map(|value| value.get_name().to_owned()).collect()
    };
    packages::ensure(&[packages::BUILD, packages::HOST, packages::IMAGE_TINY, packages::KUBERNETES])?;
    let in_process = wanted(Bench::InProcess);
    if !in_process.is_empty() {
        let bench = ["bench", "--quiet", "--package", "nubium-testkit", "--bench", "control-plane"];
        let build = [&bench[..], &["--no-run"]].concat();
        command::step("build the bench of the control plane", || cargo(&build))?;
        let words: Vec<&str> = in_process.iter().map(String::as_str).collect();
        cargo(&[&bench[..], &["--"], &words].concat())?;
    }
    let nubium = wanted(Bench::Nubium);
    if nubium.is_empty() {
        return Ok(());
    }
    image::build(image::Kind::Tiny, &image::default_folder())?;
    command::step("build nubium", || cargo(&["build", "--quiet", "--release", "--package", "nubium"]))?;
    command::step("build the bench", || {
        let package = ["--package", "nubium-xtask", "--features", "bench", "--bin", "nubium-bench"];
        cargo(&[&["build", "--quiet", "--release"][..], &package].concat())
    })?;
    let built = workspace::cargo_target().join("release");
    command::run(Command::new(built.join("nubium-bench")).arg(built.join("nubium")).args(nubium))
}

fn cargo(arguments: &[&str]) -> Result<()> {
    command::run(Command::new("cargo").current_dir(workspace::root()).args(arguments))
}
