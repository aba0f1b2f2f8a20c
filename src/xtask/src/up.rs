//! `cargo xtask up` and `down`: from a fresh clone to a booted server on this machine, and back.
//!
//! ```text
//! packages → build → image → nubium up (detached) → Host Ready → apply first-server.yaml → Server Ready → table
//! ```
//! Each step looks first, so that a second `up` changes nothing and takes seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::command::{self, last_lines};
use crate::detached::{self, Started, until};
use crate::image;
use crate::packages;
use crate::workspace;

/// Where Nubium keeps its data.
pub const STATE: &str = "/var/lib/nubium";
const EXAMPLE: &str = "examples/first-server.yaml";
const SERVER: &str = "web-1";

/// Installs, builds, starts, and boots a first server.
///
/// # Errors
/// With the step that failed; what was started goes on, so that one can look.
pub fn up(state: &Path) -> Result<()> {
    packages::ensure(&[packages::BUILD, packages::HOST, packages::IMAGE_TINY])?;
    let nubium = command::step("build nubium", build)?;
    let images = image::default_folder();
    image::build(image::Kind::Tiny, &images)?;

    fs::create_dir_all(state).with_context(|| format!("create {}", state.display()))?;
    if !runs(state, &nubium) {
        detached::stop_all(state)?;
        let words = ["up", "--state", &state.to_string_lossy(), "--image-dir", &images.to_string_lossy()];
        Started::new(state).start(&nubium, &words.map(str::to_owned))?;
    }
    let cloud = Cloud { nubium, state };
    cloud.told(command::step("wait for this machine's Host", || {
        until("the Host", Duration::from_secs(120), || cloud.is_ready(&["hosts"]))
    }))?;
    cloud.told(command::step(&format!("apply {EXAMPLE}"), || {
        command::run(cloud.command().args(["apply", "-f"]).arg(workspace::root().join(EXAMPLE)))?;
        until("the Server", Duration::from_secs(300), || cloud.is_ready(&["servers", SERVER]))
    }))?;
    command::run(cloud.command().args(["get", "servers"]))?;
    cloud.say_how_to_go_on();
    Ok(())
}

/// Stops Nubium, the servers and all that it made on this machine; the disks stay, unless `purge`.
///
/// # Errors
/// When something does not stop.
pub fn down(state: &Path, purge: bool) -> Result<()> {
    detached::stop_all(state)?;
    let nubium = binary();
    if !nubium.exists() {
        command::step("build nubium", build)?;
    }
    let mut down = Command::new(&nubium);
    down.arg("down").arg("--state").arg(state);
    if purge {
        down.arg("--purge");
    }
    command::run(&mut down)
}

fn build() -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    command::run(cargo.current_dir(workspace::root()).args(["build", "--release", "--package", "nubium"]))?;
    Ok(binary())
}

fn binary() -> PathBuf {
    workspace::cargo_target().join("release/nubium")
}

/// Whether what we started runs, and is this very binary: one that was built anew since has another file.
fn runs(state: &Path, nubium: &Path) -> bool {
    let wanted = fs::canonicalize(nubium).ok();
    let running = detached::running(state);
    running.iter().any(|(_, id)| wanted.is_some() && fs::read_link(format!("/proc/{id}/exe")).ok() == wanted)
}

struct Cloud<'a> {
    nubium: PathBuf,
    state: &'a Path,
}

impl Cloud<'_> {
    fn kubeconfig(&self) -> PathBuf {
        self.state.join("admin.kubeconfig")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.nubium);
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// Whether the objects are there, and each is Ready at its present generation.
    fn is_ready(&self, what: &[&str]) -> bool {
        let Ok(text) = command::output(self.command().arg("get").args(what).args(["-o", "json"])) else { return false };
        let Ok(said) = serde_json::from_str::<Value>(&text) else { return false };
        match said["items"].as_array() {
            Some(items) => !items.is_empty() && items.iter().all(ready),
            None => ready(&said),
        }
    }

    /// Adds the end of the log to an error.
    fn told(&self, done: Result<()>) -> Result<()> {
        let Err(error) = done else { return Ok(()) };
        let path = self.state.join("nubium.log");
        let log = fs::read(&path).unwrap_or_default();
        bail!("{error:#}; {} ends with:\n{}", path.display(), last_lines(&String::from_utf8_lossy(&log), 20));
    }

    fn say_how_to_go_on(&self) {
        let nubium = self.nubium.display();
        println!(
            "
Go on:
  export KUBECONFIG={}
  kubectl get nubium -A
  {nubium} ssh {SERVER} -- hostname
  {nubium} console --log {SERVER}
  cargo xtask down",
            self.kubeconfig().display()
        );
    }
}

fn ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|condition| {
        condition["type"] == "Ready"
            && condition["status"] == "True"
            && condition["observedGeneration"] == object["metadata"]["generation"]
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::ready;

    #[test]
    fn an_older_wish_s_ready_does_not_count() {
        let condition = json!({"type": "Ready", "status": "True", "observedGeneration": 1});
        let object =
            |generation: u32| json!({"metadata": {"generation": generation}, "status": {"conditions": [condition]}});
        assert!(ready(&object(1)));
        assert!(!ready(&object(2)));
        assert!(!ready(&json!({"metadata": {"generation": 1}})));
    }
}
