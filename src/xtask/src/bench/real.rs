//! One real Server, its image cached and its network up, beside `virsh create` of the same domain in the same libvirtd, in
//! turns. Ours makes the disk's clone and the seed and waits to be seen running; virsh finds its disk and its tap made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::http::Server;
use crate::command;

const ROUNDS: usize = 5;
const TAP: &str = "nubbench";
const NAME: &str = "bench-virsh";
const UUID: &str = "5d3d5d0e-7c2b-4a53-9a0e-0f1f5a1d7e11";
const SERVERS: &str = "/apis/nubium.dev/v1alpha1/namespaces/default/servers";

/// Median seconds: of ours, and of virsh.
pub fn measure(server: &Server, state: &Path) -> Result<(f64, f64)> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut peer = None;
    for round in 0..=ROUNDS {
        let name = format!("one-{round}");
        let took = boot(server, &name)?;
        let peer = match &mut peer {
            Some(peer) => peer,
            // The first round warms both.
            None => peer.insert(Virsh::like(state, &name)?),
        };
        remove(server, &name)?;
        let other = peer.create()?;
        if round > 0 {
            ours.push(took);
            theirs.push(other);
        }
    }
    ours.sort();
    theirs.sort();
    Ok((ours[ROUNDS / 2].as_secs_f64(), theirs[ROUNDS / 2].as_secs_f64()))
}

/// From the begin of the request to the event that says Running.
pub fn boot(server: &Server, name: &str) -> Result<Duration> {
    let mut watch = server.connect()?;
    watch.watch(&format!("{SERVERS}?watch=1&timeoutSeconds=100&fieldSelector=metadata.name%3D{name}"))?;
    let mut client = server.connect()?;
    let body = format!(
        r#"{{"apiVersion":"nubium.dev/v1alpha1","kind":"Server","metadata":{{"name":"{name}"}},"spec":{{"flavor":"nano",
        "disks":[{{"name":"root","image":"tiny"}}],"nics":[{{"name":"eth0","network":"default"}}]}}}}"#
    );
    let begun = Instant::now();
    client.ask("POST", SERVERS, body.as_bytes())?;
    let (mut text, mut piece) = (Vec::new(), Vec::new());
    while watch.next(&mut piece)? {
        text.extend_from_slice(&piece);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line).context("read an event")?;
            let conditions = event["object"]["status"]["conditions"].as_array().into_iter().flatten();
            if conditions.into_iter().any(|one| one["type"] == "Running" && one["status"] == "True") {
                return Ok(begun.elapsed());
            }
        }
    }
    bail!("{name} does not run after 100 s")
}

pub fn remove(server: &Server, name: &str) -> Result<()> {
    let mut client = server.connect()?;
    let path = format!("{SERVERS}/{name}");
    client.ask("DELETE", &path, b"")?;
    let begun = Instant::now();
    while client.ask("GET", &path, b"").is_ok() {
        ensure!(begun.elapsed() < Duration::from_secs(60), "{name} does not end");
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Where the cloud's own libvirt listens.
pub fn uri(state: &Path) -> String {
    format!("qemu+unix:///system?socket={}", state.join("libvirt/run/libvirt-sock").display())
}

/// A domain like one of ours, with files and a tap of its own.
struct Virsh {
    uri: String,
    definition: PathBuf,
}

impl Virsh {
    fn like(state: &Path, server: &str) -> Result<Self> {
        let uri = uri(state);
        let mut dump = Command::new("virsh");
        let xml = command::output(dump.args(["-q", "-c", &uri, "dumpxml", &format!("nubium.default.{server}")]))?;
        let folder = state.join("bench-virsh");
        command::output(Command::new("install").args(["-d", "-m", "0777"]).arg(&folder))?;

        let mut own = String::new();
        for line in xml.lines().scan(false, outside_metadata).flatten() {
            let found = ["source file='", "source path='", "log file='"].iter().find_map(|mark| after(line, mark));
            match found.filter(|file| !line.contains("backing") && Path::new(file).is_absolute()) {
                Some(file)
                    if line.contains("source file='") && Path::new(file).exists() && !file.contains("/images/") =>
                {
                    let copy = folder.join(Path::new(file).file_name().context("a disk has a name")?);
                    if !copy.exists() {
                        command::output(Command::new("cp").args(["--preserve=ownership"]).arg(file).arg(&copy))?;
                    }
                    own += &line.replace(file, &copy.to_string_lossy());
                }
                Some(file) if line.contains("log file='") => {
                    own += &line.replace(file, &folder.join("log").to_string_lossy())
                }
                _ => own += line,
            }
            own.push('\n');
        }
        let own = replaced(&own, "<name>", "</name>", NAME);
        let own = replaced(&own, "<uuid>", "</uuid>", UUID);
        let own = replaced(&own, "<target dev='nub", "'", &TAP["nub".len()..]);
        let definition = folder.join("domain.xml");
        fs::write(&definition, own)?;
        Ok(Self { uri, definition })
    }

    fn create(&self) -> Result<Duration> {
        command::output(Command::new("ip").args(["tuntap", "add", "dev", TAP, "mode", "tap", "user", "libvirt-qemu"]))?;
        let begun = Instant::now();
        command::output(Command::new("virsh").args(["-q", "-c", &self.uri, "create"]).arg(&self.definition))?;
        let took = begun.elapsed();
        command::output(Command::new("virsh").args(["-q", "-c", &self.uri, "destroy", NAME]))?;
        // It may have gone with its QEMU.
        command::succeeds(Command::new("ip").args(["link", "delete", TAP]));
        Ok(took)
    }
}

/// Leaves out a domain's metadata: with it the copy would pass for one of ours.
#[allow(clippy::unnecessary_wraps, reason = "scan wants it")]
fn outside_metadata<'a>(inside: &mut bool, line: &'a str) -> Option<Option<&'a str>> {
    *inside |= line.contains("<metadata>");
    let keep = (!*inside).then_some(line);
    *inside &= !line.contains("</metadata>");
    Some(keep)
}

fn after<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    line.split_once(mark)?.1.split('\'').next()
}

/// The text with what stands between the first `from` and the next `to` replaced.
fn replaced(text: &str, from: &str, to: &str, with: &str) -> String {
    let Some((before, rest)) = text.split_once(from) else { return text.to_owned() };
    let after = rest.split_once(to).map_or("", |(_, after)| after);
    format!("{before}{from}{with}{to}{after}")
}
