//! A whole `nubium up`: what it holds in memory, and what it does when there is nothing to do.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use serde_json::Value;

use super::http::{Client, Server};
use crate::command;
use crate::detached::until;
use crate::image;

const PORT: u16 = 6443;
/// So many, or as many as the Host takes.
const SERVERS: u64 = 10;
const WATCHED: [&str; 12] = [
    "/apis/nubium.dev/v1alpha1/servers",
    "/apis/nubium.dev/v1alpha1/volumes",
    "/apis/nubium.dev/v1alpha1/ports",
    "/apis/nubium.dev/v1alpha1/networks",
    "/apis/nubium.dev/v1alpha1/ipaddresses",
    "/apis/nubium.dev/v1alpha1/images",
    "/apis/nubium.dev/v1alpha1/hosts",
    "/apis/nubium.dev/v1alpha1/storagepools",
    "/apis/nubium.dev/v1alpha1/flavors",
    "/api/v1/secrets",
    "/api/v1/configmaps",
    "/api/v1/events",
];

/// A running one; it ends with this.
pub struct Cloud {
    nubium: PathBuf,
    state: PathBuf,
    process: Child,
}

impl Cloud {
    /// Starts it, and waits for its Host.
    pub fn up(nubium: &Path, state: &Path) -> Result<Self> {
        fs::create_dir_all(state)?;
        let log = File::create(state.join("bench.log"))?;
        let mut up = Command::new(nubium);
        up.args(["up", "--acceleration", "tcg", "--state"]).arg(state);
        up.arg("--image-dir").arg(image::default_folder());
        up.args(["--listen", &format!("127.0.0.1:{PORT}")]);
        let process = up.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().context("start nubium")?;
        let cloud = Self { nubium: nubium.to_owned(), state: state.to_owned(), process };
        until("the Host", Duration::from_secs(120), || cloud.ready("hosts") == Some(1))?;
        Ok(cloud)
    }

    /// Its API server, for the raw client.
    pub fn server(&self) -> Result<Server> {
        let text = fs::read_to_string(self.kubeconfig())?;
        let config: Value = serde_json::from_str(&text).context("read the kubeconfig")?;
        let decode = |value: &Value| base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap_or(""));
        let user = &config["users"][0]["user"];
        let certificate = decode(&user["client-certificate-data"])?;
        let authority = decode(&config["clusters"][0]["cluster"]["certificate-authority-data"])?;
        Server::new(PORT, &authority, &certificate, &decode(&user["client-key-data"])?)
    }

    /// Resident memory of the process, in MiB.
    pub fn resident(&self) -> Result<f64> {
        resident(self.process.id())
    }

    /// Brings the image in.
    pub fn cache_image(&self) -> Result<()> {
        self.apply(
            "{apiVersion: nubium.dev/v1alpha1, kind: Image, metadata: {name: tiny}, \
             spec: {source: {file: {path: tiny.qcow2}}, defaultUser: tiny}}\n",
        )?;
        until("the Image", Duration::from_secs(60), || self.ready("images") == Some(1))
    }

    /// Boots 10 Servers, or as many as fit, and waits until they run and nothing is left to do; gives their number.
    pub fn fill(&self) -> Result<u64> {
        let hosts: Value =
            serde_json::from_str(&command::output(self.command().args(["get", "hosts", "-o", "json"]))?)?;
        let fit = hosts["items"][0]["status"]["capacity"]["cpu"].as_u64().context("the Host says what it has")?;
        let count = SERVERS.min(fit);
        let servers = (0..count).map(|number| {
            format!(
                "---\n{{apiVersion: nubium.dev/v1alpha1, kind: Server, metadata: {{name: s-{number}}}, spec: \
                 {{flavor: nano, disks: [{{name: root, image: tiny}}], nics: [{{name: eth0, network: default}}]}}}}\n"
            )
        });
        self.apply(&servers.collect::<String>())?;
        until("the Servers", Duration::from_secs(180), || self.ready("servers") == usize::try_from(count).ok())?;
        // Guests boot, ask for their addresses, and fall silent.
        std::thread::sleep(Duration::from_secs(30));
        Ok(count)
    }

    /// Waits a minute; gives how many objects beside Leases were written, and how many lines logged.
    pub fn settled(&self) -> Result<(usize, usize)> {
        let mut client = self.server()?.connect()?;
        let lines = || fs::read_to_string(self.state.join("bench.log")).map(|log| log.lines().count());
        let (versions, logged) = (versions(&mut client)?, lines()?);
        std::thread::sleep(Duration::from_secs(60));
        // Not the connection from before: a minute is long.
        let now = self::versions(&mut self.server()?.connect()?)?;
        let written: Vec<&String> = now.iter().filter(|version| !versions.contains(version)).collect();
        for object in &written {
            println!("  written meanwhile: {object}");
        }
        Ok((written.len(), lines()? - logged))
    }

    /// One object of namespace default.
    pub fn get(&self, kind: &str, name: &str) -> Result<Value> {
        let text = command::output(self.command().args(["get", kind, name, "-o", "json"]))?;
        serde_json::from_str(&text).context("read an object")
    }

    fn apply(&self, yaml: &str) -> Result<()> {
        let file = self.state.join("bench.yaml");
        fs::write(&file, yaml)?;
        command::output(self.command().arg("apply").arg("-f").arg(&file)).map(drop)
    }

    fn kubeconfig(&self) -> PathBuf {
        self.state.join("admin.kubeconfig")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.nubium);
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    fn ready(&self, kind: &str) -> Option<usize> {
        let text = command::output(self.command().args(["get", kind, "-o", "json"])).ok()?;
        let list: Value = serde_json::from_str(&text).ok()?;
        let ready = |object: &&Value| {
            let conditions = object["status"]["conditions"].as_array();
            conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
        };
        Some(list["items"].as_array()?.iter().filter(ready).count())
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        // It may have ended by itself; its guests end with our namespaces.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Resident memory of a process, in MiB.
pub fn resident(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("look at the process")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("it has no memory")?;
    let kib: f64 = line.trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// Kind, name, UID and version of every object.
fn versions(client: &mut Client) -> Result<Vec<String>> {
    let mut versions = Vec::new();
    for path in WATCHED {
        let list: Value = serde_json::from_slice(&client.ask("GET", path, b"")?)?;
        let all = list["items"].as_array().into_iter().flatten();
        let kind = path.rsplit('/').next().unwrap_or_default();
        versions.extend(all.map(|one| {
            let metadata = &one["metadata"];
            format!("{kind} {} {} {}", metadata["name"], metadata["uid"], metadata["resourceVersion"])
        }));
    }
    Ok(versions)
}
