//! One call a step, in order, until one fails.

use nubium_host::network::{NetworkError, Networks};
use nubium_netd::{Dhcp, DhcpError};
use tracing::info;

use super::plan::{Plan, Step};

#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error(transparent)]
    Host(#[from] NetworkError),
    #[error(transparent)]
    Dhcp(#[from] DhcpError),
}

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Outcome {
    pub done: Vec<Step>,
    pub failed: Option<(Step, StepError)>,
    /// Not tried, because one before failed.
    pub skipped: Vec<Step>,
}

pub async fn apply(plan: Plan, host: &impl Networks, dhcp: &impl Dhcp) -> Outcome {
    let mut outcome = Outcome::default();
    for step in plan.steps {
        if outcome.failed.is_some() {
            outcome.skipped.push(step);
            continue;
        }
        match take(&step, host, dhcp).await {
            Ok(()) => {
                info!(step = %step, "network changed");
                outcome.done.push(step);
            }
            Err(error) => outcome.failed = Some((step, error)),
        }
    }
    outcome
}

async fn take(step: &Step, host: &impl Networks, dhcp: &impl Dhcp) -> Result<(), StepError> {
    match step {
        Step::CreateNamespace { netns } => host.create_namespace(netns).await?,
        Step::SetSysctls { netns, wrong: _ } => host.set_sysctls(netns).await?,
        Step::ReplaceRules { netns, rules, found: _ } => host.replace_rules(netns, rules).await?,
        Step::SetBridge { netns, bridge, found: _ } => host.set_bridge(netns, bridge).await?,
        Step::SetNeighbours { netns, neighbours } => host.set_neighbours(netns, neighbours).await?,
        Step::SetHostFirewall { rules, found: _ } => host.set_host_firewall(rules).await?,
        Step::EnableForwarding => host.enable_forwarding().await?,
        Step::AllowInFirewall { chain } => host.allow_in_firewall(chain).await?,
        Step::DeleteUplink { name } => host.delete_uplink(name).await?,
        Step::SetUplink { netns, uplink, found: _ } => host.set_uplink(netns, uplink).await?,
        Step::DeleteHostRoute { subnet, uplink } => host.delete_host_route(*subnet, uplink).await?,
        Step::AddHostRoute { netns, subnet, uplink, transits } => {
            host.add_host_route(netns, *subnet, uplink, *transits).await?
        }
        Step::AttachTap { netns, tap, mtu } => host.attach_tap(tap, netns, *mtu).await?,
        Step::DeleteIdleTap { netns, tap } => host.delete_idle_tap(tap, netns).await?,
        Step::StartDhcp => dhcp.start().await?,
        Step::ServeDhcp { network, found: _ } => dhcp.serve(network).await?,
        Step::ForgetDhcp { netns } => dhcp.forget(netns.as_str()).await?,
        Step::DeleteNamespace { netns } => host.delete_namespace(netns).await?,
    }
    Ok(())
}
