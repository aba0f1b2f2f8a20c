//! Server: makes its Ports and Volumes, renders its seed for the host that it is bound to, sums up its state, and at
//! the end takes away what it made.
//!
//! ```text
//!  finalizer ─▶ Ports, Volumes ─▶ (scheduler binds) ─▶ seed Secret ─▶ (agent runs it) ─▶ Ready
//!  deleted ──▶ (agent releases, or it was never bound) ─▶ Volumes by policy, Ports, seed ─▶ finalizer off
//! ```

mod apply;
mod awaited;
mod changed;
mod desired;
mod gather;
mod plan;
mod seed;
mod size;
mod status;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc, time::Duration};

use kube::ResourceExt;
use nubium_api::{Kind as _, Server};
use nubium_runtime::{Key, Loop, Next, Queue, SharedBuilder, StatusDebounce, apply_status};
use parking_lot::Mutex;

use crate::{
    error::{Error, calling},
    pass,
    verdict::{State, writer},
    world::{Controlled, World, by, device_uids, pool_name, port_keys, volume_keys},
};
use awaited::Awaited;

/// What this controller remembers between passes; all of it can be lost.
struct Memory {
    /// The digests of the seeds that were seen, by the Server's UID, so that they are not looked for in every pass.
    seeded: Mutex<HashMap<String, Option<String>>>,
    awaited: Awaited,
    debounce: StatusDebounce,
}

impl Memory {
    /// The Server needs nothing any more.
    fn forget(&self, key: &Key, uid: Option<&String>) {
        if let Some(uid) = uid {
            self.seeded.lock().remove(uid);
        }
        self.awaited.miss(key, &[]);
        self.debounce.settled(key);
    }
}

impl Controlled for Server {
    fn indexes(watch: SharedBuilder<Self>) -> SharedBuilder<Self> {
        watch
            .index(by::HOST, |server| server.status.iter().filter_map(|status| status.host.clone()).collect())
            .index(by::VOLUME, |server| volume_keys(server).iter().map(Key::to_string).collect())
            .index(by::PORT, |server| port_keys(server).iter().map(Key::to_string).collect())
            .index(by::DEVICE, device_uids)
            .index(by::NETWORK, |server| {
                let here = Key::of(server);
                server.spec.nics.iter().filter_map(|nic| Some(here.beside(nic.network.clone()?).to_string())).collect()
            })
            .index(by::IMAGE, |server| {
                let here = Key::of(server);
                server.spec.disks.iter().filter_map(|disk| Some(here.beside(disk.image.clone()?).to_string())).collect()
            })
            .index(by::FLAVOR, |server| server.spec.flavor.iter().cloned().collect())
    }

    async fn run(world: Arc<World>) {
        let queue = Queue::new();
        wake(&world, &queue);
        let awaited = Awaited::new(world.client.clone(), queue.clone());
        let memory = Arc::new(Memory { seeded: Mutex::default(), awaited, debounce: StatusDebounce::default() });
        let settings = Loop { name: "server", workers: 16, resync: Some(Duration::from_secs(60)) };
        pass::run::<Self, _, _>(world.clone(), settings, queue, move |key| {
            reconcile(world.clone(), memory.clone(), key)
        })
        .await;
    }
}

async fn reconcile(world: Arc<World>, memory: Arc<Memory>, key: Key) -> Result<Next, Error> {
    let Some(server) = world.servers.get(&key) else {
        memory.forget(&key, None);
        return Ok(Next::Gone);
    };
    let uid = server.uid().unwrap_or_default();
    let seeded = memory.seeded.lock().get(&uid).cloned().map(gather::Seed::There);
    let mut seen = gather::gather(&world, server, seeded).await?;
    let look = memory.awaited.miss(&key, seen.seed.missing());
    let want = desired::desired(&seen);
    let plan = plan::plan(&want, &seen);
    let done = apply::apply(&world, &seen.server, &plan).await?;
    if let Some(digest) = done.seeded {
        seen.seed = gather::Seed::There(digest);
    }
    if let gather::Seed::There(digest) = &seen.seed {
        memory.seeded.lock().insert(uid.clone(), digest.clone());
    }
    if plan.releases() {
        memory.forget(&key, Some(&uid));
        return Ok(Next::Settled);
    }
    let reported = report(&world, &memory, &key, &seen, &want).await?;
    Ok(match (look, reported) {
        (Some(look), Next::After(report)) => Next::After(look.min(report)),
        (Some(look), _) => Next::After(look),
        (None, reported) => reported,
    })
}

/// Writes the status: at once when the Server is ready or stuck, else when it has been so for a moment.
async fn report(
    world: &World,
    memory: &Memory,
    key: &Key,
    seen: &gather::Gathered,
    want: &desired::Desired,
) -> Result<Next, Error> {
    let verdict = status::verdict(want, seen);
    let status = status::status(&verdict, seen);
    let owner = writer(&Server::CONTROLLER);
    if !nubium_runtime::status_differs(seen.server.as_ref(), &owner, &status) {
        memory.debounce.settled(key);
        return Ok(Next::Settled);
    }
    if verdict.state == State::Working
        && let Some(rest) = memory.debounce.hold(key)
    {
        return Ok(Next::After(rest));
    }
    memory.debounce.settled(key);
    apply_status(&world.api::<Server>(key), &seen.server, &owner, &status)
        .await
        .map_err(calling::<Server>("write the status of", key))?;
    Ok(Next::Settled)
}

/// Everything whose change can matter to a Server.
fn wake(world: &Arc<World>, queue: &Queue<Key>) {
    world.servers.feed_own(queue);
    let of = |world: &Arc<World>, index: &'static str| {
        let world = world.clone();
        move |value: &str| -> Vec<Key> {
            world.servers.by(index, value).iter().map(|server| Key::of(server.as_ref())).collect()
        }
    };
    let users = of(world, by::VOLUME);
    world.volumes.feed(queue, move |volume| users(&Key::of(volume).to_string()));
    let users = of(world, by::PORT);
    world.ports.feed(queue, move |port| users(&Key::of(port).to_string()));
    let users = of(world, by::NETWORK);
    on_presence(world.networks.clone(), queue, move |network| users(&Key::of(network).to_string()));
    let users = of(world, by::IMAGE);
    on_presence(world.images.clone(), queue, move |image| users(&Key::of(image).to_string()));
    let users = of(world, by::FLAVOR);
    on_presence(world.flavors.clone(), queue, move |flavor| users(&flavor.name_any()));
    let (all, pools) = (world.servers.clone(), queue.clone());
    world.pools.on_change(move |old, new| {
        // Pools come and go seldom: no index for them.
        if let (Some(pool), None) | (None, Some(pool)) = (old, new) {
            let name = pool.name_any();
            for server in all.list() {
                if server.spec.disks.iter().any(|disk| pool_name(disk.pool.as_ref()) == name) {
                    pools.add(Key::of(server.as_ref()));
                }
            }
        }
    });
    let (users, hosts) = (of(world, by::HOST), queue.clone());
    world.hosts.on_change(move |old, new| {
        let state = |host: Option<&Arc<nubium_api::Host>>| host.map(|host| gather::host_answers(host));
        if state(old) != state(new) {
            let name = new.or(old).map(|host| host.name_any()).unwrap_or_default();
            users(&name).into_iter().for_each(|key| hosts.add(key));
        }
    });
}

/// Wakes when an object comes, goes, or begins to go; its other changes do not matter here.
fn on_presence<K>(
    kind: nubium_runtime::Shared<K>,
    queue: &Queue<Key>,
    users: impl Fn(&K) -> Vec<Key> + Send + Sync + 'static,
) where
    K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let queue = queue.clone();
    kind.on_change(move |old, new| {
        let state = |object: Option<&Arc<K>>| object.map(|object| object.meta().deletion_timestamp.is_some());
        if state(old) != state(new)
            && let Some(object) = new.or(old)
        {
            users(object).into_iter().for_each(|key| queue.add(key));
        }
    });
}
