//! `nubium controllers`: for a cloud whose API server is Kubernetes' own.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::client;
use crate::signals::until_asked_to_end;

/// The controllers alone.
#[derive(Debug, Args)]
pub struct Controllers {}

pub async fn run(_: Controllers, kubeconfig: Option<PathBuf>) -> Result<()> {
    let client = client::connect(kubeconfig).await?;
    let instance = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    tokio::select! {
        () = nubium_controllers::run(client, nubium_controllers::Config { instance }) => Ok(()),
        () = until_asked_to_end() => Ok(()),
    }
}
