//! Image: sums up what the hosts say of it, and removes its finalizer when no Volume depends on it and every host has released it.

mod plan;

use std::{sync::Arc, time::Duration};

use kube::{Resource, ResourceExt};
use nubium_api::{Image, ImageStatus, Kind as _};
use nubium_runtime::{
    Key, Loop, Next, Queue, StatusWriter, add_finalizer, apply_status, has_finalizer, remove_finalizer,
};

use crate::{
    error::{Error, calling},
    pass,
    release::ReleasePhase,
    users::terminating,
    verdict::writer,
    world::{Controlled, World, by, volume_keys},
};

const OWNER: StatusWriter<'_> = writer(&Image::CONTROLLER);

impl Controlled for Image {
    async fn run(world: Arc<World>) {
        let queue = Queue::new();
        world.images.feed_own(&queue);
        // Only an Image that is being deleted cares who uses it.
        let (images, users) = (world.images.clone(), queue.clone());
        world.volumes.on_change(move |old, new| {
            for volume in [old, new].into_iter().flatten() {
                let key = volume.spec.image.as_ref().map(|image| Key::of(volume.as_ref()).beside(image.clone()));
                if let Some(key) = key.filter(|key| images.get(key).is_some_and(|image| terminating(image.as_ref()))) {
                    users.add(key);
                }
            }
        });
        let (images, users) = (world.images.clone(), queue.clone());
        world.servers.on_change(move |old, new| {
            for server in [old, new].into_iter().flatten() {
                for image in server.spec.disks.iter().filter_map(|disk| disk.image.clone()) {
                    let key = Key::of(server.as_ref()).beside(image);
                    if images.get(&key).is_some_and(|image| terminating(image.as_ref())) {
                        users.add(key);
                    }
                }
            }
        });
        let (images, hosts) = (world.images.clone(), queue.clone());
        world.hosts.on_change(move |old, new| {
            if old.is_none() != new.is_none() {
                images.list().iter().for_each(|image| hosts.add(Key::of(image.as_ref())));
            }
        });
        let settings = Loop { name: "image", workers: 4, resync: Some(Duration::from_secs(60)) };
        pass::run::<Self, _, _>(world.clone(), settings, queue, move |key| reconcile(world.clone(), key)).await;
    }
}

async fn reconcile(world: Arc<World>, key: Key) -> Result<Next, Error> {
    let Some(image) = world.images.get(&key) else { return Ok(Next::Gone) };
    let api = world.api::<Image>(&key);
    let generation = image.metadata.generation;
    let seen = image.status.clone().unwrap_or_default();
    let exists = |host: &str| world.host_may_hold(host);
    let status = if terminating(image.as_ref()) {
        if !has_finalizer(image.as_ref(), Image::FINALIZER) {
            return Ok(Next::Settled);
        }
        let users = [users(&world, &image), world.unreadable(&key.namespace)].concat();
        let phase = ReleasePhase::of(&seen.conditions, generation, users, plan::holding(&seen.hosts, exists));
        if phase == ReleasePhase::Free {
            remove_finalizer(&api, &image, Image::FINALIZER)
                .await
                .map_err(calling::<Image>("remove the finalizer from", &key))?;
            return Ok(Next::Settled);
        }
        let mut conditions = phase.verdict().conditions(generation);
        conditions.push(phase.condition(generation));
        ImageStatus { observed_generation: generation, conditions, size: seen.size, ..ImageStatus::default() }
    } else {
        add_finalizer(&api, &image, Image::FINALIZER).await.map_err(calling::<Image>("add the finalizer to", &key))?;
        let hosts: Vec<_> = seen.hosts.iter().filter(|host| exists(&host.name)).cloned().collect();
        let (verdict, size, progress) = plan::summary(&hosts, generation);
        let conditions = verdict.conditions(generation);
        ImageStatus {
            observed_generation: generation,
            conditions,
            size: size.or(seen.size),
            progress,
            hosts: Vec::new(),
        }
    };
    apply_status(&api, &image, &OWNER, &status).await.map_err(calling::<Image>("write the status of", &key))?;
    Ok(Next::Settled)
}

/// Who depends on it: Volumes cloned from it, Volumes still to be, and Servers whose Volume is still to be made.
fn users(world: &World, image: &Image) -> Vec<String> {
    let key = Key::of(image);
    let cloned = world.volumes.by(by::IMAGE_UID, &image.uid().unwrap_or_default());
    let named = world.volumes.by(by::IMAGE, &key.to_string());
    let servers = world.servers.by(by::IMAGE, &key.to_string());
    let waiting = servers.iter().filter(|server| {
        let disks = server.spec.disks.iter().zip(volume_keys(server));
        let mut from_it = disks.filter(|(disk, _)| disk.image.as_ref() == Some(&key.name));
        !terminating(server.as_ref())
            && image.serves(server.meta())
            && from_it.any(|(_, volume)| world.volumes.get(&volume).is_none())
    });
    let named: Vec<_> = named.into_iter().filter(|volume| image.serves(volume.meta())).collect();
    plan::users(&cloned, &named, waiting.map(|server| server.name_any()))
}
