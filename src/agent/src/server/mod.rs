//! Servers on this host: makes each Server that is bound here true, and reports what it saw.
//!
//! ```text
//!  Server, Volumes, Ports, Networks, seed ─ desired ─┐
//!                                                    ├─ plan ─ apply ─ observe again ─ status ─▶ conditions, Events
//!  this host ─────────────────────────────── observe ┘
//! ```
//! A pass is asked for by a key and nothing else: watches, libvirt's events and a periodic tick only wake it. What runs
//! is never stopped for want of an object: only a Server whose spec says Stopped, or one whose UID a live GET showed
//! marked for deletion.

mod apply;
mod backoff;
mod desired;
mod display;
mod memory;
mod observe;
mod pass;
mod plan;
mod ports;
mod power;
mod seed_cache;
mod slots;
mod startup_reports;
mod status;
mod teardown;
#[cfg(test)]
mod tests;

use nubium_host::libvirt::Domains;
use nubium_host::seed::Seeds;
use tracing::{debug, info};

use crate::measures;

pub use apply::{Outcome, StepError};
pub use backoff::Backoff;
pub use desired::{Desired, Input, Invalid, Presence, SeenMarked, Settings, WantedDisk, WantedNic, server_folder};
pub use memory::Memory;
pub use observe::{LookError, Seen, observe};
pub(crate) use pass::detach;
pub use pass::{BY_UID, Context, run, watch_servers, watch_volumes};
pub use plan::{Found, Plan, Refusal, Step, Why};
pub use ports::{Disks, HostPools, Machine, Taps};
pub use power::{Due, Move, Power, next};
pub use seed_cache::SeedCache;
pub use slots::Slots;
pub use startup_reports::StartupReports;
pub use status::{Blind, Report};
pub use teardown::{Stopped, stop_all, stop_one, undefine_all};

/// The host's part of a pass for one Server. `now` is in seconds since the machine was booted.
pub async fn converge<D: Domains, T: Taps, V: Disks, S: Seeds>(
    input: Input<'_>,
    host: &Machine<'_, D, T, V, S>,
    now: i64,
) -> Report {
    match Desired::new(input, host.settings) {
        Ok(want) => converge_to(&want, host, now).await,
        Err(invalid) => Report::blind(input.server.metadata.generation, &invalid.into()),
    }
}

/// The same for an input that is already validated: observes, plans, applies and observes again.
pub async fn converge_to<D: Domains, T: Taps, V: Disks, S: Seeds>(
    want: &Desired,
    host: &Machine<'_, D, T, V, S>,
    now: i64,
) -> Report {
    let blind = |error: LookError| Report::blind(Some(want.generation), &error.into());
    let before = match measures::look("agent-server", observe(want, host, now)).await {
        Ok(seen) => seen,
        Err(error) => return blind(error),
    };
    let plan = Plan::new(want, &before, host.settings);
    if plan.steps.is_empty() {
        return status::status(want, host.settings, Outcome::default(), &before);
    }
    debug!(server = want.name, namespace = want.namespace, steps = plan.steps.len(), "server plan");
    let outcome = apply::apply(plan, host).await;
    for step in &outcome.done {
        info!(server = want.name, namespace = want.namespace, step = %step, "done");
    }
    match measures::look("agent-server", observe(want, host, now)).await {
        Ok(after) => status::status(want, host.settings, outcome, &after),
        Err(error) => blind(error),
    }
}
