//! `cargo xtask up` and `down`: from a fresh clone to a booted server on this machine, and back.
//!
//! ```text
//! packages → build → image → nubium up (detached) → Host Ready → apply first-server.yaml → Server Ready → table
//! ```
//! Each step looks first, so that a second `up` changes nothing and takes seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::command::{self, last_lines};
use crate::detached::{self, Started};
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
    as_root("up")?;
    packages::ensure(&[packages::BUILD, packages::HOST, packages::IMAGE_TINY])?;
    let nubium = command::step("build nubium", build)?;
    let images = image::default_folder();
    // Whatever it was made from: a booted server's image is not made anew because apt knows newer packages.
    if !images.join("tiny.qcow2").exists() {
        image::build(image::Kind::Tiny, &images)?;
    }
    fs::create_dir_all(state).with_context(|| format!("create {}", state.display()))?;
    let state = &fs::canonicalize(state).with_context(|| format!("find {}", state.display()))?;
    if !runs(state, &nubium) {
        detached::stop_all(state)?;
        let words = ["up", "--state", &state.to_string_lossy(), "--image-dir", &images.to_string_lossy()];
        Started::new(state).start(&nubium, &words.map(str::to_owned))?;
    }
    let cloud = Cloud { nubium, state };
    cloud.or_log(command::step("start nubium", || cloud.wait(&["hosts"], Duration::from_secs(120))))?;
    cloud.or_log(command::step(&format!("apply {EXAMPLE}"), || {
        command::run(cloud.command().args(["apply", "-f"]).arg(workspace::root().join(EXAMPLE)))?;
        cloud.wait(&["servers", SERVER], Duration::from_secs(300))
    }))?;
    println!();
    command::run(cloud.command().args(["get", "servers"]))?;
    cloud.say_how_to_go_on();
    Ok(())
}

/// Everything else would fail later and say less.
fn as_root(task: &str) -> Result<()> {
    if !nix::unistd::Uid::effective().is_root() {
        bail!("guests, bridges and namespaces need root: run cargo xtask {task} as root");
    }
    Ok(())
}

/// Stops Nubium, the servers and all that it made on this machine; the disks stay, unless `purge`.
///
/// # Errors
/// When something does not stop.
pub fn down(state: &Path, purge: bool) -> Result<()> {
    as_root("down")?;
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

    /// The objects.
    fn get(&self, what: &[&str]) -> Result<Vec<Value>> {
        let text = command::output(self.command().arg("get").args(what).args(["-o", "json"]))?;
        let mut said: Value = serde_json::from_str(&text).context("read what nubium get printed")?;
        Ok(match said["items"].take() {
            Value::Array(items) => items,
            _ => vec![said],
        })
    }

    /// Returns when the objects are there and each is Ready; says meanwhile what they wait for.
    fn wait(&self, what: &[&str], timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let mut last = String::new();
        loop {
            let (objects, silence) = match self.get(what) {
                Ok(objects) => (objects, None),
                Err(error) => (Vec::new(), Some(error)),
            };
            let unready: Vec<&Value> = objects.iter().filter(|object| !ready(object)).collect();
            if !objects.is_empty() && unready.is_empty() {
                return Ok(());
            }
            if let Some(news) = unready.first().and_then(|object| waits_for(object)).filter(|news| *news != last) {
                println!("    {news}");
                last = news;
            }
            if objects.is_empty() && detached::running(self.state).is_empty() {
                bail!("nubium has ended");
            }
            if Instant::now() > deadline {
                let why = silence.map(|error| format!(": {error:#}")).unwrap_or_default();
                bail!("{} not Ready after {} s{why}", what.join(" "), timeout.as_secs());
            }
            sleep(Duration::from_millis(100));
        }
    }

    /// Adds the end of the log to an error.
    fn or_log(&self, done: Result<()>) -> Result<()> {
        let Err(error) = done else { return Ok(()) };
        let path = self.state.join("nubium.log");
        let log = fs::read(&path).unwrap_or_default();
        bail!("{error:#}; {} ends with:\n{}", path.display(), last_lines(&String::from_utf8_lossy(&log), 20));
    }

    fn say_how_to_go_on(&self) {
        let nubium = self.nubium.display();
        let kubectl = command::succeeds(Command::new("kubectl").args(["version", "--client"]));
        let get = if kubectl { "kubectl".to_owned() } else { nubium.to_string() };
        let down = if self.state == Path::new(STATE) {
            "cargo xtask down".to_owned()
        } else {
            format!("cargo xtask down --state {}", self.state.display())
        };
        let lines = [
            (format!("export KUBECONFIG={}", self.kubeconfig().display()), "for what follows"),
            (format!("{get} get nubium -A"), "everything there is"),
            (format!("{nubium} ssh {SERVER}"), "a shell in it"),
            (format!("{nubium} console --log {SERVER}"), "what it said while it booted"),
            (down, "stop it all; with --purge remove it too"),
        ];
        let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or_default();
        println!("\nGo on:");
        for (line, why) in lines {
            println!("  {line:width$}  # {why}");
        }
        if !kubectl {
            println!("kubectl is not installed here; any of version 1.29 or newer works with that KUBECONFIG.");
        }
    }
}

/// What an object that is not Ready says of it.
fn waits_for(object: &Value) -> Option<String> {
    let conditions = object["status"]["conditions"].as_array()?;
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
    let (kind, name) = (object["kind"].as_str()?, object["metadata"]["name"].as_str()?);
    Some(format!("{kind} {name}: {}: {}", ready["reason"].as_str()?, ready["message"].as_str()?))
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

    use super::{ready, waits_for};

    #[test]
    fn the_ready_of_an_older_spec_does_not_count() {
        let condition = json!({"type": "Ready", "status": "True", "observedGeneration": 1});
        let object =
            |generation: u32| json!({"metadata": {"generation": generation}, "status": {"conditions": [condition]}});
        assert!(ready(&object(1)));
        assert!(!ready(&object(2)));
        assert!(!ready(&json!({"metadata": {"generation": 1}})));
    }

    #[test]
    fn what_it_waits_for_is_the_ready_condition_s_word() {
        let object = json!({"kind": "Server", "metadata": {"name": "web-1"}, "status": {"conditions": [
            {"type": "Ready", "status": "False", "reason": "WaitingForImage", "message": "Image tiny is not there"},
        ]}});
        assert_eq!(waits_for(&object).unwrap(), "Server web-1: WaitingForImage: Image tiny is not there");
        assert_eq!(waits_for(&json!({"kind": "Server", "metadata": {"name": "web-1"}})), None);
    }
}
