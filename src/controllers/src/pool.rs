//! StoragePool: Ready where a host has it; stays while Volumes live in it.

use std::{sync::Arc, time::Duration};

use kube::{Api, ResourceExt};
use nubium_api::{
    StoragePool, StoragePoolStatus,
    contract::{self, POOL_FINALIZER},
};
use nubium_runtime::{
    Key, Loop, Next, Queue, StatusWriter, add_finalizer, apply_status, has_finalizer, remove_finalizer,
};

use crate::{
    claims::terminating,
    error::{Error, calling},
    pass,
    verdict::{Verdict, names, writer},
    world::{World, by, pool_name},
};

const OWNER: StatusWriter<'_> = writer(&contract::POOL);

/// Runs passes for StoragePools for ever.
pub(crate) async fn run(world: Arc<World>) {
    let queue = Queue::new();
    world.pools.feed_own(&queue);
    let (pools, volumes) = (world.pools.clone(), queue.clone());
    world.volumes.on_change(move |old, new| {
        // Only a pool that is being deleted cares who uses it.
        for volume in [old, new].into_iter().flatten() {
            let key = Key::cluster(pool_name(volume.spec.pool.as_ref()));
            if pools.get(&key).is_some_and(|pool| terminating(pool.as_ref())) {
                volumes.add(key);
            }
        }
    });
    world.hosts.feed(&queue, |host| {
        let pools = host.status.iter().flat_map(|status| &status.pools);
        pools.map(|pool| Key::cluster(pool.name.clone())).collect()
    });
    let settings = Loop { name: "storage-pool", workers: 2, resync: Some(Duration::from_secs(60)) };
    let (all, kind) = (world.clone(), world.pools.clone());
    pass::run(all, kind, &contract::POOL, settings, queue, move |key| reconcile(world.clone(), key)).await;
}

async fn reconcile(world: Arc<World>, key: Key) -> Result<Next, Error> {
    let Some(pool) = world.pools.get(&key) else { return Ok(Next::Gone) };
    let api: Api<StoragePool> = Api::all(world.client.clone());
    let verdict = if terminating(pool.as_ref()) {
        if !has_finalizer(pool.as_ref(), POOL_FINALIZER) {
            return Ok(Next::Settled);
        }
        let volumes = world.volumes.by(by::POOL, &key.name);
        if volumes.is_empty() {
            remove_finalizer(&api, &pool, POOL_FINALIZER)
                .await
                .map_err(calling::<StoragePool>("remove the finalizer from", &key))?;
            return Ok(Next::Settled);
        }
        let volumes: Vec<String> =
            volumes.iter().map(|volume| format!("Volume {}", Key::of(volume.as_ref()))).collect();
        Verdict::working("InUse", format!("it is to be deleted, and waits: {} lives in it", names(&volumes)))
    } else {
        add_finalizer(&api, &pool, POOL_FINALIZER)
            .await
            .map_err(calling::<StoragePool>("add the finalizer to", &key))?;
        verdict(&world, &key.name)
    };
    let generation = pool.metadata.generation;
    let status = StoragePoolStatus { observed_generation: generation, conditions: verdict.conditions(generation) };
    apply_status(&api, &pool, &OWNER, &status).await.map_err(calling::<StoragePool>("write the status of", &key))?;
    Ok(Next::Settled)
}

fn verdict(world: &World, pool: &str) -> Verdict {
    let all = world.hosts.list();
    let with = all
        .iter()
        .filter(|host| host.status.iter().flat_map(|status| &status.pools).any(|on_host| on_host.name == pool));
    let hosts: Vec<String> = with.map(|host| host.name_any()).collect();
    if hosts.is_empty() {
        Verdict::working("WaitingForHost", "no host has reported it yet")
    } else {
        Verdict::ready("Available", format!("it is there on {}", names(&hosts)))
    }
}
