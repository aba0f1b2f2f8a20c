//! `cargo xtask test`: everything that must hold before a change is merged, in the order in which failures are found
//! soonest. `.ci/run` calls it.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::command::{self, seconds};
use crate::packages;
use crate::stories;
use crate::workspace;
use crate::{crds, tidy};

/// What may be left out when one is in a hurry.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Leave out the stories with real guests.
    pub no_e2e: bool,
    /// Go on after a failed step, and fail at the end.
    pub keep_going: bool,
}

/// Runs it all.
///
/// # Errors
/// When a step fails; with `keep_going` the last line names all that did.
pub fn run(options: Options) -> Result<()> {
    let start = Instant::now();
    packages::ensure(&[packages::BUILD, packages::HOST, packages::TEST, packages::IMAGE_TINY, packages::IMAGE_DEBIAN])?;
    type Step = (&'static str, fn() -> Result<()>);
    let mut steps: Vec<Step> = vec![
        ("format", || cargo(&["fmt", "--all", "--check"])),
        ("tidy", tidy::check),
        ("clippy", || cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"])),
        ("dependencies", dependencies),
        ("crds", || crds::run(true)),
        ("test", || cargo(&["test", "--quiet", "--workspace", "--exclude", "nubium-e2e"])),
    ];
    if !options.no_e2e {
        steps.push(("stories", || stories::run("embedded", &[])));
    }

    let mut failed = Vec::new();
    for (name, step) in steps {
        if let Err(error) = command::step(name, step) {
            if !options.keep_going {
                return Err(error);
            }
            eprintln!("    {error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    println!("all passed in {}", seconds(start.elapsed()));
    Ok(())
}

/// Licences, sources and bans of `deny.toml`; advisories need a network that not every machine has.
fn dependencies() -> Result<()> {
    if !command::succeeds(Command::new("cargo").args(["deny", "--version"])) {
        println!("    skipped: cargo-deny is not installed (cargo install cargo-deny)");
        return Ok(());
    }
    cargo(&["deny", "--offline", "check", "licenses", "sources", "bans"])
}

fn cargo(arguments: &[&str]) -> Result<()> {
    command::run(Command::new("cargo").current_dir(workspace::root()).args(arguments))
}
