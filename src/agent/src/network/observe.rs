//! One snapshot: the Network's namespace, what the host has around it, what netd does for it.

use nubium_host::network::{HostSeen, Netns, NetworkError, NetworkSeen, Networks};

use nubium_netd::{Dhcp, DhcpError, DhcpSeen};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `None`: there is no such namespace.
    pub network: Option<NetworkSeen>,
    pub host: HostSeen,
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

pub async fn observe(netns: &Netns, host: &impl Networks, dhcp: &impl Dhcp) -> Result<Seen, LookError> {
    Ok(Seen { network: host.look(netns).await?, host: host.look_host().await?, dhcp: dhcp.look(netns.as_str()).await? })
}
