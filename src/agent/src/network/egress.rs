//! Whether other software on this host keeps Networks from the outside: the Host's `EgressReady`. It is seen by the same
//! look, and said in the same words, as in the entry of each Network; but before there is one, and in one place.
//!
//! | seen | says |
//! |---|---|
//! | a chain on `forward` drops what no rule of it let through, and we cannot tell it otherwise | False, with the chain and the command |
//! | iptables, Docker's or ufw's rules | True: the first Network with an uplink puts two rules before theirs |
//! | nothing of the kind | True |

use nubium_host::network::HostFirewallSeen;

use super::refusal::blocked;

/// What was seen of the uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    pub ready: bool,
    pub reason: &'static str,
    pub message: String,
}

/// Judges the uplink by a look at the host.
#[must_use]
pub fn egress(seen: &HostFirewallSeen) -> Egress {
    match blocked(&seen.firewall) {
        Some(refusal) => Egress { ready: false, reason: refusal.reason(), message: refusal.to_string() },
        None => Egress {
            ready: true,
            reason: "NothingBlocks",
            message: "no other firewall on this host drops what Networks send".to_owned(),
        },
    }
}
