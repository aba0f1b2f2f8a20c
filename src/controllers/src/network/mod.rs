//! Network: gives it a number (VNI), an MTU and, where it gives no cidr, a range, says whether the hosts have it as requested, and removes its finalizer when no Port
//! uses it and every host has released it.

mod plan;
mod range;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use kube::ResourceExt;
use nubium_api::{CLOUD_SETTINGS, DEFAULT_MTU, Kind as _, Network, NetworkStatus, NetworkSubnet};
use nubium_runtime::{
    Key, Loop, Next, Queue, StatusWriter, add_finalizer, apply_status, claim_status, has_finalizer, remove_finalizer,
};
use parking_lot::Mutex;

use range::Taking;

use crate::{
    error::{Error, calling},
    pass,
    release::ReleasePhase,
    users::terminating,
    verdict::writer,
    world::{Controlled, World, by},
};

/// Until the cache shows by whom a range was taken.
const AGAIN: Duration = Duration::from_millis(50);
const OWNER: StatusWriter<'_> = writer(&Network::CONTROLLER);

/// The numbers that this process gave out, by UID: the cache may not show them yet.
type Numbers = Mutex<HashMap<String, i32>>;

impl Controlled for Network {
    async fn run(world: Arc<World>) {
        let queue = Queue::new();
        world.networks.feed_own(&queue);
        world.ports.feed(&queue, |port| vec![Key::of(port).beside(port.spec.network.clone())]);
        world.addresses.feed(&queue, |claim| vec![Key::of(claim).beside(claim.spec.network.clone())]);
        let (all, waiting) = (world.networks.clone(), queue.clone());
        world.ranges.on_change(move |old, new| {
            if let Some(claim) = new.or(old) {
                waiting.add(Key::new(claim.spec.namespace.clone(), claim.spec.network.clone()));
            }
            if new.is_none() {
                // One that goes is free for those without any.
                let without = |network: &&Arc<Network>| network.status.as_ref().is_none_or(|it| it.subnets.is_empty());
                all.list().iter().filter(without).for_each(|network| waiting.add(Key::of(network.as_ref())));
            }
        });
        let (all, hosts) = (world.networks.clone(), queue.clone());
        world.hosts.on_change(move |old, new| {
            // A Host that is no more holds nothing.
            if old.is_none() != new.is_none() {
                all.list().iter().for_each(|network| hosts.add(Key::of(network.as_ref())));
            }
        });
        let (all, woken) = (world.networks.clone(), queue.clone());
        world
            .settings
            .on_change(move |_, _| all.list().iter().for_each(|network| woken.add(Key::of(network.as_ref()))));
        let numbers = Arc::new(Numbers::default());
        let settings = Loop { name: "network", workers: 4, resync: Some(Duration::from_secs(60)) };
        pass::run::<Self, _, _>(world.clone(), settings, queue, move |key| {
            reconcile(world.clone(), numbers.clone(), key)
        })
        .await;
    }
}

async fn reconcile(world: Arc<World>, numbers: Arc<Numbers>, key: Key) -> Result<Next, Error> {
    let Some(network) = world.networks.get(&key) else { return Ok(Next::Gone) };
    let api = world.api::<Network>(&key);
    let uid = network.uid().unwrap_or_default();
    let generation = network.metadata.generation;
    let seen = network.status.clone().unwrap_or_default();
    let holding = plan::holding(&seen.hosts, |host| world.host_may_hold(host));
    if terminating(network.as_ref()) {
        if !has_finalizer(network.as_ref(), Network::FINALIZER) {
            return Ok(Next::Settled);
        }
        let ports = world.ports.by(by::NETWORK, &key.to_string());
        let claims = world.addresses.by(by::NETWORK, &key.to_string());
        let users = [plan::users(&ports, &claims), world.unreadable(&key.namespace)].concat();
        let phase = ReleasePhase::of(&seen.conditions, generation, users, holding);
        if phase == ReleasePhase::Free {
            remove_finalizer(&api, &network, Network::FINALIZER)
                .await
                .map_err(calling::<Network>("remove the finalizer from", &key))?;
            numbers.lock().remove(&uid);
            return Ok(Next::Settled);
        }
        let mut conditions = phase.verdict().conditions(generation);
        conditions.push(phase.condition(generation));
        let status = NetworkStatus {
            observed_generation: generation,
            conditions,
            vni: seen.vni,
            mtu: seen.mtu,
            subnets: seen.subnets,
            ..Default::default()
        };
        apply_status(&api, &network, &OWNER, &status).await.map_err(calling::<Network>("write the status of", &key))?;
        return Ok(Next::Settled);
    }
    add_finalizer(&api, &network, Network::FINALIZER)
        .await
        .map_err(calling::<Network>("add the finalizer to", &key))?;
    if !has_finalizer(network.as_ref(), Network::FINALIZER) {
        // The version just changed with the finalizer: the event of that comes next.
        return Ok(Next::Settled);
    }
    let vni = seen.vni.unwrap_or_else(|| number(&world, &numbers, &uid));
    let allocated = network.spec.subnets.first().is_none_or(|subnet| subnet.cidr.is_none());
    let given = seen.subnets.first().map(|subnet| subnet.cidr.clone());
    let mut network = Arc::unwrap_or_clone(network);
    let mut subnets = Vec::new();
    let mut no_range = None;
    if allocated {
        match range::take(&world, &network, given.clone()).await? {
            Taking::Has(cidr) => subnets.push(NetworkSubnet { name: network.subnet().name, cidr }),
            Taking::Again => return Ok(Next::After(AGAIN)),
            Taking::NoRange(verdict) => no_range = Some(verdict),
        }
    } else if let Some(cidr) = network.subnet().cidr {
        subnets.push(NetworkSubnet { name: network.subnet().name, cidr });
    }
    network.status.get_or_insert_default().subnets.clone_from(&subnets);
    let verdict = no_range.unwrap_or_else(|| {
        let ranges = world.settings.get(&Key::cluster(CLOUD_SETTINGS)).map(|found| found.spec.networks.host_access());
        plan::verdict(&network, ranges.as_ref(), &seen.hosts, |host| world.host_may_hold(host))
    });
    let status = NetworkStatus {
        observed_generation: generation,
        conditions: verdict.conditions(generation),
        vni: Some(vni),
        mtu: Some(seen.mtu.unwrap_or(DEFAULT_MTU)),
        subnets,
        ..NetworkStatus::default()
    };
    network.status = Some(seen.clone());
    // The number and the range are decisions: they must not rest on a Network that got others meanwhile.
    let wrote = if seen.vni.is_none() || (allocated && given.is_none()) {
        claim_status(&api, &network, &OWNER, &status).await
    } else {
        apply_status(&api, &network, &OWNER, &status).await
    };
    wrote.map_err(calling::<Network>("write the status of", &key))?;
    if let (true, Some(given)) = (allocated, &given) {
        range::give_back_surplus(&world, &network, given).await?;
    }
    Ok(Next::Settled)
}

/// A number that no Network has, the same for this UID while it is free.
fn number(world: &World, numbers: &Numbers, uid: &str) -> i32 {
    let mut numbers = numbers.lock();
    if let Some(given) = numbers.get(uid) {
        return *given;
    }
    let all = world.networks.list();
    let shown = all.iter().filter_map(|network| network.status.as_ref()?.vni);
    let taken: BTreeSet<i32> = shown.chain(numbers.values().copied()).collect();
    let number = plan::free_number(uid, &taken);
    numbers.insert(uid.to_owned(), number);
    number
}
