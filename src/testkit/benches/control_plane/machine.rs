//! A machine whose guests are simulated, over networks that are simulated too, or real: as an agent drives it.

use std::future::{Future, pending};
use std::sync::Arc;

use nubium_agent::{Driver, Facts};
use nubium_api::{HostCapacity, HostSoftware, Quantity};
use nubium_host::acceleration::Acceleration;
use nubium_host::libvirt::{Accelerator, QemuIds};
use nubium_host::network::Networks;
use nubium_netd::Dhcp;
use nubium_testkit::domains::SimDomains;
use nubium_testkit::network::SimNetworks;
use nubium_testkit::seeds::SimSeeds;
use nubium_testkit::storage::SimPools;
use uuid::Uuid;

/// Clones are the same machine.
#[derive(Clone)]
pub struct Machine<N, D> {
    facts: Facts,
    pub domains: SimDomains,
    pub networks: N,
    dhcp: D,
    pools: Arc<SimPools>,
    seeds: SimSeeds,
}

/// One on which everything is done at once.
pub type SimMachine = Machine<SimNetworks, SimNetworks>;

impl SimMachine {
    pub fn new(pools: SimPools) -> Self {
        let networks = SimNetworks::new();
        Self::over(networks.clone(), networks, pools)
    }
}

impl<N, D> Machine<N, D> {
    /// With room for two thousand small Servers.
    pub fn over(networks: N, dhcp: D, pools: SimPools) -> Self {
        let simulated = || "simulated".to_owned();
        let facts = Facts {
            capacity: HostCapacity {
                cpu: 2000,
                memory: Quantity::from_bytes(1 << 40),
                cores: None,
                cpu_overcommit: None,
            },
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
            libvirt: "the simulated libvirt".into(),
        };
        Self { facts, domains: SimDomains::new(), networks, dhcp, pools: Arc::new(pools), seeds: SimSeeds::default() }
    }
}

impl<N: Networks + 'static, D: Dhcp + 'static> Driver for Machine<N, D> {
    type Domains = SimDomains;
    type Networks = N;
    type Dhcp = D;
    type Pools = SimPools;
    type Seeds = SimSeeds;

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn domains(&self) -> &SimDomains {
        &self.domains
    }

    fn networks(&self) -> &N {
        &self.networks
    }

    fn dhcp(&self) -> &D {
        &self.dhcp
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
