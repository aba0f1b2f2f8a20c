//! A running cloud, as its admin sees it: a process, a kubeconfig, and the commands.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command::text;
use crate::json::condition;
use crate::programs::Programs;
use crate::shape::Shape;
use crate::wait::until;

/// A cloud of one host.
pub struct Cloud {
    programs: Programs,
    state: PathBuf,
    shape: Shape,
    processes: Vec<Child>,
}

impl Cloud {
    /// Starts it, in the shape that the environment asks for, and waits until its Host is Ready.
    pub fn up(programs: Programs, state: &Path) -> Self {
        let shape = Shape::chosen(state).unwrap_or_else(|error| panic!("{error:#}"));
        let mut cloud = Self { programs, state: state.to_owned(), shape, processes: Vec::new() };
        std::fs::create_dir_all(cloud.image_folder()).expect("the state folder is ours");
        cloud.start();
        cloud.wait_for_host();
        cloud
    }

    /// Waits until its Host is Ready.
    pub fn wait_for_host(&self) {
        until("the Host", Duration::from_secs(120), || self.host_ready());
    }

    /// A folder, beside that of the test images, whose files Images may name.
    pub fn image_folder(&self) -> PathBuf {
        self.state.join("more-images")
    }

    /// The only Host.
    pub fn host(&self) -> Value {
        self.list("hosts", None).expect("the cloud answers").remove(0)
    }

    /// Starts the processes; they may have run before on the same state.
    pub fn start(&mut self) {
        assert!(self.processes.is_empty(), "it runs already");
        let log = File::options().create(true).append(true).open(self.log()).expect("the state folder is there");
        let images = [self.programs.images.clone(), self.image_folder()];
        let commands = self.shape.commands(&self.programs, &self.state, &images).expect("the shape has its files");
        for mut command in commands {
            let log = || log.try_clone().expect("a descriptor can be copied");
            command.stdin(Stdio::null()).stdout(log()).stderr(log());
            self.processes.push(command.spawn().expect("nubium starts"));
        }
    }

    /// Ends the processes as a crash does.
    pub fn kill(&mut self) {
        assert!(!self.processes.is_empty(), "it does not run");
        for mut process in self.processes.drain(..) {
            process.kill().expect("it can be killed");
            process.wait().expect("it ends");
        }
    }

    /// Ends it as its admin does: guests are stopped, helpers ended, and nothing is left in /run. It can be
    /// [started](Self::start) again.
    pub fn down(&mut self) {
        self.kill();
        let said = text(self.nubium().arg("down").arg("--state").arg(&self.state));
        said.unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Whether the API server, the controllers and the agent begin and end together.
    pub fn is_one_process(&self) -> bool {
        matches!(self.shape, Shape::Embedded)
    }

    /// Where its log is.
    pub fn log(&self) -> PathBuf {
        self.state.join("e2e.log")
    }

    /// Loses every object; it was [killed](Self::kill) before.
    pub fn lose_store(&mut self) {
        assert!(self.processes.is_empty(), "it runs");
        self.shape.lose_store(&self.state).expect("a store can be lost");
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
        if !self.processes.is_empty() {
            self.kill();
        }
    }
}
