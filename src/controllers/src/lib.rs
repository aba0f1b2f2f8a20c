//! The desired state of the whole cloud, made true: one module per kind, each a loop over keys that reads caches and writes
//! through the Kubernetes API. Nothing here touches a machine; the agents do, and the two meet only through the API.
//!
//! ```text
//!  user ─▶ Server ─▶ server: Ports, Volumes, seed Secret ─▶ network: MAC, IPAddress ─▶ Port
//!             │          scheduler: status.host (compare-and-swap) ─▶ volume, port: status.host
//!             └────────── Ready ◀── server: a summary of what the host's agent saw
//! ```
//!
//! Every module has the same files where it needs them: `gather` (read), `desired` and `plan` (pure), `apply` (one
//! call a step), `status` (pure), and `mod.rs` with the pass itself.

mod address;
mod address_range;
mod addressed;
mod claim;
mod error;
mod flavor;
mod heartbeat;
mod host;
mod image;
mod network;
mod pass;
mod pool;
mod port;
mod release;
pub mod scheduler;
mod server;
mod settings;
mod users;
mod verdict;
mod volume;
mod world;

use ipnet::Ipv4Net;
use kube::Client;
use nubium_runtime::Recorder;

use world::World;

/// The configuration of the controllers.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Who writes the Events: this process's name, such as the machine's.
    pub instance: String,
    /// Ranges that the first CloudSettings of the cloud allow `hostAccess` for, beside the default one.
    pub host_access_allow: Vec<Ipv4Net>,
    /// Ranges of which the first CloudSettings of the cloud let Networks take theirs; empty for the default one.
    pub allocate_from: Vec<Ipv4Net>,
}

/// Runs all controllers for ever; dropping the future stops them. No error ends them: what fails is tried again.
///
/// Waits until every kind has been listed once before any decision is made.
pub async fn run(client: Client, config: Config) {
    let recorder = Recorder::start(client.clone(), "nubium.dev/controllers", &config.instance);
    let world = World::watch(client, recorder, config).await;
    tokio::join!(scheduler::run(world.clone()), world.run());
}
