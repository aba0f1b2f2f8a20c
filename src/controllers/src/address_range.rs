//! AddressRange: the claim of one range, for a Network that gives no cidr.

use std::sync::Arc;

use kube::{Api, ResourceExt};
use nubium_api::{AddressRange, AddressRangeStatus, Condition, Network};
use nubium_runtime::{Key, Shared, SharedBuilder};

use crate::{
    claim::{self, Claim},
    world::{Controlled, World, by},
};

impl Controlled for AddressRange {
    fn indexes(watch: SharedBuilder<Self>) -> SharedBuilder<Self> {
        watch.index(by::NETWORK_UID, |claim| vec![claim.spec.network_uid.clone()])
    }

    async fn run(world: Arc<World>) {
        claim::run::<Self>(world, "address-range", 2).await;
    }
}

impl Claim for AddressRange {
    type Owner = Network;
    type Status = AddressRangeStatus;
    const FINALIZER: &'static str = Self::FINALIZER;
    const GOES_WITH_OWNER: bool = false;

    fn api(world: &World, _: &Key) -> Api<Self> {
        Api::all(world.client.clone())
    }

    fn owner(&self) -> (Key, &str) {
        (Key::new(self.spec.namespace.clone(), self.spec.network.clone()), &self.spec.network_uid)
    }

    fn of_owner(claims: &Shared<Self>, network: &Network) -> Vec<Arc<Self>> {
        claims.by(by::NETWORK_UID, &network.uid().unwrap_or_default())
    }

    fn is_surplus(&self, network: &Network) -> bool {
        let given = network.status.as_ref().map_or(&[][..], |status| &status.subnets);
        !given.is_empty() && given.iter().all(|given| given.cidr != self.spec.cidr)
    }

    fn status(observed_generation: Option<i64>, conditions: Vec<Condition>) -> AddressRangeStatus {
        AddressRangeStatus { observed_generation, conditions }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_a_network_that_has_another_range_needs_a_claim_no_longer() {
        let claim: AddressRange = serde_json::from_value(json!({
            "apiVersion": "nubium.dev/v1alpha1", "kind": "AddressRange", "metadata": {"name": "10-77-3-0-24"},
            "spec": {"cidr": "10.77.3.0/24", "namespace": "shop", "network": "blue", "networkUid": "u"},
        }))
        .unwrap();
        let network = |status: Value| -> Network {
            let json = json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "Network",
                "metadata": {"name": "blue", "namespace": "shop", "uid": "u"}, "spec": {}, "status": status});
            serde_json::from_value(json).unwrap()
        };
        let has = |range: &str| network(json!({"subnets": [{"name": "v4", "cidr": range}]}));
        assert!(!claim.is_surplus(&network(json!(null))) && !claim.is_surplus(&network(json!({"subnets": []}))));
        assert!(!claim.is_surplus(&has("10.77.3.0/24")));
        assert!(claim.is_surplus(&has("10.77.4.0/24")));
        assert_eq!(claim.owner(), (Key::new("shop", "blue"), "u"));
    }
}
