//! A machine on which everything is done at once: the testkit's simulated hosts, as an agent drives them.

use std::future::{Future, pending};
use std::sync::Arc;

use nubium_agent::{Driver, Facts};
use nubium_api::{HostCapacity, HostSoftware, Quantity};
use nubium_host::acceleration::Acceleration;
use nubium_host::libvirt::{Accelerator, QemuIds};
use nubium_testkit::domains::SimDomains;
use nubium_testkit::network::SimNetworks;
use nubium_testkit::seeds::SimSeeds;
use nubium_testkit::volumes::SimPools;
use uuid::Uuid;

/// Clones are the same machine.
#[derive(Clone)]
pub struct SimMachine {
    facts: Facts,
    pub domains: SimDomains,
    pub networks: SimNetworks,
    pools: Arc<SimPools>,
    seeds: SimSeeds,
}

impl SimMachine {
    /// With room for a thousand small Servers.
    pub fn new(pools: SimPools) -> Self {
        let simulated = || "simulated".to_owned();
        let facts = Facts {
            capacity: HostCapacity { cpu: 1000, memory: Quantity::from_bytes(1 << 40) },
            software: HostSoftware {
                nubium: simulated(),
                libvirt: simulated(),
                qemu: simulated(),
                kernel: simulated(),
            },
            acceleration: Acceleration {
                accelerator: Accelerator::Tcg,
                reason: "AskedFor",
                message: "guests are simulated".to_owned(),
            },
            qemu: QemuIds { uid: 64055, gid: 64055 },
            libvirt: "the simulated libvirt",
        };
        Self {
            facts,
            domains: SimDomains::new(),
            networks: SimNetworks::new(),
            pools: Arc::new(pools),
            seeds: SimSeeds::default(),
        }
    }
}

impl Driver for SimMachine {
    type Domains = SimDomains;
    type Networks = SimNetworks;
    type Dhcp = SimNetworks;
    type Pools = SimPools;
    type Seeds = SimSeeds;

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn domains(&self) -> &SimDomains {
        &self.domains
    }

    fn networks(&self) -> &SimNetworks {
        &self.networks
    }

    fn dhcp(&self) -> &SimNetworks {
        &self.networks
    }

    fn pools(&self) -> &Arc<SimPools> {
        &self.pools
    }

    fn seeds(&self) -> &SimSeeds {
        &self.seeds
    }

    fn domain_event(&self) -> impl Future<Output = Uuid> + Send {
        pending()
    }

    fn dhcp_died(&self) -> impl Future<Output = ()> + Send {
        pending()
    }

    async fn revive(&self) {}
}
