//! Steps and refusals in words: for the log, for a dry run, for Events and conditions.

use std::fmt;

use nubium_api::CLOUD_SETTINGS;

use super::plan::{Found, Step};
use super::refusal::Refusal;

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Found::Missing => "missing",
            Found::Damaged => "changed by somebody",
            Found::Outdated => "outdated",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::CreateNamespace { netns } => write!(f, "make the network namespace {netns}"),
            Step::SetSysctls { netns, wrong } => write!(f, "set {} in {netns}", wrong.join(", ")),
            Step::ReplaceRules { netns, found, .. } => write!(f, "put in the rules of {netns}, which were {found}"),
            Step::SetBridge { netns, found, .. } => write!(f, "set the bridge of {netns}, which was {found}"),
            Step::SetNeighbours { netns, neighbours } => {
                write!(f, "tell {netns} who has its {} addresses", neighbours.len())
            }
            Step::SetHostFirewall { found, .. } => {
                write!(f, "put in the host's rules for Networks, which were {found}")
            }
            Step::EnableForwarding => write!(f, "let the host forward packets"),
            Step::AllowInFirewall { chain } => write!(f, "put our two rules at the top of {} in iptables", chain.chain),
            Step::DeleteUplink { name } => write!(f, "delete the uplink {name}"),
            Step::SetUplink { netns, uplink, found } => {
                write!(f, "set the uplink {} of {netns} ({}), which was {found}", uplink.name, uplink.transit)
            }
            Step::DeleteHostRoute { subnet, uplink } => write!(f, "remove the host's route to {subnet} over {uplink}"),
            Step::AddHostRoute { subnet, uplink, .. } => write!(f, "route {subnet} to {} on the host", uplink.name),
            Step::AttachTap { netns, tap, .. } => write!(f, "attach the tap {tap} to the bridge of {netns}"),
            Step::DeleteIdleTap { netns, tap } => {
                write!(f, "delete the tap {tap} of {netns}, which no process has open and no Port owns")
            }
            Step::StartDhcp => write!(f, "start netd, which did not run"),
            Step::ServeDhcp { network, found } => {
                write!(f, "serve {} leases in {}, whose DHCP was {found}", network.leases.len(), network.namespace)
            }
            Step::ForgetDhcp { netns } => write!(f, "end DHCP in {netns}"),
            Step::DeleteNamespace { netns } => write!(f, "delete the network namespace {netns}"),
        }
    }
}

impl Step {
    /// What was found broken, if this step mends what had been whole: the text of an Event. A step that follows from
    /// a changed input mends nothing.
    pub fn mends(&self) -> Option<String> {
        let broken = |found: &Found| *found != Found::Outdated;
        match self {
            Step::CreateNamespace { netns } => Some(format!("the network namespace {netns} was missing")),
            Step::SetSysctls { netns, wrong } => Some(format!("{} had other values in {netns}", wrong.join(", "))),
            Step::ReplaceRules { netns, found, .. } => {
                broken(found).then(|| format!("the firewall rules of {netns} were {found}"))
            }
            Step::SetBridge { netns, found, .. } => broken(found).then(|| format!("the bridge of {netns} was {found}")),
            Step::SetHostFirewall { found, .. } => {
                broken(found).then(|| format!("the host's firewall rules for Networks were {found}"))
            }
            Step::EnableForwarding => Some("the host did not forward packets".into()),
            Step::AllowInFirewall { chain } => Some(format!("our rules in iptables' {} were missing", chain.chain)),
            Step::SetUplink { uplink, found, .. } => {
                broken(found).then(|| format!("the uplink {} was {found}", uplink.name))
            }
            Step::AddHostRoute { subnet, .. } => Some(format!("the host's route to {subnet} was missing")),
            Step::AttachTap { tap, .. } => Some(format!("the tap {tap} was not attached, or down")),
            Step::StartDhcp => Some("netd, which answers DHCP, did not run".into()),
            Step::ServeDhcp { network, found } => {
                broken(found).then(|| format!("DHCP in {} was {found}", network.namespace))
            }
            Step::SetNeighbours { .. }
            | Step::DeleteIdleTap { .. }
            | Step::DeleteUplink { .. }
            | Step::DeleteHostRoute { .. }
            | Step::ForgetDhcp { .. }
            | Step::DeleteNamespace { .. } => None,
        }
    }
}

impl Refusal {
    /// One word for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::HeldByStranger { .. } => "HeldByStranger",
            Refusal::OlderGeneration { .. } => "OlderGeneration",
            Refusal::InUse { .. } => "InUse",
            Refusal::RangeTaken { .. } => "RangeTaken",
            Refusal::HostAccessRefused { .. } => "HostAccessRefused",
            Refusal::HostAccessUnknown => "CloudSettingsMissing",
            Refusal::NoDns { .. } => "DNSUnreachable",
            Refusal::NoTransit { .. } => "NoTransit",
            Refusal::Blocked { .. } => "FirewallBlocks",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::HeldByStranger { uid } => write!(
                f,
                "the network namespace of this name holds Servers of an earlier Network (UID {uid}): they are left alone; \
                 stop them, or give this Network another name"
            ),
            Refusal::OlderGeneration { there } => {
                write!(f, "this host already made generation {there} of it, and waits to see that one")
            }
            Refusal::InUse { taps } => write!(f, "Servers are still attached to it here ({})", taps.join(", ")),
            Refusal::RangeTaken { range, by } => {
                write!(f, "hostAccess is not possible here: the host already uses {range}: {by}")
            }
            Refusal::HostAccessRefused { why } => f.write_str(why),
            Refusal::HostAccessUnknown => write!(
                f,
                "hostAccess waits for CloudSettings {CLOUD_SETTINGS}, which names the ranges that may have it"
            ),
            Refusal::NoDns { resolvers } => {
                let resolvers: Vec<String> = resolvers.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "Servers cannot reach the DNS servers that this host asks ({}), which are the host itself or in this \
                     Network's own range: name others in the subnet's dnsServers, or use another range",
                    resolvers.join(", ")
                )
            }
            Refusal::NoTransit { because } => {
                write!(f, "there is no address for the uplink: {because}; give the agent another --transit-cidr")
            }
            Refusal::Blocked { by } => {
                let commands: Vec<String> = by.iter().map(|chain| unblock(chain)).collect();
                write!(
                    f,
                    "another firewall on this host drops what Networks send ({}); let it through with: {}",
                    by.join(", "),
                    commands.join("; ")
                )
            }
        }
    }
}

/// The command with which an admin lets Networks through `family table chain`. firewalld's was written from its
/// manual and not tried with a live firewalld.
fn unblock(chain: &str) -> String {
    if chain.split(' ').nth(1) == Some("firewalld") {
        return "firewall-cmd --permanent --zone=trusted --add-interface=nub+ && firewall-cmd --reload".into();
    }
    format!(
        "nft insert rule {chain} oifname \"nub*\" ct state established,related accept; \
         nft insert rule {chain} iifname \"nub*\" accept"
    )
}
