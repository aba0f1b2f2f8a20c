//! What was written for each Server, read afterwards out of the store's history: a watch from before the first Server on
//! reports every write once, in the order of the revisions, and disturbs nothing that is being timed.
//!
//! **In sequence** is the longest chain of writes, from the apply to the one that says `Running=True`, each of which had to
//! wait to see one before it. What waits for what is a table ([`needs`]); which of it happened, how often and in which
//! order, is read from the history, so that a status written twice counts twice. What runs side by side counts once:
//! ```text
//!  applied ─ held ─┬─ port made ─ address taken ─ port addressed ──┐
//!                  ├─ volume made ─┐                               │
//!                  └─ bound ───────┴─ volume placed ─ disk seen ───┼─ seen (Running)
//!                       ├─ port placed ────────────────────────────┤
//!                       └─ seed ───────────────────────────────────┘
//! ```

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ApiResource, DynamicObject, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use nubium_api::{IPAddress, Port, Server, Volume};
use serde_json::Value;

use crate::cloud::is_true;

/// Means over all Servers.
pub struct Writes {
    pub all: f64,
    pub until_running: f64,
    pub in_sequence: f64,
    /// The writes of one of the Servers, a line each.
    pub example: String,
}

/// One write, and what it said.
struct Write {
    revision: u64,
    kind: String,
    steps: Vec<Step>,
    running: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Applied,
    Held,
    Bound,
    PortMade,
    AddressTaken,
    PortAddressed,
    PortPlaced,
    VolumeMade,
    VolumePlaced,
    DiskSeen,
    Seed,
    /// On the Volume, by the agent.
    Attached,
    /// On the Server, by the agent.
    Seen,
    /// Events, summaries: nobody waits for them.
    Aside,
}

/// What is looked at before that is written, as far as it is there; of an own status also the one written before.
fn needs(step: Step) -> &'static [Step] {
    use Step::*;
    match step {
        Applied | Aside => &[],
        Held => &[Applied],
        Bound | PortMade | VolumeMade => &[Held],
        AddressTaken => &[PortMade],
        PortAddressed => &[AddressTaken, PortAddressed],
        PortPlaced => &[PortMade, Bound, PortAddressed],
        VolumePlaced => &[VolumeMade, Bound],
        Seed => &[Bound],
        DiskSeen => &[VolumePlaced, DiskSeen],
        Attached => &[PortAddressed, PortPlaced, DiskSeen, Seed],
        Seen => &[PortAddressed, PortPlaced, DiskSeen, Seed, Attached, Seen],
    }
}

/// The store's revision now.
pub async fn revision(client: &Client) -> Result<String> {
    let list = Api::<Server>::all(client.clone()).list(&Default::default()).await?;
    list.metadata.resource_version.context("a list has a version")
}

/// What was written since that revision for the Servers of these names.
pub async fn since(client: &Client, begun: &str, servers: &[String]) -> Result<Writes> {
    tokio::time::sleep(std::time::Duration::from_secs(2)).await; // Events and summaries come after
    let kinds = [
        ApiResource::erase::<Server>(&()),
        ApiResource::erase::<Port>(&()),
        ApiResource::erase::<IPAddress>(&()),
        ApiResource::erase::<Volume>(&()),
        ApiResource::erase::<Secret>(&()),
        ApiResource::erase::<Event>(&()),
    ];
    let mut by_server: BTreeMap<&String, Vec<Write>> = servers.iter().map(|name| (name, Vec::new())).collect();
    for kind in &kinds {
        for (name, write) in history(client, kind, begun).await? {
            let of = servers.iter().find(|server| name == **server || name.starts_with(&format!("{server}-")));
            if let Some(writes) = of.and_then(|server| by_server.get_mut(server)) {
                writes.push(write);
            }
        }
    }
    let (mut all, mut until_running, mut in_sequence) = (0, 0, 0);
    let mut example = String::new();
    for writes in by_server.values_mut() {
        writes.sort_by_key(|write| write.revision);
        let depths = depths(writes);
        let end = writes.iter().position(|write| write.running).context("a Server that runs was said to")?;
        all += writes.len();
        until_running += end + 1;
        in_sequence += depths[end];
        let line = |(write, depth): (&Write, &usize)| format!("{depth:>3} {:<10} {:?}\n", write.kind, write.steps);
        example = writes.iter().zip(&depths).map(line).collect();
    }
    let mean = |sum: usize| sum as f64 / servers.len() as f64;
    Ok(Writes { all: mean(all), until_running: mean(until_running), in_sequence: mean(in_sequence), example })
}

/// How long the chain is that ends with each write.
fn depths(writes: &[Write]) -> Vec<usize> {
    let mut deepest: BTreeMap<Step, usize> = BTreeMap::new();
    let mut depths = Vec::new();
    for write in writes {
        let needed = write.steps.iter().flat_map(|step| needs(*step)).filter_map(|need| deepest.get(need));
        let depth = 1 + needed.max().copied().unwrap_or(0);
        for step in &write.steps {
            deepest.insert(*step, depth);
        }
        depths.push(depth);
    }
    depths
}

/// Every write of a kind since then, with the name of the object, or of what it is about.
async fn history(client: &Client, kind: &ApiResource, begun: &str) -> Result<Vec<(String, Write)>> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), kind);
    let watch = api.watch(&WatchParams::default().timeout(2), begun).await?;
    let events: Vec<WatchEvent<DynamicObject>> = watch.try_collect().await?;
    let mut before: HashMap<String, Value> = HashMap::new();
    let mut writes = Vec::new();
    for event in events {
        let (WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object)) = event else {
            continue;
        };
        let revision =
            object.resource_version().context("an object has a version")?.parse().context("read a version")?;
        let name = object.name_any();
        let now = serde_json::to_value(&object)?;
        let old = before.insert(name.clone(), now.clone());
        let about = match kind.kind.as_str() {
            "Event" => &now["regarding"]["name"],
            "IPAddress" => &now["spec"]["port"],
            "Secret" => &now["metadata"]["labels"]["nubium.dev/server"],
            _ => &now["metadata"]["name"],
        };
        let steps = steps(&kind.kind, old.as_ref(), &now);
        let running = kind.kind == "Server" && is_true(&now, "Running");
        writes.push((
            about.as_str().unwrap_or_default().to_owned(),
            Write { revision, kind: kind.kind.clone(), steps, running },
        ));
    }
    Ok(writes)
}

/// What a write changed, in the words of the table.
fn steps(kind: &str, old: Option<&Value>, now: &Value) -> Vec<Step> {
    let Some(old) = old else {
        return vec![match kind {
            "Server" => Step::Applied,
            "Port" => Step::PortMade,
            "Volume" => Step::VolumeMade,
            "IPAddress" => Step::AddressTaken,
            "Secret" => Step::Seed,
            _ => Step::Aside,
        }];
    };
    let is_new = |pointer: &str| old.pointer(pointer) != now.pointer(pointer);
    let reported = |conditions: &[&str]| conditions.iter().any(|one| said(old, one) != said(now, one));
    let found: &[(Step, bool)] = &match kind {
        "Server" => [
            (Step::Held, is_new("/metadata/finalizers")),
            (Step::Bound, is_new("/status/host")),
            (Step::Seen, reported(&["VolumesReady", "NetworkReady", "Running"])),
        ],
        "Port" => [
            (Step::PortAddressed, is_new("/status/addresses")),
            (Step::PortPlaced, is_new("/status/host")),
            (Step::Aside, false),
        ],
        "Volume" => [
            (Step::VolumePlaced, is_new("/status/host")),
            (Step::DiskSeen, reported(&["Provisioned"])),
            (Step::Attached, is_new("/status/attachedTo")),
        ],
        _ => [(Step::Aside, false); 3],
    };
    let steps: Vec<Step> = found.iter().filter(|(_, is)| *is).map(|(step, _)| *step).collect();
    if steps.is_empty() { vec![Step::Aside] } else { steps }
}

fn said<'a>(object: &'a Value, condition: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|one| one["type"] == condition)
}
