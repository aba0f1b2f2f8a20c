//! Whether the machine is what was asked for, by the machine's own tools.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nubium_e2e::cloud::Cloud;
use nubium_e2e::json::condition;
use nubium_e2e::machine::run;
use nubium_e2e::processes;
use nubium_e2e::space::Space;
use nubium_e2e::wait::until;
use serde_json::Value;

use super::act;
use super::model::{Model, SPACE, WITNESS};

/// How long it may take until all is as asked for, boots included.
const LIMIT: Duration = Duration::from_secs(240);

/// Waits until all is as asked for, applying it again as a GitOps tool does, and restarting what says it needs that.
pub fn converges(cloud: &Cloud, model: &mut Model) {
    let space = Space::create(cloud, SPACE);
    let mut restarted = BTreeSet::new();
    until("what was asked for", LIMIT, || {
        act::apply(&space, model);
        for server in space.list("servers") {
            let name = text(&server["metadata"]["name"]);
            if condition(&server, "RestartRequired").is_some_and(|c| c["status"] == "True")
                && restarted.insert(name.clone())
            {
                act::restart(model, &name);
            }
        }
        let wrong = differences(cloud, &space, model);
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n    ")) }
    });
    for (name, _) in model.servers.iter().filter(|(_, wanted)| wanted.running) {
        assert_eq!(space.ssh(name, "hostname"), *name);
    }
}

/// Waits until nothing is left of it.
pub fn ends(cloud: &Cloud) {
    until("the end of the namespace", LIMIT, || {
        let there = cloud.list("namespaces", None).map_err(|error| format!("{error:#}"))?;
        let there = there.iter().any(|space| space["metadata"]["name"] == SPACE);
        let left = on_machine(cloud)?;
        if !there && left.is_empty() {
            Ok(())
        } else {
            Err(format!("namespace there: {there}, on the machine: {left:?}"))
        }
    });
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Everything of the namespace that is on the machine, whoever it is for.
fn on_machine(cloud: &Cloud) -> Result<Vec<String>, String> {
    let mut left = domains(cloud)?;
    left.extend(netns()?);
    for folder in ["pools/default/volumes", "pools/default/images", "servers"] {
        let files = std::fs::read_dir(cloud.state().join(folder).join(SPACE));
        left.extend(files.into_iter().flatten().flatten().map(|file| file.path().display().to_string()));
    }
    let guest = format!("guest=nubium.{SPACE}.");
    left.extend(processes::with(&["qemu-system", &guest]).iter().map(|pid| format!("QEMU {pid}")));
    Ok(left)
}

fn domains(cloud: &Cloud) -> Result<Vec<String>, String> {
    let all = cloud.virsh(&["list", "--all", "--name"]).map_err(|error| format!("{error:#}"))?;
    Ok(all.lines().filter(|name| name.starts_with(&format!("nubium.{SPACE}."))).map(str::to_owned).collect())
}

fn netns() -> Result<Vec<String>, String> {
    let all = run("ip", &["netns", "list"]).map_err(|error| format!("{error:#}"))?;
    let names = all.lines().filter_map(|line| line.split_whitespace().next());
    Ok(names.filter(|name| name.starts_with(&format!("nubium.{SPACE}."))).map(str::to_owned).collect())
}

/// What is not as asked for, each in words.
fn differences(cloud: &Cloud, space: &Space<'_>, model: &Model) -> Vec<String> {
    let mut wrong = Vec::new();
    let servers: BTreeMap<String, Value> =
        space.list("servers").into_iter().map(|server| (text(&server["metadata"]["name"]), server)).collect();
    let expected: BTreeSet<&str> = model.servers.keys().map(String::as_str).chain([WITNESS]).collect();
    let there: BTreeSet<&str> = servers.keys().map(String::as_str).collect();
    if expected != there {
        wrong.push(format!("Servers {there:?}, expected {expected:?}"));
    }

    // What the objects say.
    for (kind, names) in [("networks", &model.networks), ("volumes", &model.volumes)] {
        let found = space.list(kind);
        for name in names {
            match found.iter().find(|object| object["metadata"]["name"] == name.as_str()) {
                None => wrong.push(format!("{kind}/{name} is missing")),
                Some(object) if !is_ready(object) => {
                    wrong.push(format!("{kind}/{name}: {}", object["status"]["conditions"]))
                }
                Some(_) => {}
            }
        }
    }
    let guests = processes::guests();
    for (name, server) in &servers {
        if !is_ready(server) {
            wrong.push(format!("servers/{name}: {}", server["status"]["conditions"]));
        }
        // What runs.
        let running = model.servers.get(name).is_none_or(|wanted| wanted.running);
        let count = guests.get(&text(&server["metadata"]["uid"])).map_or(0, Vec::len);
        if count != usize::from(running) {
            wrong.push(format!("servers/{name}: {count} QEMU, shall run: {running}"));
        }
    }

    // What nobody asked for: guests, namespaces, disks, addresses.
    match domains(cloud) {
        Err(why) => wrong.push(why),
        Ok(domains) => {
            for domain in domains {
                let name = domain.rsplit('.').next().unwrap_or_default();
                if !expected.contains(name) {
                    wrong.push(format!("domain {domain} is left"));
                }
            }
        }
    }
    match netns() {
        Err(why) => wrong.push(why),
        Ok(spaces) => {
            for space in spaces {
                let name = space.rsplit('.').next().unwrap_or_default();
                if name != "calm" && !model.networks.contains(name) {
                    wrong.push(format!("network namespace {space} is left"));
                }
            }
        }
    }
    let mut disks: BTreeSet<String> = expected.iter().map(|server| format!("{server}-root")).collect();
    disks.extend(model.volumes.iter().cloned());
    let files =
        std::fs::read_dir(cloud.state().join("pools/default/volumes").join(SPACE)).into_iter().flatten().flatten();
    for file in files {
        let name = file.file_name().to_string_lossy().into_owned();
        let volume = name.split('.').next().unwrap_or_default();
        if !disks.contains(volume) {
            wrong.push(format!("disk {name} is left"));
        }
    }
    let ports = space.list("ports");
    if ports.len() != expected.len() {
        wrong.push(format!("{} Ports for {} Servers", ports.len(), expected.len()));
    }
    let mut addresses = BTreeSet::new();
    for address in space.list("ipaddresses") {
        let key = (text(&address["spec"]["network"]), text(&address["spec"]["address"]));
        if !addresses.insert(key.clone()) {
            wrong.push(format!("address {key:?} is claimed twice"));
        }
    }
    if addresses.len() != ports.len() {
        wrong.push(format!("{} addresses for {} Ports", addresses.len(), ports.len()));
    }
    wrong
}

fn is_ready(object: &Value) -> bool {
    condition(object, "Ready")
        .is_some_and(|c| c["status"] == "True" && c["observedGeneration"] == object["metadata"]["generation"])
        || object["metadata"]["generation"].is_null()
}
