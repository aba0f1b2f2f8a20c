//! AddressRange: the claim of one range. It is let go only when its Network, looked for live and by UID, is no more.
//!
//! One that a Network holds beyond the range that it was told goes when it is deleted.

use std::{sync::Arc, time::Duration};

use kube::{Api, ResourceExt};
use nubium_api::{
    AddressRange, AddressRangeStatus, Network,
    contract::{self, ADDRESS_RANGE_FINALIZER},
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

const OWNER: StatusWriter<'_> = writer(&contract::ADDRESS_RANGE);

/// Runs passes for AddressRanges for ever.
pub(crate) async fn run(world: Arc<World>) {
    let queue = Queue::new();
    world.ranges.feed_own(&queue);
    let (claims, woken) = (world.ranges.clone(), queue.clone());
    world.networks.on_change(move |old, new| {
        if old.is_none() != new.is_none()
            && let Some(network) = new.or(old)
        {
            let held = claims.by(by::NETWORK_UID, &network.uid().unwrap_or_default());
            held.iter().for_each(|claim| woken.add(Key::of(claim.as_ref())));
        }
    });
    let settings = Loop { name: "address-range", workers: 2, resync: Some(Duration::from_secs(60)) };
    let (all, kind) = (world.clone(), world.ranges.clone());
    pass::run(all, kind, &contract::ADDRESS_RANGE, settings, queue, move |key| reconcile(world.clone(), key)).await;
}

async fn reconcile(world: Arc<World>, key: Key) -> Result<Next, Error> {
    let Some(claim) = world.ranges.get(&key) else { return Ok(Next::Gone) };
    if !has_finalizer(claim.as_ref(), ADDRESS_RANGE_FINALIZER) {
        return Ok(Next::Settled);
    }
    let api: Api<AddressRange> = Api::all(world.client.clone());
    let network = Key::new(claim.spec.namespace.clone(), claim.spec.network.clone());
    let of_claim = |network: &Arc<Network>| network.uid().as_deref() == Some(&claim.spec.network_uid);
    let cached = world.networks.get(&network).filter(of_claim);
    let going = terminating(claim.as_ref());
    if cached.as_ref().is_none_or(|network| going && has_another(network, &claim)) {
        let networks = world.api::<Network>(&network);
        let live = live_get(&networks, &network.name, &claim.spec.network_uid).await;
        let free = match live.map_err(calling::<Network>("get", &network))? {
            Live::Gone(_) => true,
            Live::Wanted(network) => going && has_another(&network, &claim),
            Live::Marked(_) => false,
        };
        if free && going {
            let gone = remove_finalizer(&api, &claim, ADDRESS_RANGE_FINALIZER).await;
            gone.map_err(calling::<AddressRange>("remove the finalizer from", &key))?;
        } else if free {
            world.delete_cluster_wide::<AddressRange>(&key, of_uid(claim.uid())).await?;
        }
        if free {
            return Ok(Next::Settled);
        }
    }
    let verdict = if going {
        Verdict::working("InUse", format!("it is to be deleted, and waits: Network {network} has it"))
    } else {
        Verdict::ready("Held", format!("Network {network} has it"))
    };
    let generation = claim.metadata.generation;
    let status = AddressRangeStatus { observed_generation: generation, conditions: verdict.conditions(generation) };
    apply_status(&api, &claim, &OWNER, &status).await.map_err(calling::<AddressRange>("write the status of", &key))?;
    Ok(Next::Settled)
}

/// Whether the Network was told a range, and it is not this one: it was claimed twice.
fn has_another(network: &Network, claim: &AddressRange) -> bool {
    let told = network.status.as_ref().map_or(&[][..], |status| &status.subnets);
    !told.is_empty() && told.iter().all(|told| told.cidr != claim.spec.cidr)
}
