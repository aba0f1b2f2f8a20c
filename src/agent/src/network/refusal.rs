//! What cannot be done for a Network on this host.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nubium_host::network::{FirewallSeen, RangeUser};

/// What cannot be done, and no step can help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The namespace holds guests of a Network that is no more: they are left alone.
    HeldByStranger { uid: String },
    /// What is there was made for a later generation than the input we were given.
    OlderGeneration { there: i64 },
    /// It shall go, and these taps are still in it.
    InUse { taps: Vec<String> },
    /// `hostAccess`: the host uses that range for something else.
    RangeTaken { range: Ipv4Net, by: RangeUser },
    /// `hostAccess`: the cloud's admin does not allow it for that range.
    HostAccessRefused { why: String },
    /// `hostAccess`: which ranges are allowed is not known yet.
    HostAccessUnknown,
    /// DHCP has no DNS server to name: guests cannot reach those that the host asks.
    NoDns { resolvers: Vec<Ipv4Addr> },
    /// The transit range is used for something else, or full.
    NoTransit { because: String },
    /// Another firewall drops what is forwarded.
    Blocked { by: Vec<String> },
}

/// What a Network cannot do anything about.
pub(super) fn blocked(firewall: &FirewallSeen) -> Option<Refusal> {
    (!firewall.blocked_by.is_empty()).then(|| Refusal::Blocked { by: firewall.blocked_by.clone() })
}
