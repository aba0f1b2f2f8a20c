//! StoragePool: Ready where a host has it; stays while Volumes live in it.

use std::{sync::Arc, time::Duration};

use kube::{Api, ResourceExt};
use nubium_api::{Host, Kind as _, StoragePool, StoragePoolStatus, UnavailablePool};
use nubium_runtime::{
    Key, Loop, Next, Queue, StatusWriter, add_finalizer, apply_status, has_finalizer, remove_finalizer,
};

use crate::{
    error::{Error, calling},
    pass,
    users::terminating,
    verdict::{Verdict, names, writer},
    world::{Controlled, World, by, pool_name},
};

const OWNER: StatusWriter<'_> = writer(&StoragePool::CONTROLLER);

impl Controlled for StoragePool {
    async fn run(world: Arc<World>) {
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
            let there = host.status.iter().flat_map(|status| status.pools.iter().map(|pool| &pool.name));
            let not = host.status.iter().flat_map(|status| status.unavailable_pools.iter().map(|pool| &pool.name));
            there.chain(not).map(Key::cluster).collect()
        });
        let settings = Loop { name: "storage-pool", workers: 2, resync: Some(Duration::from_secs(60)) };
        pass::run::<Self, _, _>(world.clone(), settings, queue, move |key| reconcile(world.clone(), key)).await;
    }
}

async fn reconcile(world: Arc<World>, key: Key) -> Result<Next, Error> {
    let Some(pool) = world.pools.get(&key) else { return Ok(Next::Gone) };
    let api: Api<StoragePool> = Api::all(world.client.clone());
    let verdict = if terminating(pool.as_ref()) {
        if !has_finalizer(pool.as_ref(), StoragePool::FINALIZER) {
            return Ok(Next::Settled);
        }
        let volumes = world.volumes.by(by::POOL, &key.name);
        if volumes.is_empty() {
            remove_finalizer(&api, &pool, StoragePool::FINALIZER)
                .await
                .map_err(calling::<StoragePool>("remove the finalizer from", &key))?;
            return Ok(Next::Settled);
        }
        let volumes: Vec<String> =
            volumes.iter().map(|volume| format!("Volume {}", Key::of(volume.as_ref()))).collect();
        Verdict::working("InUse", format!("it is to be deleted, and waits: {} lives in it", names(&volumes)))
    } else {
        add_finalizer(&api, &pool, StoragePool::FINALIZER)
            .await
            .map_err(calling::<StoragePool>("add the finalizer to", &key))?;
        verdict(&world.hosts.list(), &key.name)
    };
    let generation = pool.metadata.generation;
    let status = StoragePoolStatus { observed_generation: generation, conditions: verdict.conditions(generation) };
    apply_status(&api, &pool, &OWNER, &status).await.map_err(calling::<StoragePool>("write the status of", &key))?;
    Ok(Next::Settled)
}

/// Ready where a host has it; on which hosts it cannot be used, and why, is said either way.
fn verdict(hosts: &[Arc<Host>], pool: &str) -> Verdict {
    let (mut with, mut without): (Vec<String>, Vec<(String, &UnavailablePool)>) = (Vec::new(), Vec::new());
    for host in hosts {
        let Some(status) = &host.status else { continue };
        if status.pools.iter().any(|on_host| on_host.name == pool) {
            with.push(host.name_any());
        }
        let unavailable = status.unavailable_pools.iter().find(|on_host| on_host.name == pool);
        without.extend(unavailable.map(|why| (host.name_any(), why)));
    }
    let why: Vec<String> = without.iter().map(|(host, why)| format!("host {host}: {}", why.message)).collect();
    match (with.is_empty(), without.first()) {
        (false, None) => Verdict::ready("Available", format!("it is there on {}", names(&with))),
        (false, Some(_)) => {
            Verdict::ready("Available", format!("it is there on {}; not on {}", names(&with), names(&why)))
        }
        (true, None) => Verdict::working("WaitingForHost", "no host has reported it yet"),
        (true, Some((_, first))) => Verdict::working(first.reason.clone(), names(&why)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::verdict::State;

    fn host(name: &str, status: Value) -> Arc<Host> {
        let json = json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "Host", "metadata": {"name": name},
            "spec": {}, "status": status});
        Arc::new(serde_json::from_value(json).unwrap())
    }

    #[test]
    fn a_pool_that_a_host_cannot_open_says_so_and_where_it_is_all_the_same() {
        let there = host("a", json!({"pools": [{"name": "fast", "capacity": "1Gi", "free": "1Gi"}]}));
        let not = host(
            "b",
            json!({"unavailablePools": [{"name": "fast", "reason": "PoolNotMounted", "message": "mount its file system"}]}),
        );
        let silent = host("c", json!({}));
        let reported = |hosts: &[&Arc<Host>]| {
            let hosts: Vec<Arc<Host>> = hosts.iter().map(|host| Arc::clone(host)).collect();
            let Verdict { state, reason, message, .. } = verdict(&hosts, "fast");
            (state, reason, message)
        };
        assert_eq!(reported(&[&silent]).1, "WaitingForHost");
        let (state, reason, message) = reported(&[&not, &silent]);
        assert_eq!(
            (state, reason.as_str(), message.as_str()),
            (State::Working, "PoolNotMounted", "host b: mount its file system")
        );
        let (state, reason, message) = reported(&[&there, &not]);
        assert_eq!((state, reason.as_str()), (State::Ready, "Available"));
        assert!(message.contains("host b: mount its file system"), "{message}");
        assert_eq!(verdict(&[not], "other").reason, "WaitingForHost");
    }
}
