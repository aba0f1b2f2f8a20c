//! One match, one idempotent call a step; no decisions.

use nubium_host::libvirt::{Domains, LibvirtError};
use nubium_host::network::NetworkError;
use nubium_host::seed::{SeedError, Seeds};

use super::plan::{Plan, Step};
use super::ports::{Disks, Machine, Taps};

/// What came of a plan.
#[derive(Debug, Default)]
pub struct Outcome {
    pub done: Vec<Step>,
    pub failed: Option<(Step, StepError)>,
    pub skipped: Vec<Step>,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error(transparent)]
    Domain(#[from] LibvirtError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Seed(#[from] SeedError),
}

/// Takes the steps in order, and stops at the first failure.
pub async fn apply<D: Domains, T: Taps, V: Disks, S: Seeds>(plan: Plan, host: &Machine<'_, D, T, V, S>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut steps = plan.steps.into_iter();
    for step in steps.by_ref() {
        match take(&step, host).await {
            Ok(()) => outcome.done.push(step),
            Err(error) => {
                outcome.failed = Some((step, error));
                break;
            }
        }
    }
    outcome.skipped = steps.collect();
    outcome
}

async fn take<D: Domains, T: Taps, V: Disks, S: Seeds>(
    step: &Step,
    host: &Machine<'_, D, T, V, S>,
) -> Result<(), StepError> {
    match step {
        Step::PutSeed { path, seed, owner } => host.seeds.put(path, seed, *owner).await?,
        Step::Define { name: _, xml } | Step::DefineAgain { name: _, xml } => host.domains.define(xml.clone()).await?,
        Step::CreateTap { tap } => host.taps.create(tap).await?,
        Step::DeleteTap { name, netns } => host.taps.delete(name, netns).await?,
        Step::StartPaused { uid, found: _ } => host.domains.start_paused(*uid).await?,
        Step::MoveTap { name, netns, mtu, must } => match host.taps.move_in(name, netns, *mtu).await {
            Err(NetworkError::NoLink { .. }) if !must => {}
            moved => moved?,
        },
        Step::Resume { uid } => host.domains.resume(*uid).await?,
        Step::Press { uid } => host.domains.shutdown(*uid).await?,
        Step::Kill { uid, why: _ } => host.domains.destroy(*uid).await?,
        Step::Remember { owner } => host.domains.set_owner(owner.clone()).await?,
        Step::RemoveFolder { path } => host.seeds.remove_folder(path).await?,
        Step::Undefine { uid } => host.domains.undefine(*uid).await?,
    }
    Ok(())
}
