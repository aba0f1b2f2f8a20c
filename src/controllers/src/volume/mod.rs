//! Volume: says where it lives (with its first Server, and for good) and how it stands, and removes its finalizer when no Server
//! uses it and its host has released it.

mod plan;

use std::{sync::Arc, time::Duration};

use kube::{Api, ResourceExt, api::Preconditions};
use nubium_api::{Host, Kind as _, Server, Volume, VolumeStatus, contract};
use nubium_runtime::{
    Key, Live, Loop, Next, Queue, SharedBuilder, StatusDebounce, StatusWriter, add_finalizer, apply_status,
    has_finalizer, live_get, remove_finalizer,
};

use crate::{
    error::{Error, calling},
    pass,
    release::ReleasePhase,
    users::{terminating, volume_users},
    verdict::{holds, writer},
    world::{Controlled, World, by, pool_name, volume_keys},
};

const OWNER: StatusWriter<'_> = writer(&Volume::CONTROLLER);

impl Controlled for Volume {
    fn indexes(watch: SharedBuilder<Self>) -> SharedBuilder<Self> {
        watch
            .index(by::IMAGE, |volume| {
                volume.spec.image.iter().map(|image| Key::of(volume).beside(image.clone()).to_string()).collect()
            })
            .index(by::IMAGE_UID, |volume| volume.status.iter().filter_map(|status| status.image_uid.clone()).collect())
            .index(by::MADE_FOR, |volume| volume.spec.made_for.iter().map(|made| made.uid.clone()).collect())
            .index(by::POOL, |volume| vec![pool_name(volume.spec.pool.as_ref())])
    }

    async fn run(world: Arc<World>) {
        let queue = Queue::new();
        world.volumes.feed_own(&queue);
        world.servers.feed(&queue, volume_keys);
        let (volumes, images) = (world.volumes.clone(), queue.clone());
        world.images.on_change(move |old, new| {
            if old.is_none() != new.is_none()
                && let Some(image) = new.or(old)
            {
                let users = volumes.by(by::IMAGE, &Key::of(image.as_ref()).to_string());
                users.iter().for_each(|volume| images.add(Key::of(volume.as_ref())));
            }
        });
        let (volumes, pools) = (world.volumes.clone(), queue.clone());
        world.pools.on_change(move |old, new| {
            if old.is_none() != new.is_none()
                && let Some(pool) = new.or(old)
            {
                volumes.by(by::POOL, &pool.name_any()).iter().for_each(|volume| pools.add(Key::of(volume.as_ref())));
            }
        });
        let (volumes, hosts) = (world.volumes.clone(), queue.clone());
        world.hosts.on_change(move |old, new| {
            if let (Some(host), None) = (old, new) {
                let name = host.name_any();
                let there = volumes.list().into_iter().filter(|volume| plan::host_of(volume) == Some(name.as_str()));
                there.for_each(|volume| hosts.add(Key::of(volume.as_ref())));
            }
        });
        let settings = Loop { name: "volume", workers: 16, resync: Some(Duration::from_secs(60)) };
        let debounce = Arc::new(StatusDebounce::default());
        pass::run::<Self, _, _>(world.clone(), settings, queue, move |key| {
            reconcile(world.clone(), debounce.clone(), key)
        })
        .await;
    }
}

async fn reconcile(world: Arc<World>, debounce: Arc<StatusDebounce>, key: Key) -> Result<Next, Error> {
    let Some(volume) = world.volumes.get(&key) else {
        debounce.settled(&key);
        return Ok(Next::Gone);
    };
    let api = world.api::<Volume>(&key);
    let generation = volume.metadata.generation;
    let seen = volume.status.clone().unwrap_or_default();
    let users = volume_users(&volume, world.servers.by(by::VOLUME, &key.to_string()));
    let (conditions, host) = if terminating(volume.as_ref()) {
        if !has_finalizer(volume.as_ref(), Volume::FINALIZER) {
            return Ok(Next::Settled);
        }
        let holding = holding(&world, &volume).await?;
        let users = [plan::users(&volume, &users), world.unreadable(&key.namespace)].concat();
        let phase = ReleasePhase::of(&seen.conditions, generation, users, holding);
        if phase == ReleasePhase::Free {
            remove_finalizer(&api, &volume, Volume::FINALIZER)
                .await
                .map_err(calling::<Volume>("remove the finalizer from", &key))?;
            return Ok(Next::Settled);
        }
        let mut conditions = phase.verdict().conditions(generation);
        conditions.push(phase.condition(generation));
        (conditions, seen.host)
    } else {
        if never_used(&world, &volume, &users).await? {
            let as_seen = Preconditions { uid: volume.uid(), resource_version: volume.resource_version() };
            world.delete::<Volume>(&key, Some(as_seen)).await?;
            return Ok(Next::Settled);
        }
        add_finalizer(&api, &volume, Volume::FINALIZER)
            .await
            .map_err(calling::<Volume>("add the finalizer to", &key))?;
        let host = seen.host.clone().or_else(|| plan::first_host(&users));
        let image = volume.spec.image.as_deref().map(|name| (name, world.images.get(&key.beside(name)).is_some()));
        let pool = pool_name(volume.spec.pool.as_ref());
        let pooled = world.pools.get(&Key::cluster(pool.clone())).is_some();
        if host.is_none()
            && volume.spec.made_for.is_some()
            && seen.observed_generation != generation
            && let Some(rest) = debounce.hold(&key)
        {
            // Just made for a Server that is about to be bound: that is reported in one with its host.
            return Ok(Next::After(rest));
        }
        debounce.settled(&key);
        let missing = image.filter(|(_, there)| !there).map(|(name, _)| ("Image", name));
        let missing = missing.or((!pooled).then_some(("StoragePool", pool.as_str())));
        (plan::verdict(&volume, host.as_deref(), missing).conditions(generation), host)
    };
    let status = VolumeStatus { observed_generation: generation, conditions, host, ..VolumeStatus::default() };
    apply_status(&api, &volume, &OWNER, &status).await.map_err(calling::<Volume>("write the status of", &key))?;
    Ok(Next::Settled)
}

/// Whether this Volume was made for a Server that is no more, by a live look, before anything was put on it.
///
/// It happens when a Server is deleted in the moment in which it gets its finalizer: kube-apiserver looks for
/// finalizers and deletes in two steps. A Volume that has been on a host may hold data, and is never deleted for want
/// of its Server.
async fn never_used(world: &World, volume: &Volume, users: &[Arc<Server>]) -> Result<bool, Error> {
    let Some(made) = &volume.spec.made_for else { return Ok(false) };
    let orphaned = volume.annotations().get(contract::ORPHANED) == Some(&made.uid);
    if plan::host_of(volume).is_some() || !users.is_empty() || orphaned {
        return Ok(false);
    }
    let server = Key::of(volume).beside(made.server.clone());
    let live = live_get(&world.api::<Server>(&server), &server.name, &made.uid).await;
    Ok(matches!(live.map_err(calling::<Server>("get", &server))?, Live::Gone(_)))
}

/// The host that has some of a Volume that is being deleted: its own, until it says that nothing is left, or until its
/// Host, looked for live, is no more.
async fn holding(world: &World, volume: &Volume) -> Result<Vec<String>, Error> {
    let conditions = volume.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let released = holds(conditions, contract::RELEASED, volume.metadata.generation);
    let Some(host) = plan::host_of(volume).filter(|_| !released) else { return Ok(Vec::new()) };
    let key = Key::cluster(host);
    if !world.host_may_hold(host) {
        let hosts: Api<Host> = Api::all(world.client.clone());
        if hosts.get_opt(host).await.map_err(calling::<Host>("get", &key))?.is_none() {
            return Ok(Vec::new());
        }
    }
    Ok(vec![host.to_owned()])
}
