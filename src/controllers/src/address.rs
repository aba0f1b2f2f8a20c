//! IPAddress: the claim of one address. It is let go only when its Port, looked for live and by UID, is no more.
//!
//! One that a Port holds beyond the address that it was told goes when it is deleted.
//!
//! It has no ownerReference: with one, foreground deletion of a Port would free the address while a guest still uses
//! it.

use std::{sync::Arc, time::Duration};

use kube::ResourceExt;
use nubium_api::{
    IPAddress, IPAddressStatus, Port,
    contract::{self, IP_ADDRESS_FINALIZER},
};
use nubium_runtime::{
    Key, Live, Loop, Next, Queue, StatusWriter, apply_status, has_finalizer, live_get, remove_finalizer,
};

use crate::{
    claims::terminating,
    error::{Error, calling},
    pass,
    verdict::{Verdict, writer},
    world::{World, by, of_uid},
};

const OWNER: StatusWriter<'_> = writer(&contract::ADDRESS);

/// Runs passes for IPAddresses for ever.
pub(crate) async fn run(world: Arc<World>) {
    let queue = Queue::new();
    world.addresses.feed_own(&queue);
    let (claims, ports) = (world.addresses.clone(), queue.clone());
    world.ports.on_change(move |old, new| {
        // A Port's coming and going, not its daily life.
        if old.is_none() != new.is_none()
            && let Some(port) = new.or(old)
        {
            let held = claims.by(by::PORT, &Key::of(port.as_ref()).to_string());
            held.iter().for_each(|claim| ports.add(Key::of(claim.as_ref())));
        }
    });
    let settings = Loop { name: "ip-address", workers: 8, resync: Some(Duration::from_secs(60)) };
    let (all, kind) = (world.clone(), world.addresses.clone());
    pass::run(all, kind, &contract::ADDRESS, settings, queue, move |key| reconcile(world.clone(), key)).await;
}

async fn reconcile(world: Arc<World>, key: Key) -> Result<Next, Error> {
    let Some(claim) = world.addresses.get(&key) else { return Ok(Next::Gone) };
    if !has_finalizer(claim.as_ref(), IP_ADDRESS_FINALIZER) {
        return Ok(Next::Settled);
    }
    let api = world.api::<IPAddress>(&key);
    let port = key.beside(claim.spec.port.clone());
    let cached = world.ports.get(&port).filter(|port| port.uid().as_deref() == Some(&claim.spec.port_uid));
    let going = terminating(claim.as_ref());
    if cached.as_ref().is_none_or(|port| going && has_another(port, &claim)) {
        let ports = world.api::<Port>(&port);
        let live = live_get(&ports, &port.name, &claim.spec.port_uid).await.map_err(calling::<Port>("get", &port))?;
        let free = match &live {
            Live::Gone(_) => true,
            Live::Wanted(port) => going && has_another(port, &claim),
            Live::Marked(_) => false,
        };
        if free && going {
            let gone = remove_finalizer(&api, &claim, IP_ADDRESS_FINALIZER).await;
            gone.map_err(calling::<IPAddress>("remove the finalizer from", &key))?;
        } else if free {
            // Its Port went without it: a pass was cut off between the two.
            world.delete::<IPAddress>(&key, of_uid(claim.uid())).await?;
        }
        if free {
            return Ok(Next::Settled);
        }
    }
    let verdict = match (going, &cached) {
        (false, _) => Verdict::ready("Held", format!("Port {} has it", port.name)),
        // It goes with its Port, in a moment: nothing that somebody would read.
        (true, Some(port)) if terminating(port.as_ref()) => return Ok(Next::Settled),
        (true, _) => Verdict::working("InUse", format!("it is to be deleted, and waits: Port {} has it", port.name)),
    };
    let generation = claim.metadata.generation;
    let status = IPAddressStatus { observed_generation: generation, conditions: verdict.conditions(generation) };
    apply_status(&api, &claim, &OWNER, &status).await.map_err(calling::<IPAddress>("write the status of", &key))?;
    Ok(Next::Settled)
}

/// Whether the Port was told an address, and it is not this one: it was claimed twice.
fn has_another(port: &Port, claim: &IPAddress) -> bool {
    let told = port.status.as_ref().map_or(&[][..], |status| &status.addresses);
    !told.is_empty() && told.iter().all(|told| told.address != claim.spec.address)
}
