//! What is reported of a Server: one word, one sentence, its addresses. A summary of what others saw.

use kube::{Resource, ResourceExt};
use nubium_api::{Condition, ConditionStatus, PowerState, ServerAddress, ServerStatus, Volume, condition, contract};

use super::{
    changed,
    desired::Desired,
    gather::{Bound, Gathered, Seed},
    plan::orphans,
    seed, size,
};
use crate::{
    users::{is_released, made_for, terminating},
    verdict::{Verdict, current, holds, names},
    world::pool_name,
};

/// The writer's part of the status.
pub(super) fn status(verdict: &Verdict, seen: &Gathered) -> ServerStatus {
    let generation = seen.server.metadata.generation;
    let mut conditions = verdict.conditions(generation);
    conditions.extend(cloud_init(seen));
    let addresses = seen.server.spec.nics.iter().filter_map(|nic| {
        let (port, _) = seen.ports.get(&nic.name).filter(|(port, turn)| is_ours(port, turn.as_ref(), seen))?;
        let status = port.status.as_ref()?;
        Some(ServerAddress {
            name: nic.name.clone(),
            network: port.spec.network.clone(),
            address: status.addresses.first()?.address.clone(),
            mac_address: status.mac_address.clone()?,
        })
    });
    ServerStatus {
        observed_generation: generation,
        conditions,
        addresses: addresses.collect(),
        ..ServerStatus::default()
    }
}

/// Whether the guest was given another cloudInit than the spec says now. That takes nothing from its being ready.
fn cloud_init(seen: &Gathered) -> Option<Condition> {
    let Seed::There(Some(digest)) = &seen.seed else { return None };
    if terminating(seen.server.as_ref()) || *digest == seed::digest(&seen.server) {
        return None;
    }
    let message = "cloudInit was edited after the guest got it at its first boot: it counts for the next Server of this \
                   name, made after this one is deleted";
    let generation = seen.server.metadata.generation;
    Some(Condition::new(
        contract::CLOUD_INIT_CURRENT,
        ConditionStatus::False,
        generation,
        "EditedAfterFirstBoot",
        message,
    ))
}

fn is_ours(port: &nubium_api::Port, turn: Option<&String>, seen: &Gathered) -> bool {
    made_for(port.spec.made_for.as_ref(), &seen.server) || turn == Some(&seen.server.name_any())
}

/// The first of these that holds, most fundamental first.
pub(super) fn verdict(want: &Desired, seen: &Gathered) -> Verdict {
    if !want.present {
        return going(seen);
    }
    None.or_else(|| name_taken(want, seen))
        .or_else(|| changed::pending(want, seen))
        .or_else(|| missing(seen))
        .or_else(|| in_use(seen))
        .or_else(|| port_not_ready(seen))
        .or_else(|| unscheduled(seen))
        .or_else(|| unseeded(seen))
        .or_else(|| silent(seen))
        .or_else(|| no_room(seen))
        .or_else(|| image_awaited(seen))
        .or_else(|| size::pending(seen))
        .unwrap_or_else(|| on_its_host(seen))
}

fn conditions(seen: &Gathered) -> &[Condition] {
    seen.server.status.as_ref().map_or(&[], |status| &status.conditions)
}

fn going(seen: &Gathered) -> Verdict {
    let made = if orphans(seen) { "what it made is kept" } else { "what it made is being deleted" };
    let message = match &seen.host {
        _ if is_released(&seen.server) => format!("nothing of it is left on a host; {made}"),
        Bound::Nowhere => "it was never placed on a host".to_owned(),
        Bound::To(host) => match current(conditions(seen), contract::RELEASED, seen.server.metadata.generation) {
            Some(fact) => format!("waits for host {host} to release it: {}", fact.message),
            None => format!("waits for host {host} to stop it and to release its disks and NICs"),
        },
        Bound::ToSilent(host) => {
            format!("host {host} does not answer: if the machine is lost for good, delete Host {host}")
        }
        Bound::ToNoMore(host) => format!("Host {host} is no more, and what it ran with it"),
    };
    Verdict::working("Deleting", message)
}

fn name_taken(want: &Desired, seen: &Gathered) -> Option<Verdict> {
    let server = &seen.server;
    let volumes = want.volumes.keys().filter_map(|disk| {
        let (volume, _) = seen.volumes.get(disk)?;
        let mark = volume.spec.made_for.as_ref();
        let taken = || ("Volume", format!("disk {disk}"), volume.name_any(), mark, terminating(volume.as_ref()));
        (!made_for(mark, server)).then(taken)
    });
    let ports = want.ports.keys().filter_map(|nic| {
        let (port, _) = seen.ports.get(nic)?;
        let mark = port.spec.made_for.as_ref();
        let taken = || ("Port", format!("NIC {nic}"), port.name_any(), mark, terminating(port.as_ref()));
        (!made_for(mark, server)).then(taken)
    });
    let (kind, part, name, mark, going) = volumes.chain(ports).next()?;
    let message = match mark {
        _ if going => format!("waits for an earlier {kind} {name} to be gone: it is being deleted"),
        Some(mark) if mark.server != server.name_any() => format!(
            "{kind} {name} belongs to Server {}, so {part} cannot be made: choose another name for one of them",
            mark.server
        ),
        Some(_) => format!(
            "{kind} {name} was kept from an earlier Server of this name, so {part} cannot be made: name it in the spec to use it, delete it, or choose another name"
        ),
        None => format!(
            "{kind} {name} exists and was not made for this Server, so {part} cannot be made: delete it, or choose another name"
        ),
    };
    Some(Verdict::working("NameTaken", message))
}

/// Whether the Server was placed with the size of that Flavor, which may be gone since: the size is the Server's.
fn is_placed_as(seen: &Gathered, flavor: &str) -> bool {
    let resources = seen.server.status.as_ref().and_then(|status| status.resources.as_ref());
    resources.is_some_and(|resources| resources.flavor.as_deref() == Some(flavor))
}

/// What is named and is not there. What a disk was made from counts only until it is made, and the flavor until the
/// Server is placed with it.
fn missing(seen: &Gathered) -> Option<Verdict> {
    let server = &seen.server;
    let mut absent: Vec<(&str, String)> = Vec::new();
    if let Some(flavor) = server.spec.flavor.as_ref().filter(|name| seen.flavor.is_none() && !is_placed_as(seen, name))
    {
        absent.push(("Flavor", flavor.clone()));
    }
    for nic in &server.spec.nics {
        match (&nic.network, &nic.port) {
            (Some(network), _) if !seen.networks.contains_key(network) => absent.push(("Network", network.clone())),
            (_, Some(port)) if !seen.ports.contains_key(&nic.name) => absent.push(("Port", port.clone())),
            _ => {}
        }
    }
    for disk in &server.spec.disks {
        let volume = seen.volumes.get(&disk.name).map(|(volume, _)| volume.as_ref());
        if let (Some(name), None) = (&disk.volume, volume) {
            absent.push(("Volume", name.clone()));
        }
        if disk.volume.is_some() || volume.is_some_and(provisioned) {
            continue;
        }
        if let Some(image) = disk.image.as_ref().filter(|image| !seen.images.contains_key(*image)) {
            absent.push(("Image", image.clone()));
        }
        let pool = pool_name(disk.pool.as_ref());
        if !seen.pools.contains_key(&pool) {
            absent.push(("StoragePool", pool));
        }
    }
    absent.dedup();
    let (kind, _) = absent.first()?;
    let all: Vec<String> = absent.iter().map(|(kind, name)| format!("{kind} {name}")).collect();
    let does = if all.len() == 1 { "which does not exist" } else { "which do not exist" };
    Some(Verdict::working(format!("{kind}NotFound"), format!("waits for {}, {does}", names(&all))))
}

fn provisioned(volume: &Volume) -> bool {
    let conditions = volume.status.as_ref().map_or(&[][..], |status| &status.conditions);
    holds(conditions, contract::PROVISIONED, volume.metadata.generation)
}

fn in_use(seen: &Gathered) -> Option<Verdict> {
    let me = seen.server.name_any();
    for disk in seen.server.spec.disks.iter().filter(|disk| disk.volume.is_some()) {
        let (volume, turn) = seen.volumes.get(&disk.name)?;
        let name = volume.name_any();
        if let Some(other) = turn.as_ref().filter(|other| **other != me) {
            return Some(Verdict::working("VolumeInUse", format!("Volume {name} is used by Server {other}")));
        }
        if terminating(volume.as_ref()) && seen.host == Bound::Nowhere {
            return Some(Verdict::working("VolumeNotFound", format!("Volume {name} is being deleted")));
        }
    }
    for nic in seen.server.spec.nics.iter().filter(|nic| nic.port.is_some()) {
        let (port, turn) = seen.ports.get(&nic.name)?;
        if let Some(other) = turn.as_ref().filter(|other| **other != me) {
            let message = format!("Port {} is used by Server {other}", port.name_any());
            return Some(Verdict::working("PortInUse", message));
        }
    }
    None
}

/// A Port that says of itself why it cannot be used.
fn port_not_ready(seen: &Gathered) -> Option<Verdict> {
    seen.server.spec.nics.iter().find_map(|nic| {
        let (port, _) = seen.ports.get(&nic.name)?;
        not_ready("Port", port.as_ref(), &port.status.as_ref()?.conditions)
    })
}

/// A Volume that says of itself why it is not there.
fn volume_not_ready(seen: &Gathered) -> Option<Verdict> {
    seen.server.spec.disks.iter().find_map(|disk| {
        let (volume, _) = seen.volumes.get(&disk.name)?;
        not_ready("Volume", volume.as_ref(), &volume.status.as_ref()?.conditions)
    })
}

fn not_ready<K: Resource>(kind: &str, child: &K, conditions: &[Condition]) -> Option<Verdict> {
    let ready = current(conditions, contract::READY, child.meta().generation)?;
    let message = || format!("{kind} {}: {}", child.name_any(), ready.message);
    (ready.status != ConditionStatus::True).then(|| Verdict::working(&ready.reason, message()))
}

fn unscheduled(seen: &Gathered) -> Option<Verdict> {
    if seen.host != Bound::Nowhere {
        return None;
    }
    let scheduled = current(conditions(seen), contract::SCHEDULED, seen.server.metadata.generation);
    Some(match scheduled.filter(|fact| fact.status != ConditionStatus::True) {
        Some(fact) => Verdict::working(&fact.reason, &fact.message),
        None => Verdict::working("Scheduling", "a host is being chosen"),
    })
}

fn unseeded(seen: &Gathered) -> Option<Verdict> {
    let Seed::Missing(sources) = &seen.seed else { return None };
    let sources: Vec<String> = sources.iter().map(ToString::to_string).collect();
    Some(Verdict::working("CloudInitNotFound", format!("waits for {}, which cloudInit names", names(&sources))))
}

fn silent(seen: &Gathered) -> Option<Verdict> {
    match &seen.host {
        Bound::ToSilent(host) | Bound::ToNoMore(host) => {
            let message =
                format!("host {host} does not answer, so nobody knows whether the server runs: look at Host {host}");
            Some(Verdict::unknown("HostSilent", message))
        }
        Bound::Nowhere | Bound::To(_) => None,
    }
}

/// Its host has no room for it to start.
fn no_room(seen: &Gathered) -> Option<Verdict> {
    let admitted = current(conditions(seen), contract::ADMITTED, seen.server.metadata.generation)?;
    let waits = admitted.status == ConditionStatus::False && seen.server.spec.power_state == PowerState::Running;
    waits.then(|| Verdict::working(&admitted.reason, &admitted.message))
}

/// An Image that a disk is still to be made from, and that is not there yet.
fn image_awaited(seen: &Gathered) -> Option<Verdict> {
    seen.server.spec.disks.iter().find_map(|disk| {
        let image = seen.images.get(disk.image.as_ref()?)?;
        if seen.volumes.get(&disk.name).is_some_and(|(volume, _)| provisioned(volume)) {
            return None;
        }
        let ready = image.status.as_ref().and_then(|status| condition(&status.conditions, contract::READY));
        match ready {
            Some(ready) if ready.status == ConditionStatus::True => None,
            Some(ready) => {
                let message = format!("waits for Image {}: {}", image.name_any(), ready.message);
                Some(Verdict::working("ImageNotReady", message))
            }
            None => Some(Verdict::working("ImageNotReady", format!("waits for Image {}", image.name_any()))),
        }
    })
}

/// What the host's agent saw, of this generation. It says `Running` or `Stopped` as the reason when that is as requested;
/// any other reason is about what is on the way or in the way.
fn on_its_host(seen: &Gathered) -> Verdict {
    let generation = seen.server.metadata.generation;
    let host = match &seen.host {
        Bound::To(host) => host.as_str(),
        Bound::Nowhere | Bound::ToSilent(_) | Bound::ToNoMore(_) => "",
    };
    let fact = |type_: &str| current(conditions(seen), type_, generation);
    let facts = [contract::VOLUMES_READY, contract::NETWORK_READY, contract::RUNNING].map(fact);
    if let Some(blind) = facts.iter().flatten().find(|fact| fact.status == ConditionStatus::Unknown) {
        return Verdict::unknown(&blind.reason, format!("host {host} cannot look: {}", blind.message));
    }
    let [volumes, network, running] = facts;
    let not_yet = |fact: &&Condition| fact.status == ConditionStatus::False;
    match seen.server.spec.power_state {
        PowerState::Stopped => match running {
            Some(fact) if fact.status == ConditionStatus::False && fact.reason == "Stopped" => {
                Verdict::ready("Stopped", format!("it is off, as requested, on host {host}"))
            }
            Some(fact) if fact.status == ConditionStatus::True => Verdict::working("Stopping", &fact.message),
            Some(fact) => Verdict::working(&fact.reason, &fact.message),
            None => Verdict::working("Stopping", format!("host {host} has not said yet that it is off")),
        },
        PowerState::Running => match (volumes, network, running) {
            // Nothing else matters to a newcomer whose name a guest without an object has.
            (_, _, Some(running)) if running.reason == "HeldByStranger" => {
                Verdict::working(&running.reason, &running.message)
            }
            (Some(volumes), _, _) if not_yet(&volumes) => {
                volume_not_ready(seen).unwrap_or_else(|| Verdict::working(&volumes.reason, &volumes.message))
            }
            (_, Some(network), _) if not_yet(&network) => Verdict::working(&network.reason, &network.message),
            (Some(_), Some(_), Some(running)) => {
                if running.status == ConditionStatus::True && running.reason == "Running" {
                    Verdict::ready("Running", format!("it runs on host {host}"))
                } else {
                    Verdict::working(&running.reason, &running.message)
                }
            }
            (_, _, _) => Verdict::working("Starting", format!("host {host} is starting it")),
        },
    }
}
