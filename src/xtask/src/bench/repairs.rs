//! What is broken under a running cloud, and how long until it is whole again: the worst of some rounds of each.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::cloud::Cloud;
use super::real;
use crate::command::{output, succeeds};

const ROUNDS: usize = 3;
const TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const SERVER: &str = "repaired";
const NETNS: &str = "nubium.default.default";

/// Seconds by what was broken.
pub fn measure(cloud: &Cloud, state: &Path) -> Result<Vec<(&'static str, f64)>> {
    real::boot(&cloud.server()?, SERVER)?;
    let figures = vec![
        ("nft flush ruleset in a Network", worst(|| rules(Some(NETNS)))?),
        ("nft flush ruleset on the host", worst(|| rules(None))?),
        ("kill -9 of netd", worst(netd)?),
        ("virsh destroy of a guest", worst(|| guest(state))?),
        // It cannot be made again under a running guest: until the Server says so.
        ("a deleted tap, until it is reported", tap(cloud)?),
    ];
    real::remove(&cloud.server()?, SERVER)?;
    Ok(figures)
}

fn worst(round: impl Fn() -> Result<Duration>) -> Result<f64> {
    let rounds = (0..ROUNDS).map(|_| round()).collect::<Result<Vec<_>>>()?;
    Ok(rounds.into_iter().max().unwrap_or_default().as_secs_f64())
}

/// Breaks, and looks until it is whole.
fn repair(what: &str, breaks: &mut Command, whole: impl Fn() -> bool) -> Result<Duration> {
    output(breaks)?;
    let begun = Instant::now();
    while !whole() {
        if begun.elapsed() > TIMEOUT {
            bail!("{what} is not repaired after {} s", TIMEOUT.as_secs());
        }
        sleep(LOOK_EVERY);
    }
    Ok(begun.elapsed())
}

fn rules(netns: Option<&str>) -> Result<Duration> {
    let nft = |words: &[&str]| {
        let mut command = match netns {
            Some(netns) => {
                let mut ip = Command::new("ip");
                ip.args(["netns", "exec", netns, "nft"]);
                ip
            }
            None => Command::new("nft"),
        };
        command.args(words);
        command
    };
    let list = || output(&mut nft(&["list", "ruleset"])).unwrap_or_default();
    repair("the rules", &mut nft(&["flush", "ruleset"]), || list().contains("table"))
}

fn netd() -> Result<Duration> {
    let find = || {
        let all = output(Command::new("ps").args(["-e", "-o", "pid=,stat=,args="])).ok()?;
        let line = all.lines().find(|line| line.contains(" netd --config ") && !line.contains(" Z"))?.to_owned();
        line.split_whitespace().next().map(str::to_owned)
    };
    let before = find().context("netd does not run")?;
    repair("netd", Command::new("kill").args(["-9", &before]), || find().is_some_and(|now| now != before))
}

fn guest(state: &Path) -> Result<Duration> {
    let domain = format!("nubium.default.{SERVER}");
    let virsh = |verb: &str| {
        let mut command = Command::new("virsh");
        command.args(["-q", "-c", &real::uri(state), verb, &domain]);
        command
    };
    let runs = || output(&mut virsh("domstate")).is_ok_and(|state| state.trim() == "running");
    repair("the guest", &mut virsh("destroy"), runs)
}

fn tap(cloud: &Cloud) -> Result<f64> {
    let port = cloud.get("ports", &format!("{SERVER}-eth0"))?;
    let uid = port["metadata"]["uid"].as_str().context("a Port has a UID")?.replace('-', "");
    let name = format!("nub{}", uid.get(..11).context("a UID is long enough")?);
    let mut delete = Command::new("ip");
    delete.args(["-n", NETNS, "link", "delete", &name]);
    // The guest was started again a moment ago, and its tap is made with it.
    let begun = Instant::now();
    while !succeeds(Command::new("ip").args(["-n", NETNS, "link", "show", &name])) && begun.elapsed() < TIMEOUT {
        sleep(LOOK_EVERY);
    }
    let reported = || cloud.get("servers", SERVER).is_ok_and(|server| says(&server, "NetworkReady", "False"));
    Ok(repair("the tap", &mut delete, reported)?.as_secs_f64())
}

fn says(object: &Value, type_: &str, status: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == type_ && one["status"] == status))
}
