//! Running a command that must succeed.

use std::process::{Command, Output};

use anyhow::{Context, Result};

/// Standard output of a command that must succeed.
pub fn text(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        anyhow::bail!("{command:?}: {}", String::from_utf8_lossy(&stderr).trim());
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}
