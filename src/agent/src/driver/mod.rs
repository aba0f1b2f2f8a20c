//! The machine as an agent drives it: one trait for the real one here and the simulated one of `testkit`, so that the very
//! same loops run over both.

mod linux;

use std::future::Future;
use std::sync::Arc;

use nubium_api::{HostCapacity, HostSoftware};
use nubium_host::acceleration::Acceleration;
use nubium_host::libvirt::{Domains, QemuIds};
use nubium_host::network::Networks;
use nubium_host::seed::Seeds;
use nubium_host::storage::Pools;
use nubium_netd::Dhcp;
use uuid::Uuid;

pub(crate) use linux::{Linux, private_libvirt};

/// What a machine is; it does not change while an agent runs.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What Servers can use.
    pub capacity: HostCapacity,
    /// The versions of what guests run on.
    pub software: HostSoftware,
    /// How guests are run, and why so.
    pub acceleration: Acceleration,
    /// Whom QEMU runs as.
    pub qemu: QemuIds,
    /// The libvirt that its guests are in, as the subject of a sentence.
    pub libvirt: String,
}

/// Everything that an agent's loops ask of a machine.
pub trait Driver: Send + Sync + 'static {
    type Domains: Domains;
    type Networks: Networks;
    type Dhcp: Dhcp;
    type Pools: Pools;
    type Seeds: Seeds;

    fn facts(&self) -> &Facts;
    fn domains(&self) -> &Self::Domains;
    fn networks(&self) -> &Self::Networks;
    fn dhcp(&self) -> &Self::Dhcp;
    fn pools(&self) -> &Arc<Self::Pools>;
    fn seeds(&self) -> &Self::Seeds;

    /// The UUID of the next domain that something happens to. For one caller.
    fn domain_event(&self) -> impl Future<Output = Uuid> + Send;
    /// Returns when what answers DHCP has ended. All Networks want a look then.
    fn dhcp_died(&self) -> impl Future<Output = ()> + Send;
    /// Starts again what the domains live in, where that is ours to keep running and it died. Guests went on without it.
    fn revive(&self) -> impl Future<Output = ()> + Send;
}
