//! Servers on this host: makes each Server that is bound here true, and reports what it saw.
//!
//! ```text
//!  Server, Volumes, Ports, Networks, seed ─ desired ─┐
//!                                                    ├─ plan ─ apply ─ observe again ─ status ─▶ conditions, Events
//!  this host ─────────────────────────────── observe ┘
//! ```
//! A pass is asked for by a key and nothing else: watches, libvirt's events and a periodic tick only wake it. What runs
//! is never stopped for want of an object: only a Server that is wished stopped, or one whose UID a live GET showed
//! marked for deletion.

mod apply;
mod desired;
mod machine;
mod observe;
mod pass;
mod plan;
mod power;
mod rendered;
mod setbacks;
mod slots;
mod status;
mod teardown;
#[cfg(test)]
mod tests;
mod untold;
mod words;

use nubium_host::libvirt::Domains;
use nubium_host::seed::Seeds;
use tracing::{debug, info};

pub use apply::{Outcome, StepError};
pub use desired::{Desired, Invalid, Presence, SeenMarked, Settings, WantedDisk, WantedNic, Wish, server_folder};
pub use machine::{Disks, Machine, OpenPools, Taps};
pub use observe::{LookError, Seen, observe};
pub use pass::{Context, run};
pub use plan::{Found, Plan, Refusal, Step, Why};
pub use power::{Due, Move, Power, next};
pub use rendered::Rendered;
pub use setbacks::Setbacks;
pub use slots::Slots;
pub use status::{Blind, CONDITIONS, Report};
pub use teardown::{Stopped, stop_all, undefine_all};
pub use untold::Untold;

/// One pass for one Server. `now` is Unix time in seconds.
pub async fn reconcile<D: Domains, T: Taps, V: Disks, S: Seeds>(
    wish: Wish<'_>,
    host: &Machine<'_, D, T, V, S>,
    now: i64,
) -> Report {
    match Desired::new(wish, host.settings) {
        Ok(want) => make(&want, host, now).await,
        Err(invalid) => Report::blind(wish.server.metadata.generation, &invalid.into()),
    }
}

/// One pass for a wish that is already validated.
pub async fn make<D: Domains, T: Taps, V: Disks, S: Seeds>(
    want: &Desired,
    host: &Machine<'_, D, T, V, S>,
    now: i64,
) -> Report {
    let blind = |error: LookError| Report::blind(Some(want.generation), &error.into());
    let before = match observe(want, host, now).await {
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
    match observe(want, host, now).await {
        Ok(after) => status::status(want, host.settings, outcome, &after),
        Err(error) => blind(error),
    }
}
