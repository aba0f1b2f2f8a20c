//! A namespace in which one story happens.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::cloud::Cloud;
use crate::command::text;
use crate::forward::Forward;
use crate::json::condition;
use crate::wait::until;
use crate::watch::Watch;

/// How long a Server may take, on a slow machine without hardware acceleration.
pub const TIMEOUT: Duration = Duration::from_secs(180);

/// One namespace.
pub struct Space<'a> {
    cloud: &'a Cloud,
    name: String,
}

impl<'a> Space<'a> {
    /// Makes the namespace, with the admin's ssh key in ConfigMap ssh-keys and the tiny image as Image tiny.
    pub fn create(cloud: &'a Cloud, name: &str) -> Self {
        let space = Self { cloud, name: name.to_owned() };
        space.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}"));
        let key = std::fs::read_to_string(cloud.state().join("ssh/id_ed25519.pub")).expect("up made a key pair");
        space.apply(&format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: ssh-keys}}, data: {{admin: {:?}}}}}",
            key.trim()
        ));
        space.apply(
            "{apiVersion: nubium.dev/v1alpha1, kind: Image, metadata: {name: tiny}, \
             spec: {source: {file: {path: tiny.qcow2}}, defaultUser: tiny}}",
        );
        space
    }

    /// The namespace's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Applies YAML; it must be taken.
    pub fn apply(&self, yaml: &str) {
        if let Err(refusal) = self.try_apply(yaml) {
            panic!("apply was refused: {refusal}\n{yaml}");
        }
    }

    /// Applies YAML; the refusal is what the user is told.
    pub fn try_apply(&self, yaml: &str) -> Result<String, String> {
        let mut command = self.cloud.nubium();
        command.args(["apply", "-n", &self.name, "-f", "-"]).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nubium starts");
        child.stdin.take().expect("it was asked for").write_all(yaml.as_bytes()).expect("it reads");
        let out = child.wait_with_output().expect("it ends");
        match out.status.success() {
            true => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
        }
    }

    /// Applies YAML that must be refused; gives what the user is told.
    pub fn refused(&self, yaml: &str) -> String {
        match self.try_apply(yaml) {
            Ok(said) => panic!("it was taken: {said}\n{yaml}"),
            Err(why) => why,
        }
    }

    /// An object, as `kind/name`; None when there is none.
    pub fn get(&self, object: &str) -> Option<Value> {
        let (kind, name) = object.split_once('/').expect("kind/name");
        let mut command = self.cloud.nubium();
        command.args(["get", kind, name, "-n", &self.name, "-o", "json"]);
        let out = command.output().expect("nubium runs");
        if out.status.success() {
            return Some(serde_json::from_slice(&out.stdout).expect("get -o json prints JSON"));
        }
        let why = String::from_utf8_lossy(&out.stderr);
        assert!(why.contains("not found"), "cannot get {object}: {why}");
        None
    }

    /// Everything of a kind here.
    pub fn list(&self, kind: &str) -> Vec<Value> {
        self.cloud.list(kind, Some(&self.name)).expect("the cloud answers")
    }

    /// Deletes an object, and does not wait for its end.
    pub fn delete(&self, object: &str) {
        let (kind, name) = object.split_once('/').expect("kind/name");
        text(self.cloud.nubium().args(["delete", kind, name, "-n", &self.name, "--wait=false"]))
            .expect("delete is taken");
    }

    /// Deletes an object and waits until it is gone.
    pub fn delete_and_wait(&self, object: &str) {
        self.delete(object);
        until(&format!("the end of {object}"), TIMEOUT, || match self.get(object) {
            None => Ok(()),
            Some(object) => Err(object["status"]["conditions"].to_string()),
        });
    }

    /// Waits until a condition of an object, seen at its present generation, has that status; gives the object.
    pub fn wait(&self, object: &str, type_: &str, status: &str) -> Value {
        until(&format!("{type_}={status} of {object}"), TIMEOUT, || {
            let seen = self.get(object).ok_or("there is none")?;
            match condition(&seen, type_) {
                Some(c) if c["status"] == status && c["observedGeneration"] == seen["metadata"]["generation"] => {
                    Ok(seen)
                }
                _ => Err(seen["status"]["conditions"].to_string()),
            }
        })
    }

    /// Waits until an object's Ready says that reason; gives the message.
    pub fn reason(&self, object: &str, reason: &str) -> String {
        until(&format!("reason {reason} of {object}"), TIMEOUT, || {
            let seen = self.get(object).ok_or("there is none")?;
            match condition(&seen, "Ready") {
                Some(c) if c["reason"] == reason => Ok(c["message"].as_str().unwrap_or_default().to_owned()),
                _ => Err(seen["status"]["conditions"].to_string()),
            }
        })
    }

    /// Waits until an object is Ready.
    pub fn ready(&self, object: &str) -> Value {
        self.wait(object, "Ready", "True")
    }

    /// The first address of a Server.
    pub fn address(&self, server: &str) -> String {
        let seen = self.ready(&format!("servers/{server}"));
        seen["status"]["addresses"][0]["address"].as_str().expect("a Ready server has an address").to_owned()
    }

    /// Runs a command in a Server by ssh; gives what it printed.
    pub fn ssh(&self, server: &str, command: &str) -> String {
        match self.try_ssh(server, command) {
            Ok(printed) => printed,
            Err(why) => panic!("ssh {server} -- {command}: {why}\n{}", self.console(server)),
        }
    }

    /// Runs a command in a Server by ssh.
    pub fn try_ssh(&self, server: &str, command: &str) -> Result<String, String> {
        let mut ssh = self.cloud.nubium();
        ssh.args(["ssh", server, "-n", &self.name, "--timeout", "240", "--", command]);
        text(&mut ssh).map(|printed| printed.trim_end().to_owned()).map_err(|error| format!("{error:#}"))
    }

    /// Begins to watch a kind here.
    pub fn watch(&self, kind: &str) -> Watch {
        let mut command = self.cloud.nubium();
        command.args(["get", kind, "--watch", "-n", &self.name]);
        Watch::start(command)
    }

    /// Forwards a port of this machine to one of a Server: `0:80` takes any free one.
    pub fn port_forward(&self, server: &str, ports: &str) -> Forward {
        let mut command = self.cloud.nubium();
        command.args(["port-forward", server, ports, "-n", &self.name]);
        Forward::start(command)
    }

    /// The device, in a Server, of a Volume of this namespace: its serial is the first 20 digits of the Volume's UID.
    pub fn device(&self, server: &str, volume: &str) -> String {
        let seen = self.get(&format!("volumes/{volume}")).expect("it is there");
        let uid = seen["metadata"]["uid"].as_str().expect("a UID").replace('-', "");
        let file = self.ssh(server, &format!("grep -l {} /sys/block/vd*/serial", &uid[..20]));
        let name = file.split('/').nth(3).expect("/sys/block/<name>/serial");
        format!("/dev/{name}")
    }

    /// Waits for an Event of this namespace that says this.
    pub fn event(&self, says: &str) {
        self.wait_for_event(&["-n", &self.name], says);
    }

    /// Waits for an Event that says this of something that all Networks share: any of them may have found it first.
    pub fn event_anywhere(&self, says: &str) {
        self.wait_for_event(&["-A"], says);
    }

    fn wait_for_event(&self, whose: &[&str], says: &str) {
        until(&format!("an Event that says {says:?}"), TIMEOUT, || {
            let mut command = self.cloud.nubium();
            let list = text(command.args(["get", "events", "-o", "json"]).args(whose)).map_err(|e| format!("{e:#}"))?;
            let list: Value = serde_json::from_str(&list).map_err(|error| error.to_string())?;
            let events = list["items"].as_array().ok_or("not a list")?;
            let notes = || events.iter().filter_map(|event| event["message"].as_str().or(event["note"].as_str()));
            let found = notes().any(|note| note.contains(says));
            if found { Ok(()) } else { Err(format!("there are only {:?}", notes().collect::<Vec<_>>())) }
        });
    }

    /// Which start of its guest this is: the guest's own boot id.
    pub fn boot(&self, server: &str) -> String {
        self.ssh(server, "cat /proc/sys/kernel/random/boot_id")
    }

    /// The name of a Server's domain.
    pub fn domain(&self, server: &str) -> String {
        format!("nubium.{}.{server}", self.name)
    }

    /// The names of all domains of this namespace.
    pub fn domains(&self) -> Vec<String> {
        let all = self.cloud.virsh(&["list", "--all", "--name"]).expect("libvirt answers");
        all.lines().filter(|name| name.starts_with(&self.domain(""))).map(str::to_owned).collect()
    }

    /// The name of a Network's namespace.
    pub fn netns(&self, network: &str) -> String {
        format!("nubium.{}.{network}", self.name)
    }

    /// Everything on this machine that belongs to this namespace: domains, network namespaces, files.
    pub fn left_over(&self) -> Vec<String> {
        let mut found = self.domains();
        let spaces = crate::machine::run("ip", &["netns", "list"]).expect("ip works");
        found.extend(spaces.lines().filter(|line| line.starts_with(&self.netns(""))).map(str::to_owned));
        for folder in ["pools/default/volumes", "pools/default/images", "servers"] {
            let files = std::fs::read_dir(self.cloud.state().join(folder).join(&self.name));
            found.extend(files.into_iter().flatten().flatten().map(|file| file.path().display().to_string()));
        }
        found
    }

    /// What a Server wrote to its console.
    pub fn console(&self, server: &str) -> String {
        text(self.cloud.nubium().args(["console", "--log", server, "-n", &self.name]))
            .unwrap_or_else(|error| error.to_string())
    }

    /// The cloud it is in.
    pub fn cloud(&self) -> &Cloud {
        self.cloud
    }

    /// A command for kubectl in this namespace, if kubectl is on this machine.
    pub fn kubectl(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--kubeconfig").arg(self.cloud.kubeconfig()).args(["-n", &self.name]);
        command
    }
}
