//! `down`: an admin's explicit act. Everything of ours goes, strangers included; guests were stopped before.

use nubium_host::network::{NetworkError, Networks};

use nubium_netd::{Dhcp, DhcpError};
use tracing::warn;

#[derive(Debug, thiserror::Error)]
pub enum TeardownError {
    #[error("cannot take the networks down")]
    Host(#[from] NetworkError),
    #[error("cannot end DHCP")]
    Dhcp(#[from] DhcpError),
}

/// Ends netd, deletes every namespace of ours, and puts the host back as it was: links, rules, routes, sysctls.
pub async fn teardown(host: &impl Networks, dhcp: &impl Dhcp) -> Result<(), TeardownError> {
    dhcp.stop().await?;
    for netns in host.list().await? {
        match host.delete_namespace(&netns).await {
            Err(error @ NetworkError::NotOurs { .. }) => warn!(error = &error as &dyn std::error::Error, "left alone"),
            other => other?,
        }
    }
    Ok(host.teardown_host().await?)
}
