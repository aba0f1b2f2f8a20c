//! Port: gives it a MAC and an address, says where its Server is, and releases it with its addresses once no guest can
//! have it any more.
//!
//! An address is taken by creating the IPAddress of that name: a name that exists is an address that is taken, whoever
//! else gives addresses out. A Port keeps what it got for as long as it exists.

mod gather;
mod mac;
mod plan;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, net::Ipv4Addr, sync::Arc, time::Duration};

use kube::{Resource, ResourceExt, api::PostParams};
use nubium_api::{IPAddress, IPAddressSpec, Kind as _, Port, PortAddress, PortStatus, ip_address_name};
use nubium_runtime::{
    Key, Loop, Next, Note, NoteKind, Queue, SharedBuilder, StatusWriter, add_finalizer, already_exists, apply_status,
    has_finalizer, remove_finalizer,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    error::{Error, calling},
    pass,
    users::terminating,
    verdict::{State, Verdict, writer},
    world::{Controlled, World, by, device_uids, of_uid, port_keys},
};
use gather::Gathered;
use plan::Addressing;

const OWNER: StatusWriter<'_> = writer(&Port::CONTROLLER);
/// For how long an address counts as taken after we tried it, if no IPAddress shows up.
const RESERVED: Duration = Duration::from_secs(30);
/// A cache that contradicts what was just seen live has caught up by then.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Addresses that this process is taking or found taken, and that the cache may not show yet; by Network.
#[derive(Default)]
struct Reserved(Mutex<HashMap<Key, HashMap<Ipv4Addr, Instant>>>);

impl Reserved {
    fn forget(&self, network: &Key, address: &Ipv4Addr) {
        if let Some(addresses) = self.0.lock().get_mut(network) {
            addresses.remove(address);
        }
    }
}

impl Controlled for Port {
    fn indexes(watch: SharedBuilder<Self>) -> SharedBuilder<Self> {
        watch
            .index(by::NETWORK, |port| vec![Key::of(port).beside(port.spec.network.clone()).to_string()])
            .index(by::MADE_FOR, |port| port.spec.made_for.iter().map(|made| made.uid.clone()).collect())
            .index(by::UID, |port| port.metadata.uid.iter().cloned().collect())
            .index(by::UNADDRESSED, |port| {
                let network = || Key::of(port).beside(port.spec.network.clone()).to_string();
                let addressed = port.status.as_ref().is_some_and(|status| !status.addresses.is_empty());
                if addressed { Vec::new() } else { vec![network()] }
            })
    }

    async fn run(world: Arc<World>) {
        let queue = Queue::new();
        let reserved = Arc::new(Reserved::default());
        wake(&world, &queue, &reserved);
        let settings = Loop { name: "port", workers: 16, resync: Some(Duration::from_secs(60)) };
        pass::run::<Self, _, _>(world.clone(), settings, queue, move |key| {
            reconcile(world.clone(), reserved.clone(), key)
        })
        .await;
    }
}

async fn reconcile(world: Arc<World>, reserved: Arc<Reserved>, key: Key) -> Result<Next, Error> {
    let Some(port) = world.ports.get(&key) else { return Ok(Next::Gone) };
    let api = world.api::<Port>(&key);
    if terminating(port.as_ref()) && !has_finalizer(port.as_ref(), Port::FINALIZER) {
        return Ok(Next::Settled);
    }
    let seen = gather::gather(&world, port).await?;
    if terminating(seen.port.as_ref()) {
        return go(&world, &seen).await;
    }
    add_finalizer(&api, &seen.port, Port::FINALIZER).await.map_err(calling::<Port>("add the finalizer to", &key))?;
    let network = key.beside(seen.port.spec.network.clone());
    let addressing = {
        let mut all = reserved.0.lock();
        let addresses = all.entry(network.clone()).or_default();
        addresses.retain(|_, since| since.elapsed() < RESERVED);
        let addressing = plan::addressing(&seen, &addresses.keys().copied().collect());
        if let Addressing::Claim(address) = &addressing {
            addresses.insert(*address, Instant::now());
        }
        addressing
    };
    let address = match &addressing {
        Addressing::Has(address) => Some(*address),
        Addressing::Claim(address) => match claim(&world, &seen, *address).await {
            Ok(()) => Some(*address),
            // Somebody was faster, and the cache will say who. It counts as taken meanwhile: look for another one.
            Err(Error::Call { source, .. }) if already_exists(&source) => {
                return Ok(Next::After(Duration::from_millis(5)));
            }
            Err(error) => {
                reserved.forget(&network, address);
                return Err(error);
            }
        },
        Addressing::Unavailable { .. } => None,
    };
    let verdict = match &addressing {
        Addressing::Unavailable { reason, message } => Verdict::working(*reason, message.clone()),
        Addressing::Has(_) | Addressing::Claim(_) => Verdict::ready("Addressed", "it has its MAC and its address"),
    };
    report(&world, &seen, &verdict, address).await?;
    for claim in plan::surplus(&seen) {
        give_back(&world, claim).await?;
    }
    Ok(Next::Settled)
}

/// A Port that is being deleted: with its user it stays; without, its addresses go, and then it.
async fn go(world: &World, seen: &Gathered) -> Result<Next, Error> {
    let key = Key::of(seen.port.as_ref());
    let unreadable =
        || Some(Verdict::working("InUse", format!("{} may use it", world.unreadable(&key.namespace).first()?)));
    if let Some(verdict) = plan::kept(seen).or_else(unreadable) {
        report(world, seen, &verdict, seen.held_address()).await?;
        // Wait for the event of the cache's own; what only a live look saw, the cache sees soon.
        return Ok(if seen.users.is_empty() { Next::After(LOOK_AGAIN) } else { Next::Settled });
    }
    for claim in seen.claims.iter().filter(|claim| !terminating(claim.as_ref())) {
        give_back(world, claim).await?;
    }
    let gone = remove_finalizer(&world.api::<Port>(&key), &seen.port, Port::FINALIZER).await;
    gone.map_err(calling::<Port>("remove the finalizer from", &key))?;
    Ok(Next::Settled)
}

async fn give_back(world: &World, claim: &IPAddress) -> Result<(), Error> {
    world.delete::<IPAddress>(&Key::of(claim), of_uid(claim.uid())).await
}

async fn claim(world: &World, seen: &Gathered, address: Ipv4Addr) -> Result<(), Error> {
    let network = seen.port.spec.network.clone();
    let spec = IPAddressSpec {
        address: address.to_string(),
        port: seen.port.name_any(),
        port_uid: seen.port.uid().unwrap_or_default(),
        network: network.clone(),
    };
    let mut claim = IPAddress::new(&ip_address_name(address.into(), &network), spec);
    claim.metadata.namespace = seen.port.namespace();
    claim.metadata.finalizers = Some(vec![IPAddress::FINALIZER.to_owned()]);
    let key = Key::of(&claim);
    let api = world.api::<IPAddress>(&key);
    let error = match api.create(&PostParams::default(), &claim).await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    if already_exists(&error) {
        // Ours, from a create whose answer never came?
        let there = api.get_opt(&key.name).await.map_err(calling::<IPAddress>("read", &key))?;
        if there.is_some_and(|there| there.spec == claim.spec && !terminating(&there)) {
            return Ok(());
        }
    }
    Err(calling::<IPAddress>("create", &key)(error))
}

async fn report(world: &World, seen: &Gathered, verdict: &Verdict, address: Option<Ipv4Addr>) -> Result<(), Error> {
    let key = Key::of(seen.port.as_ref());
    let generation = seen.port.metadata.generation;
    let subnet = seen.network.as_ref().map_or_else(|| "v4".to_owned(), |network| network.subnet().name);
    let named = |address: Ipv4Addr| PortAddress { name: subnet.clone(), address: address.to_string() };
    let user = seen.users.first();
    let status = PortStatus {
        observed_generation: generation,
        conditions: verdict.conditions(generation),
        mac_address: Some(mac::mac(&seen.port)),
        addresses: address.into_iter().map(named).collect(),
        server: user.map(|server| server.name_any()),
        host: user.and_then(|server| crate::users::host_of(server)).map(str::to_owned),
    };
    let wrote = apply_status(&world.api::<Port>(&key), &seen.port, &OWNER, &status).await;
    if wrote.map_err(calling::<Port>("write the status of", &key))? && verdict.state == State::Working {
        world.recorder.note(Note {
            regarding: seen.port.object_ref(&()),
            kind: NoteKind::Warning,
            reason: verdict.reason.clone(),
            action: "Address".into(),
            text: verdict.message.clone(),
        });
    }
    Ok(())
}

/// Everything whose change can matter to a Port.
fn wake(world: &Arc<World>, queue: &Queue<Key>, reserved: &Arc<Reserved>) {
    world.ports.feed_own(queue);
    let ports = world.ports.clone();
    world.servers.feed(queue, move |server| {
        let having = device_uids(server);
        let having = having.iter().flat_map(|uid| ports.by(by::UID, uid)).map(|port| Key::of(port.as_ref()));
        port_keys(server).into_iter().chain(having).collect()
    });
    let ports = world.ports.clone();
    world.networks.feed(queue, move |network| {
        ports.by(by::NETWORK, &Key::of(network).to_string()).iter().map(|port| Key::of(port.as_ref())).collect()
    });
    let (ports, queue, reserved) = (world.ports.clone(), queue.clone(), reserved.clone());
    world.addresses.on_change(move |old, new| {
        let Some(claim) = new.or(old) else { return };
        let network = Key::of(claim.as_ref()).beside(claim.spec.network.clone());
        if let (Some(_), Ok(address)) = (new, claim.spec.address.parse()) {
            // The cache shows it now: that is enough to know it is taken.
            reserved.forget(&network, &address);
        }
        if old.is_none() == new.is_none() {
            return;
        }
        if new.is_some() {
            // Its own Port may have another one already.
            queue.add(network.beside(claim.spec.port.clone()));
        }
        // One that comes is reported by those who request it; one that goes is free for those without any.
        for port in ports.by(by::UNADDRESSED, &network.to_string()) {
            if new.is_none() || port.spec.requested_addresses().contains(&claim.spec.address) {
                queue.add(Key::of(port.as_ref()));
            }
        }
    });
}
