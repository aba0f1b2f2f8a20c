//! `nubium controllers`: for a cloud whose API server is Kubernetes' own.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use ipnet::Ipv4Net;

use crate::client;
use crate::signals::until_asked_to_end;

/// What the admin of a cloud says when it first starts.
#[derive(Debug, Args)]
pub struct CloudFlags {
    /// A range in which Networks may have hostAccess, beside 10.77.0.0/16: what hosts send there goes to those Networks. Counts
    /// when the cloud first starts; from then on it stands in `kubectl edit cloudsettings default`. May be given several times
    #[arg(long, value_name = "CIDR")]
    pub host_access_allow: Vec<Ipv4Net>,
    /// A range of which a Network that gives no cidr takes a /24, instead of 10.77.0.0/16. Counts when the cloud first starts, as
    /// --host-access-allow does. May be given several times
    #[arg(long, value_name = "CIDR")]
    pub allocate_from: Vec<Ipv4Net>,
}

/// The controllers alone.
#[derive(Debug, Args)]
pub struct Controllers {
    #[command(flatten)]
    flags: CloudFlags,
}

pub async fn run(controllers: Controllers, kubeconfig: Option<PathBuf>) -> Result<()> {
    let client = client::connect(client::cloud(kubeconfig).await?, "nubium-controllers")?;
    let instance = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let CloudFlags { host_access_allow, allocate_from } = controllers.flags;
    let config = nubium_controllers::Config { instance, host_access_allow, allocate_from };
    tokio::select! {
        () = nubium_controllers::run(client, config) => Ok(()),
        () = until_asked_to_end() => Ok(()),
    }
}
