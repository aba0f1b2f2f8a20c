//! The end-to-end stories: builds what they use, says where it is in the environment, and runs them.

use std::process::Command;

use anyhow::Result;

use crate::command;
use crate::image;
use crate::peers::{self, Peer};
use crate::workspace;

/// Runs those stories whose names hold one of the words, or all; `cloud` is the shape, as e2e/src/shape.rs names it.
///
/// # Errors
/// When something cannot be built, or a story fails.
pub fn run(cloud: &str, words: &[String]) -> Result<()> {
    run_with(cloud, words, &[])
}

/// The same, with environment variables that a story reads.
///
/// # Errors
/// When something cannot be built, or a story fails.
pub fn run_with(cloud: &str, words: &[String], variables: &[(&str, String)]) -> Result<()> {
    let images = image::default_folder();
    for kind in [image::Kind::Tiny, image::Kind::Debian] {
        image::build(kind, &images)?;
    }
    if peers::go_is_here() {
        // One of the stories; without Helm it is skipped, and says so.
        peers::build(&peers::default_folder(), &[Peer::Helm])?;
    }
    // The stories run this very binary.
    succeed(Command::new("cargo").args(["build", "--quiet", "--package", "nubium"]))?;
    let mut stories = Command::new("cargo");
    stories.args(["test", "--quiet", "--package", "nubium-e2e", "--test", "stories", "--"]).args(words);
    stories.env("NUBIUM_BIN", workspace::cargo_target().join("debug/nubium"));
    stories.envs(variables.iter().map(|(name, value)| (name, value)));
    succeed(stories.env("NUBIUM_IMAGES", &images).env("NUBIUM_E2E_CLOUD", cloud))
}

fn succeed(command: &mut Command) -> Result<()> {
    command::run(command.current_dir(workspace::root()))
}
