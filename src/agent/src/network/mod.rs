//! Networks on this host: makes each Network that has Ports here true, and reports what it saw.
//!
//! ```text
//!  Network + Ports ─ desired ─┐
//!                             ├─ plan ─ apply ─ observe again ─ status ─▶ status.hosts[], Ports, Events
//!  this host ─────── observe ─┘
//! ```
//! A pass is asked for by a key and nothing else: watches, a dead netd and a periodic tick only wake it.

mod apply;
mod desired;
mod display;
mod egress;
mod netd;
mod observe;
mod pass;
mod plan;
mod readiness;
mod refusal;
mod status;
mod teardown;
#[cfg(test)]
mod tests;
mod unfinished;

use nubium_api::{HostAccessRanges, Network, Port};
use nubium_host::network::Networks;
use tracing::debug;

use crate::measures;

pub use apply::{Outcome, StepError};
pub use desired::{Desired, DnsServers, HostAccess, Invalid, Settings, WantedGuest};
pub use egress::{Egress, egress};
pub use netd::Netd;
pub use nubium_netd::{Dhcp, DhcpError, DhcpSeen};
pub use observe::{LookError, Seen, observe};
pub use pass::{BY_NETWORK, Context, network_of, run};
pub use plan::{Found, Plan, Step};
pub use readiness::Readiness;
pub use refusal::Refusal;
pub use status::{Blind, Report};
pub use teardown::{TeardownError, teardown};
pub use unfinished::Unfinished;

/// What a pass is about. `present` is false only after a live GET of the Network's very UID showed it marked for
/// deletion; `ports` are those that name it and whose Server is bound to this host.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    pub network: &'a Network,
    pub ports: &'a [Port],
    pub present: bool,
    /// The ranges in which `hostAccess` is allowed; `None` while that is not known.
    pub host_access: Option<&'a HostAccessRanges>,
}

/// The host's part of a pass for one Network.
pub async fn converge(input: Input<'_>, settings: &Settings, host: &impl Networks, dhcp: &impl Dhcp) -> Report {
    let generation = input.network.metadata.generation;
    let want = match Desired::new(&input, settings) {
        Ok(want) => want,
        Err(invalid) => return Report::blind(&settings.host, generation, &invalid.into()),
    };
    converge_to(&want, settings, host, dhcp).await
}

/// The same for an input that is already validated: observes, plans, applies and observes again.
pub async fn converge_to(want: &Desired, settings: &Settings, host: &impl Networks, dhcp: &impl Dhcp) -> Report {
    let blind = |error: LookError| Report::blind(&settings.host, Some(want.owner.generation), &error.into());
    let before = match measures::look("agent-network", observe(want, host, dhcp)).await {
        Ok(seen) => seen,
        Err(error) => return blind(error),
    };
    let plan = Plan::new(want, &before);
    if plan.steps.is_empty() {
        return status::status(&settings.host, want, &before, Outcome::default(), &before);
    }
    debug!(netns = %want.netns, steps = plan.steps.len(), "network plan");
    let outcome = apply::apply(plan, host, dhcp).await;
    match measures::look("agent-network", observe(want, host, dhcp)).await {
        Ok(after) => status::status(&settings.host, want, &before, outcome, &after),
        Err(error) => blind(error),
    }
}
