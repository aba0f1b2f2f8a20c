//! What a release has done, as text: its objects, and the machine that its agent made for them.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use nubium_host::libvirt::Domains;
use serde_json::{Value, json};

use crate::machine::SimMachine;

/// The kinds of which a store has objects.
const KINDS: [&str; 11] = [
    "AddressRange",
    "CloudSettings",
    "Flavor",
    "Host",
    "Image",
    "IPAddress",
    "Network",
    "Port",
    "Server",
    "StoragePool",
    "Volume",
];

/// Where the recorded cloud had its files.
pub const RECORDED_IN: &str = "/tmp/nubium-recorded";

/// Every object of ours by kind and name: its spec, and what is said of it, without times, words and where files are.
pub async fn objects(client: &Client, state: &Path) -> Result<Value> {
    let mut all = json!({});
    for kind in KINDS {
        let plural = match kind {
            "CloudSettings" => "cloudsettings".to_owned(),
            "IPAddress" => "ipaddresses".to_owned(),
            other => format!("{}s", other.to_lowercase()),
        };
        let gvk = GroupVersionKind::gvk("nubium.dev", "v1alpha1", kind);
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&gvk, &plural));
        for object in api.list(&ListParams::default()).await? {
            let mut data = object.data;
            if let Some(conditions) = data["status"]["conditions"].as_array_mut() {
                for condition in conditions {
                    condition["lastTransitionTime"] = Value::Null;
                    condition["message"] = Value::Null;
                }
            }
            if kind == "Host" {
                // It is measured anew by each release, which may say more than the one before.
                data["status"] = Value::Null;
            }
            let name = object.metadata.name.context("an object has a name")?;
            all[kind][name] = json!({"uid": object.metadata.uid, "generation": object.metadata.generation,
                "labels": object.metadata.labels, "spec": data["spec"], "status": data["status"]});
        }
    }
    Ok(serde_json::from_str(&anywhere(&all.to_string(), state))?)
}

fn anywhere(text: &str, state: &Path) -> String {
    text.replace(&state.display().to_string(), "STATE").replace(RECORDED_IN, "STATE")
}

/// The objects, when they have stayed the same for two seconds.
pub async fn settled(client: &Client, state: &Path) -> Result<Value> {
    let mut before = objects(client, state).await?;
    for _ in 0..30 {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let after = objects(client, state).await?;
        if after == before {
            return Ok(after);
        }
        before = after;
    }
    bail!("the objects change for ever")
}

/// What the agent made: definitions of guests, namespaces, rules, what DHCP answers. Paths below `state` are relative.
pub async fn machine(machine: &SimMachine, state: &Path) -> Result<String> {
    let mut text = String::new();
    let mut domains = machine.domains.list().await?.seen;
    domains.sort_by(|a, b| a.name.cmp(&b.name));
    for domain in domains {
        writeln!(text, "{} {:?}\n{}", domain.name, domain.state, domain.definition)?;
    }
    let world = machine.networks.world();
    for (netns, seen) in &world.namespaces {
        writeln!(text, "{netns}\n{:#?}\n{:#?}\n{:#?}", seen.owner, seen.bridge, seen.rules)?;
        writeln!(text, "{:#?}\n{:#?}\n{:#?}\n{:#?}", seen.guests, seen.neighbours, seen.taps, seen.out)?;
    }
    writeln!(text, "{:#?}\n{:#?}\n{:#?}", world.served, world.host.uplinks, world.host.host_firewall)?;
    Ok(anywhere(&text, state))
}
