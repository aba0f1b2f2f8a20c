//! The words by which controllers and agents meet: finalizers, field managers, conditions, the seed's name.
//!
//! | condition | written by | on | means |
//! |---|---|---|---|
//! | `Ready`, `Reconciling`, `Stalled` | the kind's controller | every kind | the summary people and tools wait for |
//! | `InUse` | the kind's controller | Volume, Image, Network, while being deleted | False at this generation is the leave for agents to destroy; it never turns back |
//! | `Scheduled` | the scheduler | Server | a host was found, or why none fits |
//! | `VolumesReady`, `NetworkReady`, `Running`, `RestartRequired` | the agent | Server | what was seen on the host |
//! | `Released` | the agent | Server, Volume | a fresh look showed nothing left, at this generation |
//! | `Provisioned` | the agent | Volume | the device exists as wished |
//! | `AgentReady`, `ServersReported` | the agent | Host | it works; it has said all that it runs, of what it saw since it began |
//! | `HardwareAcceleration`, `EgressReady`, `Strangers` | the agent | Host | for people: guests run by the processor; no other firewall keeps Networks from the outside; what is here without an object |
//!
//! The agent's Lease in `nubium-hosts` is its heartbeat: it vouches for what is said of the Servers there. Without a holder it
//! says that the host was started anew, and that what was said of it before counts for nothing.

/// Held on a Server until its host has released it and what it made is on its way out.
pub const SERVER_FINALIZER: &str = "nubium.dev/server";
/// Held on a Port while its Server exists and is not released.
pub const PORT_FINALIZER: &str = "nubium.dev/port";
/// Held on an IPAddress until its Port, looked for by UID, is no more.
pub const IP_ADDRESS_FINALIZER: &str = "nubium.dev/ip-address";
/// Held on a Network while Ports use it and until every host has released it.
pub const NETWORK_FINALIZER: &str = "nubium.dev/network";
/// Held on a Volume while a Server uses it and until its host has released it.
pub const VOLUME_FINALIZER: &str = "nubium.dev/volume";
/// Held on an Image while Volumes depend on it and until every host has released it.
pub const IMAGE_FINALIZER: &str = "nubium.dev/image";
/// Held on a StoragePool while Volumes live in it.
pub const POOL_FINALIZER: &str = "nubium.dev/storage-pool";

/// The condition that says, of an object being deleted, whether something still uses it.
pub const IN_USE: &str = "InUse";

/// The field managers, one per writer.
pub(crate) mod manager {
    pub const SERVER: &str = "nubium-server";
    pub const SCHEDULER: &str = "nubium-scheduler";
    pub const NETWORK: &str = "nubium-network";
    pub const PORT: &str = "nubium-port";
    pub const ADDRESS: &str = "nubium-ip-address";
    pub const VOLUME: &str = "nubium-volume";
    pub const IMAGE: &str = "nubium-image";
    pub const POOL: &str = "nubium-storage-pool";
    pub const FLAVOR: &str = "nubium-flavor";
    pub const HOST: &str = "nubium-host";
}

/// The type of the Secrets that carry seeds.
pub const SEED_TYPE: &str = "nubium.dev/seed";

/// The name of the Secret, in the host's namespace, with a Server's NoCloud seed: by UID, so that the seed of a later
/// Server of the same name is another one. Its keys are `meta-data`, `user-data` and, where needed, `network-config`.
pub fn seed_name(server_uid: &str) -> String {
    format!("seed-{server_uid}")
}
