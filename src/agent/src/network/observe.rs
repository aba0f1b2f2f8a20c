//! One snapshot: the Network's namespace, what the host has around it, what netd does for it.

use std::collections::BTreeSet;

use nubium_host::network::{Connection, HostSeen, NetworkError, NetworkSeen, Networks};
use nubium_netd::{Dhcp, DhcpError, DhcpSeen};

use super::Desired;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `None`: there is no such namespace.
    pub network: Option<NetworkSeen>,
    pub host: HostSeen,
    /// With whom the host is connected. Looked at only for a Network that lacks a route of the host
    /// ([`Desired::lacks_host_route`]), else empty.
    pub connections: BTreeSet<Connection>,
    pub dhcp: DhcpSeen,
}

/// A look that failed. It says nothing about what is there.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error("cannot look at the host's networks")]
    Host(#[from] NetworkError),
    #[error("cannot look at DHCP")]
    Dhcp(#[from] DhcpError),
}

pub async fn observe(want: &Desired, host: &impl Networks, dhcp: &impl Dhcp) -> Result<Seen, LookError> {
    let network = host.look(&want.netns).await?;
    let seen = host.look_host().await?;
    let connections = if want.lacks_host_route(&seen) { host.connections().await? } else { BTreeSet::new() };
    Ok(Seen { network, host: seen, connections, dhcp: dhcp.look(want.netns.as_str()).await? })
}
