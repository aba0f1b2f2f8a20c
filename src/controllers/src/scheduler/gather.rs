//! Reads what a placement rests on out of the caches.

use std::collections::HashMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{ResourceExt, core::Selector};
use nubium_api::{ConditionStatus, Host, PowerState, Server, ServerResources, condition, contract};
use nubium_runtime::Key;

use super::{
    admission,
    plan::{Candidate, Request, Unplaced},
};
use crate::{
    claims::{host_of, is_released, made_for, terminating, volume_users},
    world::{World, by, pool_name, volume_keys},
};

/// What a Server asks for, or what it has to wait for before it can ask.
pub(super) fn request(world: &World, server: &Server) -> Result<Request, Unplaced> {
    let resources = resources(world, server)?;
    let unreadable = |error: nubium_api::QuantityError| Unplaced::Waits("InvalidSize", error.to_string());
    let cpu = u64::from(resources.cpu.count().map_err(unreadable)?);
    let memory = resources.memory.bytes().map_err(unreadable)?;
    let (mut volumes, mut pools) = (Vec::new(), Vec::new());
    for (disk, key) in server.spec.disks.iter().zip(volume_keys(server)) {
        let volume = world.volumes.get(&key);
        if let Some(name) = &disk.volume {
            let not_there =
                |why: &str| Unplaced::Waits("VolumeNotFound", format!("waits for Volume {name}, which {why}"));
            let volume = volume.as_ref().ok_or_else(|| not_there("does not exist"))?;
            if terminating(volume.as_ref()) {
                return Err(not_there("is being deleted"));
            }
            let users = volume_users(volume, world.servers.by(by::VOLUME, &key.to_string()));
            if let Some(other) = users.first().filter(|first| first.metadata.uid != server.metadata.uid) {
                let message = format!("Volume {name} is used by Server {}", other.name_any());
                return Err(Unplaced::Waits("VolumeInUse", message));
            }
        } else if let Some(volume) = volume.as_ref().filter(|it| !made_for(it.spec.made_for.as_ref(), server)) {
            let message = format!("Volume {} exists and was not made for this Server", volume.name_any());
            return Err(Unplaced::Waits("NameTaken", message));
        }
        let placed = volume.as_ref().and_then(|volume| volume.status.as_ref()?.host.clone());
        match placed {
            Some(host) => volumes.push((key.name, host)),
            None => {
                let pool = volume.as_ref().map_or(&disk.pool, |volume| &volume.spec.pool);
                pools.push(pool_name(pool.as_ref()));
            }
        }
    }
    pools.sort();
    pools.dedup();
    let scheduling = server.spec.scheduling.clone().unwrap_or_default();
    let selector = scheduling.host_selector.map(selector).transpose()?;
    let runs = server.spec.power_state == PowerState::Running;
    Ok(Request { resources, cpu, memory, runs, host: scheduling.host, selector, volumes, pools })
}

fn resources(world: &World, server: &Server) -> Result<ServerResources, Unplaced> {
    if let Some(said) = &server.spec.resources {
        return Ok(ServerResources { cpu: said.cpu.clone(), memory: said.memory.clone(), flavor: None });
    }
    let name = server.spec.flavor.clone().unwrap_or_default();
    match world.flavors.get(&Key::cluster(name.clone())) {
        Some(flavor) => {
            Ok(ServerResources { cpu: flavor.spec.cpu.clone(), memory: flavor.spec.memory.clone(), flavor: Some(name) })
        }
        None => Err(Unplaced::Waits("FlavorNotFound", format!("waits for Flavor {name}, which does not exist"))),
    }
}

fn selector(labels: LabelSelector) -> Result<Selector, Unplaced> {
    let unreadable = |error| Unplaced::Waits("InvalidSelector", format!("spec.scheduling.hostSelector: {error}"));
    Selector::try_from(labels).map_err(unreadable)
}

/// All hosts, with what the Servers bound to them leave free.
pub(super) fn hosts(world: &World, assumed: &HashMap<String, (String, ServerResources)>) -> Vec<Candidate> {
    let all = world.hosts.list();
    all.iter().filter(|host| !terminating(host.as_ref())).map(|host| candidate(world, host, assumed)).collect()
}

/// One host, unless it is no more or being deleted.
pub(super) fn host(
    world: &World,
    name: &str,
    assumed: &HashMap<String, (String, ServerResources)>,
) -> Option<Candidate> {
    let host = world.hosts.get(&Key::cluster(name)).filter(|host| !terminating(host.as_ref()))?;
    Some(candidate(world, &host, assumed))
}

fn candidate(world: &World, host: &Host, assumed: &HashMap<String, (String, ServerResources)>) -> Candidate {
    let name = host.name_any();
    let status = host.status.clone().unwrap_or_default();
    let conditions = &status.conditions;
    let cpu_capacity = status.capacity.as_ref().map_or(0, |capacity| i64::from(capacity.cpu));
    let memory = status.capacity.as_ref().and_then(|capacity| capacity.memory.bytes().ok()).unwrap_or(0);
    let memory_capacity = i64::try_from(memory).unwrap_or(i64::MAX);
    let (mut cpu_free, mut memory_free) = (cpu_capacity, memory_capacity);
    let mut bound = world.servers.by(by::HOST, &name);
    bound.retain(|server| takes(server).is_some());
    let sizes = bound.iter().filter_map(|server| size(server));
    let expected = assumed
        .iter()
        .filter(|(uid, (host, _))| *host == name && !bound.iter().any(|server| server.uid().as_ref() == Some(uid)))
        .map(|(_, (_, resources))| resources.clone());
    for resources in sizes.chain(expected) {
        cpu_free -= i64::from(resources.cpu.count().unwrap_or(0));
        memory_free -= i64::try_from(resources.memory.bytes().unwrap_or(0)).unwrap_or(i64::MAX);
    }
    let is = |type_: &str| condition(conditions, type_).is_some_and(|fact| fact.status == ConditionStatus::True);
    Candidate {
        labels: host.labels().clone(),
        // Both speak of the machine, whatever the generation of the Host's spec.
        ready: is(contract::READY),
        reported: is(contract::SERVERS_REPORTED),
        unschedulable: host.spec.unschedulable.unwrap_or(false),
        pools: status.pools.iter().map(|pool| pool.name.clone()).collect(),
        cpu_free,
        memory_free,
        cpu_capacity,
        memory_capacity,
        name,
    }
}

/// The size in force of a bound Server.
pub(super) fn size(server: &Server) -> Option<ServerResources> {
    server.status.as_ref()?.resources.clone()
}

/// The room that a Server takes: a change of it is news to those who wait for room.
pub(super) fn takes(server: &Server) -> Option<(String, Option<ServerResources>)> {
    host_of(server)
        .filter(|_| !is_released(server) && admission::holds(server))
        .map(|host| (host.to_owned(), size(server)))
}

/// What of a Host decides placements: its other changes wake nobody.
pub(super) fn relevant(host: &Host) -> impl PartialEq + use<> {
    let status = host.status.clone().unwrap_or_default();
    let facts: Vec<_> = status
        .conditions
        .iter()
        .filter(|fact| matches!(fact.type_.as_str(), contract::READY | contract::SERVERS_REPORTED))
        .map(|fact| (fact.type_.clone(), fact.status))
        .collect();
    let pools: Vec<_> = status.pools.into_iter().map(|pool| pool.name).collect();
    let labels = host.labels().clone();
    (facts, pools, labels, status.capacity, host.spec.unschedulable, terminating(host))
}
