//! Reads what a placement rests on out of the caches.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{ResourceExt, core::Selector};
use nubium_api::{ConditionStatus, Host, PowerState, Server, ServerResources, condition, contract};
use nubium_runtime::Key;

use super::{
    admission,
    plan::{Candidate, Request, Unplaced},
};
use crate::{
    users::{host_of, is_released, made_for, terminating, volume_users},
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

/// A host as placements see it, all of it free; none while it is being deleted.
pub(super) fn host(host: &Host) -> Option<Candidate> {
    if terminating(host) {
        return None;
    }
    let status = host.status.as_ref();
    let conditions = status.map_or(&[][..], |status| &status.conditions);
    let capacity = status.and_then(|status| status.capacity.as_ref());
    let memory = capacity.and_then(|capacity| capacity.memory.bytes().ok()).unwrap_or(0);
    let cpu_capacity = capacity.map_or(0, |capacity| i64::from(capacity.cpu));
    let memory_capacity = i64::try_from(memory).unwrap_or(i64::MAX);
    let is = |type_: &str| condition(conditions, type_).is_some_and(|fact| fact.status == ConditionStatus::True);
    Some(Candidate {
        name: host.name_any(),
        labels: host.labels().clone(),
        // Both speak of the machine, whatever the generation of the Host's spec.
        ready: is(contract::READY),
        reported: is(contract::SERVERS_REPORTED),
        unschedulable: host.spec.unschedulable.unwrap_or(false),
        pools: status.iter().flat_map(|status| &status.pools).map(|pool| pool.name.clone()).collect(),
        cpu_capacity,
        memory_capacity,
        cpu_free: cpu_capacity,
        memory_free: memory_capacity,
    })
}

/// The size in force of a bound Server.
pub(super) fn size(server: &Server) -> Option<&ServerResources> {
    server.status.as_ref()?.resources.as_ref()
}

/// The host that a Server takes room of, and how much.
pub(super) fn holds(server: &Server) -> Option<(&str, &ServerResources)> {
    host_of(server).filter(|_| !is_released(server) && admission::holds(server)).zip(size(server))
}
