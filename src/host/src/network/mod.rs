//! Networks on a host. A Network is one network namespace, `nubium.<namespace>.<network>`: overlapping ranges of
//! different tenants cannot meet, rules are few and replaced whole, and deleting it leaves nothing behind.
//!
//! ```text
//!  the host's namespace                         nubium.shop.blue
//!  ┌────────────────────────────┐             ┌─────────────────────────────────────────────┐
//!  │ uplink      nubx… 198.19.0.2/31 ─ veth ─ out0 198.19.0.3/31     br0 10.10.0.1/24        │
//!  │ inet nubium: what may pass │             │ inet nubium: route, NAT    ├ nub<port> ─ QEMU   │
//!  │ DOCKER-USER / FORWARD      │             │ bridge nubium: spoofing    └ nub<port> ─ QEMU   │
//!  └────────────────────────────┘             └─────────────────────────────────────────────┘
//! ```
//! [`Networks`] is all that an agent asks of a host: looks, and idempotent changes. It knows no kind and decides
//! nothing. The real one is [`LinuxNetworks`]; a simulated twin belongs in the testkit.

mod bridge;
mod connections;
mod dial;
mod error;
mod firewall;
mod generation;
mod host_firewall;
mod inside;
mod kept;
mod links;
mod linux;
mod listings;
mod look;
mod looks;
mod mac;
mod marks;
pub mod names;
mod neighbours;
mod netns;
mod nft;
mod notices;
mod programs;
mod record;
mod resolvers;
mod ruleset;
pub mod sysctl;
mod tap;
pub mod transit;
mod uplink;

use std::collections::BTreeSet;
use std::future::Future;

use ipnet::Ipv4Net;

pub use bridge::{Bridge, MadeFrom};
pub use connections::Connection;
pub use dial::dial;
pub use error::{NetworkError, Result};
pub use firewall::{Backend, FirewallSeen, IptablesChain};
pub use links::RouteSeen;
pub use linux::{LinuxNetworks, host_firewall_rules};
pub use look::{BridgeSeen, HostFirewallSeen, HostSeen, NetworkSeen, OutSeen, RangeUser, UplinkSeen};
pub use mac::{MacAddr, NotAMac};
pub use names::Netns;
pub use neighbours::Neighbours;
pub use netns::DIR as NETNS_DIR;
pub use nft::{RulesSeen, Ruleset};
pub use programs::programs_started;
pub use ruleset::{Guest, NamespaceRules};
pub use tap::{Tap, TapFound, TapSeen};
pub use transit::Transit;
pub use uplink::Uplink;

/// A host's networks. Every change may be repeated; every look that fails is an error, never "absent".
pub trait Networks: Send + Sync {
    /// The Networks' namespaces on this host, whoever made them.
    fn list(&self) -> impl Future<Output = Result<Vec<Netns>>> + Send;
    /// What is in one of them; `None` when there is no such namespace.
    fn look(&self, netns: &Netns) -> impl Future<Output = Result<Option<NetworkSeen>>> + Send;
    /// All guests' taps of ours, in the host's namespace and in those of Networks.
    fn taps(&self) -> impl Future<Output = Result<Vec<TapFound>>> + Send;
    /// The taps that QEMU processes have open, by name.
    fn held_taps(&self) -> impl Future<Output = Result<BTreeSet<String>>> + Send;
    /// What the host itself has for all of them.
    fn look_host(&self) -> impl Future<Output = Result<HostSeen>> + Send;
    /// With whom the host is connected at this moment. Costs more the more sockets it has.
    fn connections(&self) -> impl Future<Output = Result<BTreeSet<Connection>>> + Send;
    /// The next Network's namespace, of those that were looked at, in which anything is changed, by whomever; `None` is the
    /// host's own. For one caller.
    fn changed(&self) -> impl Future<Output = Option<Netns>> + Send;

    /// Makes the namespace, empty.
    fn create_namespace(&self, netns: &Netns) -> impl Future<Output = Result<()>> + Send;
    /// Writes the values of [`sysctl::NAMESPACE`].
    fn set_sysctls(&self, netns: &Netns) -> impl Future<Output = Result<()>> + Send;
    /// Makes or mends the bridge: owner, MAC, MTU, gateway address, up; and the loopback up.
    fn set_bridge(&self, netns: &Netns, bridge: &Bridge) -> impl Future<Output = Result<()>> + Send;
    /// Sets who has which address in the namespace, in place of what was set before.
    fn set_neighbours(&self, netns: &Netns, neighbours: &Neighbours) -> impl Future<Output = Result<()>> + Send;
    /// Puts rules in force in the namespace, in one transaction, in place of ours before.
    fn replace_rules(&self, netns: &Netns, rules: &Ruleset) -> impl Future<Output = Result<()>> + Send;
    /// Makes or mends the uplink. Refused ([`NetworkError::TransitTaken`]) when another link has the pair.
    fn set_uplink(&self, netns: &Netns, uplink: &Uplink) -> impl Future<Output = Result<()>> + Send;
    /// Deletes an uplink by the name of the host's end.
    fn delete_uplink(&self, name: &str) -> impl Future<Output = Result<()>> + Send;
    /// Lets the host reach the subnet of a Network over its uplink. Refused ([`NetworkError::RangeInUse`]) when the host uses
    /// that range for something else ([`HostSeen::range_user`]). A connection from any address of `transits` is none: it
    /// went by an uplink of ours, if not by this one.
    fn add_host_route(
        &self,
        netns: &Netns,
        subnet: Ipv4Net,
        uplink: &Uplink,
        transits: Ipv4Net,
    ) -> impl Future<Output = Result<()>> + Send;
    fn delete_host_route(&self, subnet: Ipv4Net, uplink: &str) -> impl Future<Output = Result<()>> + Send;

    /// Puts the host's own rules for Networks in force ([`host_firewall_rules`]).
    fn set_host_firewall(&self, rules: &Ruleset) -> impl Future<Output = Result<()>> + Send;
    /// Lets the host pass packets on, noting whether it did before.
    fn enable_forwarding(&self) -> impl Future<Output = Result<()>> + Send;
    /// Puts our two rules at the top of another software's chain.
    fn allow_in_firewall(&self, chain: &IptablesChain) -> impl Future<Output = Result<()>> + Send;

    /// Makes a guest's tap, down, in the host's namespace, in place of a stale one there.
    fn create_tap(&self, tap: &Tap) -> impl Future<Output = Result<()>> + Send;
    /// Moves a tap into its namespace, onto the bridge, and up.
    fn move_tap(&self, name: &str, netns: &Netns, mtu: u32) -> impl Future<Output = Result<()>> + Send;
    /// Puts a tap that is in its namespace (back) on the bridge, and up.
    fn attach_tap(&self, name: &str, netns: &Netns, mtu: u32) -> impl Future<Output = Result<()>> + Send;
    /// Deletes a tap, in the host's namespace and in its Network's.
    fn delete_tap(&self, name: &str, netns: &Netns) -> impl Future<Output = Result<()>> + Send;
    /// Deletes a link in the host's namespace, if it is one of ours.
    fn delete_link(&self, name: &str) -> impl Future<Output = Result<()>> + Send;
    /// Deletes a tap in its Network's namespace, unless a process has it open.
    fn delete_idle_tap(&self, name: &str, netns: &Netns) -> impl Future<Output = Result<()>> + Send;

    /// Deletes the links in the namespace, and then the namespace. Whatever holds sockets in it closes them before. Refused
    /// ([`NetworkError::NotOurs`]) for one that somebody else made.
    fn delete_namespace(&self, netns: &Netns) -> impl Future<Output = Result<()>> + Send;
    /// Takes everything of ours off the host itself, and puts its sysctls back. The namespaces go before. Nothing goes by its
    /// name alone: only what carries our mark.
    fn teardown_host(&self) -> impl Future<Output = Result<()>> + Send;
}
