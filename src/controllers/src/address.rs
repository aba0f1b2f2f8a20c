//! IPAddress: the claim of one address, for a Port.
//!
//! It has no ownerReference: with one, foreground deletion of a Port would free the address while a guest still uses
//! it.

use std::sync::Arc;

use kube::Api;
use nubium_api::{Condition, IPAddress, IPAddressStatus, Port};
use nubium_runtime::{Key, Shared, SharedBuilder};

use crate::{
    claim::{self, Claim},
    world::{Controlled, World, by},
};

impl Controlled for IPAddress {
    fn indexes(watch: SharedBuilder<Self>) -> SharedBuilder<Self> {
        watch
            .index(by::NETWORK, |claim| vec![Key::of(claim).beside(claim.spec.network.clone()).to_string()])
            .index(by::PORT, |claim| vec![Key::of(claim).beside(claim.spec.port.clone()).to_string()])
    }

    async fn run(world: Arc<World>) {
        claim::run::<Self>(world, "ip-address", 8).await;
    }
}

impl Claim for IPAddress {
    type Owner = Port;
    type Status = IPAddressStatus;
    const FINALIZER: &'static str = Self::FINALIZER;
    const GOES_WITH_OWNER: bool = true;

    fn api(world: &World, key: &Key) -> Api<Self> {
        world.api(key)
    }

    fn owner(&self) -> (Key, &str) {
        (Key::of(self).beside(self.spec.port.clone()), &self.spec.port_uid)
    }

    fn of_owner(claims: &Shared<Self>, port: &Port) -> Vec<Arc<Self>> {
        claims.by(by::PORT, &Key::of(port).to_string())
    }

    fn is_surplus(&self, port: &Port) -> bool {
        let given = port.status.as_ref().map_or(&[][..], |status| &status.addresses);
        !given.is_empty() && given.iter().all(|given| given.address != self.spec.address)
    }

    fn status(observed_generation: Option<i64>, conditions: Vec<Condition>) -> IPAddressStatus {
        IPAddressStatus { observed_generation, conditions }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_a_port_that_has_another_address_needs_a_claim_no_longer() {
        let claim: IPAddress = serde_json::from_value(json!({
            "apiVersion": "nubium.dev/v1alpha1", "kind": "IPAddress",
            "metadata": {"name": "10-0-0-5.blue", "namespace": "shop"},
            "spec": {"network": "blue", "address": "10.0.0.5", "port": "web", "portUid": "u"},
        }))
        .unwrap();
        let port = |status: Value| -> Port {
            let json = json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "Port",
                "metadata": {"name": "web", "namespace": "shop", "uid": "u"}, "spec": {"network": "blue"}, "status": status});
            serde_json::from_value(json).unwrap()
        };
        let has = |addresses: &[&str]| {
            let given: Vec<_> = addresses.iter().map(|address| json!({"name": "v4", "address": address})).collect();
            port(json!({"addresses": given}))
        };
        assert!(!claim.is_surplus(&port(json!(null))) && !claim.is_surplus(&has(&[])), "it was given none yet");
        assert!(!claim.is_surplus(&has(&["10.0.0.5"])) && !claim.is_surplus(&has(&["10.0.0.6", "10.0.0.5"])));
        assert!(claim.is_surplus(&has(&["10.0.0.6"])));
        assert_eq!(claim.owner(), (Key::new("shop", "web"), "u"));
    }
}
