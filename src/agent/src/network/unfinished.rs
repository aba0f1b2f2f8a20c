//! What a pass could not finish: a later one that does it makes the input true, and mends nothing.

use std::collections::HashMap;
use std::mem::discriminant;

use nubium_runtime::Key;
use parking_lot::Mutex;

use super::plan::{Plan, Step};
use super::refusal::Refusal;
use super::status::Report;

/// What of each Network's input was never done. All of it can be lost.
#[derive(Default)]
pub struct Unfinished(Mutex<HashMap<Key, Plan>>);

impl Unfinished {
    /// Of what a pass has mended, that which had been whole.
    pub fn news(&self, network: &Key, report: &Report) -> Vec<String> {
        let Some(mut left) = report.left.clone() else { return Vec::new() };
        let mut all = self.0.lock();
        let before = all.remove(network).unwrap_or_default();
        // Of a input that was made before, what was not unfinished then is broken now.
        left.steps.retain(|step| !report.was_made || before.waits_for(step));
        if left != Plan::default() {
            all.insert(network.clone(), left);
        }
        let finished: Vec<String> =
            report.done.iter().filter(|step| before.waits_for(step)).filter_map(Step::mends).collect();
        report.mended.iter().filter(|text| !finished.contains(text)).cloned().collect()
    }

    /// The Network is no more.
    pub fn forget(&self, network: &Key) {
        self.0.lock().remove(network);
    }
}

impl Plan {
    /// Whether that is still to be done, or was kept from being done.
    fn waits_for(&self, step: &Step) -> bool {
        self.steps.iter().any(|left| discriminant(left) == discriminant(step))
            || self.refusals.iter().any(|refusal| refusal.keeps_from(step))
    }
}

impl Refusal {
    fn keeps_from(&self, step: &Step) -> bool {
        match self {
            Refusal::HeldByStranger { .. } | Refusal::OlderGeneration { .. } => true,
            Refusal::NoTransit { .. } => matches!(
                step,
                Step::SetHostFirewall { .. }
                    | Step::EnableForwarding
                    | Step::AllowInFirewall { .. }
                    | Step::SetUplink { .. }
                    | Step::AddHostRoute { .. }
            ),
            Refusal::RangeTaken { .. } | Refusal::HostAccessRefused { .. } | Refusal::HostAccessUnknown => {
                matches!(step, Step::AddHostRoute { .. })
            }
            Refusal::InUse { .. } | Refusal::Blocked { .. } | Refusal::NoDns { .. } => false,
        }
    }
}
