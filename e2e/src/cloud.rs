//! A running cloud, as its admin sees it: a process, a kubeconfig, and the commands.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::patience::until;
use crate::space::Space;

/// Which programs the stories use.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The binary under test.
    pub nubium: PathBuf,
    /// The folder of the test images.
    pub images: PathBuf,
}

/// A cloud of one host.
pub struct Cloud {
    programs: Programs,
    state: PathBuf,
    process: Option<Child>,
}

impl Cloud {
    /// Starts `nubium up` and waits until its Host is Ready.
    pub fn up(programs: Programs, state: &Path) -> Self {
        let mut cloud = Self { programs, state: state.to_owned(), process: None };
        cloud.start();
        until("the Host", Duration::from_secs(120), || cloud.host_ready());
        cloud
    }

    /// Starts the process; it may have run before on the same state.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(self.log()).expect("the state folder is there");
        let process = Command::new(&self.programs.nubium)
            .arg("up")
            .arg("--state")
            .arg(&self.state)
            .arg("--image-dir")
            .arg(&self.programs.images)
            .args(["--listen", "127.0.0.1:6443", "--endpoint", "127.0.0.1:7445", "--acceleration", "tcg"])
            .args(["--image-http-allow", "127.0.0.0/8"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor can be copied"))
            .stderr(log)
            .spawn()
            .expect("nubium starts");
        self.process = Some(process);
    }

    /// Ends the process as a crash does.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("it can be killed");
        process.wait().expect("it ends");
    }

    /// Where its log is.
    pub fn log(&self) -> PathBuf {
        self.state.join("e2e.log")
    }

    /// Its state folder.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The admin's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("admin.kubeconfig")
    }

    /// The binary under test, as the admin.
    pub fn nubium(&self) -> Command {
        let mut command = Command::new(&self.programs.nubium);
        command.env("KUBECONFIG", self.kubeconfig()).stdin(Stdio::null());
        command
    }

    /// The host's private libvirt, or its own.
    pub fn virsh(&self, arguments: &[&str]) -> Result<String> {
        let socket = self.state.join("libvirt/run/libvirt-sock");
        let uri = format!("qemu+unix:///system?socket={}", socket.display());
        crate::machine::run("virsh", &[&["-q", "-c", &uri], arguments].concat())
    }

    /// A namespace of its own for one story, made now.
    pub fn space(&self, name: &str) -> Space<'_> {
        Space::create(self, name)
    }

    fn host_ready(&self) -> Result<(), String> {
        let hosts = self.list("hosts", None).map_err(|error| format!("{error:#}"))?;
        let host = hosts.first().ok_or("there is no Host")?;
        match condition(host, "Ready") {
            Some(ready) if ready["status"] == "True" => Ok(()),
            other => Err(format!("its Ready is {}", other.map_or("absent".into(), Value::to_string))),
        }
    }

    /// All objects of a kind, in one namespace or cluster-wide.
    pub fn list(&self, kind: &str, namespace: Option<&str>) -> Result<Vec<Value>> {
        let mut command = self.nubium();
        command.args(["get", kind, "-o", "json"]);
        if let Some(namespace) = namespace {
            command.args(["-n", namespace]);
        }
        let list: Value = serde_json::from_str(&text(&mut command)?).context("cannot read the list")?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

/// The condition of that type of an object.
pub fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)
}

/// Standard output of a command that must succeed.
pub fn text(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        anyhow::bail!("{command:?}: {}", String::from_utf8_lossy(&stderr).trim());
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}
