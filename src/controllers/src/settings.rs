//! CloudSettings: makes the one object where it is missing, and says that it is in force.
//!
//! When a cloud first has one, it allows `hostAccess` for the ranges that its admin's flags name, and for those of the
//! Networks that have it already: an upgrade takes it from nobody.

use std::sync::Arc;

use ipnet::Ipv4Net;
use kube::{Api, api::PostParams};
use nubium_api::{
    CLOUD_SETTINGS, CloudSettings, CloudSettingsSpec, CloudSettingsStatus, ConditionStatus, DEFAULT_RANGE, Kind as _,
    Network, NetworkSettings, condition,
};
use nubium_runtime::{Key, Loop, Next, Queue, StatusWriter, already_exists, apply_status};

use crate::{
    error::{Error, calling},
    pass,
    verdict::{Verdict, writer},
    world::{Controlled, World},
};

const OWNER: StatusWriter<'_> = writer(&CloudSettings::CONTROLLER);

impl Controlled for CloudSettings {
    async fn run(world: Arc<World>) {
        let queue = Queue::new();
        world.settings.feed_own(&queue);
        queue.add(Key::cluster(CLOUD_SETTINGS));
        let settings = Loop { name: "cloud-settings", workers: 1, resync: None };
        pass::run::<Self, _, _>(world.clone(), settings, queue, move |key| reconcile(world.clone(), key)).await;
    }
}

async fn reconcile(world: Arc<World>, key: Key) -> Result<Next, Error> {
    let api: Api<CloudSettings> = Api::all(world.client.clone());
    let Some(settings) = world.settings.get(&key) else {
        let flags = &world.config;
        let ranges = first_ranges(&flags.host_access_allow, world.networks.list().iter().map(AsRef::as_ref));
        let host_access_ranges = ranges.iter().map(ToString::to_string).collect();
        let mut allocate_from: Vec<String> =
            flags.allocate_from.iter().map(|range| range.trunc().to_string()).collect();
        if allocate_from.is_empty() {
            allocate_from.push(DEFAULT_RANGE.to_owned());
        }
        let networks = NetworkSettings { host_access_ranges, allocate_from: Some(allocate_from) };
        let spec = CloudSettingsSpec { networks };
        return match api.create(&PostParams::default(), &CloudSettings::new(CLOUD_SETTINGS, spec)).await {
            Err(error) if !already_exists(&error) => Err(calling::<CloudSettings>("create", &key)(error)),
            _ => Ok(Next::Settled),
        };
    };
    let generation = settings.metadata.generation;
    let conditions = Verdict::ready("InForce", "it holds for the whole cloud").conditions(generation);
    let status = CloudSettingsStatus { observed_generation: generation, conditions };
    let wrote = apply_status(&api, &settings, &OWNER, &status).await;
    wrote.map_err(calling::<CloudSettings>("write the status of", &key))?;
    Ok(Next::Settled)
}

/// The ranges that the first CloudSettings of a cloud allows.
fn first_ranges<'a>(allow: &[Ipv4Net], networks: impl Iterator<Item = &'a Network>) -> Vec<Ipv4Net> {
    let has_it = |network: &&Network| {
        let status = network.status.as_ref();
        let ready = status.and_then(|status| condition(&status.conditions, "Ready"));
        network.spec.host_access && ready.is_some_and(|ready| ready.status == ConditionStatus::True)
    };
    let existing = networks.filter(has_it).flat_map(|network| &network.spec.subnets);
    let existing = existing.filter_map(|subnet| subnet.cidr.as_ref()?.parse::<Ipv4Net>().ok());
    let default = DEFAULT_RANGE.parse().into_iter();
    let mut ranges: Vec<Ipv4Net> =
        default.chain(allow.iter().copied()).chain(existing).map(|net| net.trunc()).collect();
    ranges.sort();
    ranges.dedup();
    let all = ranges.clone();
    ranges.retain(|range| !all.iter().any(|other| other != range && other.contains(range)));
    ranges
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn network(cidr: &str, host_access: bool, ready: &str) -> Network {
        serde_json::from_value(json!({
            "apiVersion": "nubium.dev/v1alpha1", "kind": "Network", "metadata": {"name": "blue", "namespace": "shop"},
            "spec": {"subnets": [{"name": "v4", "cidr": cidr}], "hostAccess": host_access},
            "status": {"conditions": [{"type": "Ready", "status": ready, "reason": "R", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }))
        .unwrap()
    }

    #[test]
    fn networks_that_have_host_access_keep_it_and_no_other_range_is_added() {
        let networks = [
            network("10.10.0.0/24", true, "True"),
            network("10.77.4.0/24", true, "True"),
            network("10.99.0.0/24", true, "False"),
            network("10.98.0.0/24", false, "True"),
        ];
        let ranges = first_ranges(&["172.20.0.0/16".parse().unwrap()], networks.iter());
        let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
        assert_eq!(ranges, ["10.10.0.0/24", "10.77.0.0/16", "172.20.0.0/16"]);
    }
}
