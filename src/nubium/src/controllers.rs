//! `nubium controllers`: for a cloud whose API server is Kubernetes' own.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::up::until_told;

/// The controllers alone.
#[derive(Debug, Args)]
pub struct Controllers {}

pub async fn run(_: Controllers, kubeconfig: Option<PathBuf>) -> Result<()> {
    let client = client(kubeconfig).await?;
    let instance = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    tokio::select! {
        () = nubium_controllers::run(client, nubium_controllers::Config { instance }) => Ok(()),
        () = until_told() => Ok(()),
    }
}

/// A client for the cloud of that kubeconfig, or of the Pod this runs in.
pub async fn client(kubeconfig: Option<PathBuf>) -> Result<kube::Client> {
    let config = match kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(&path).with_context(|| format!("cannot read {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?
        }
        None => kube::Config::infer().await.context("no cloud found: name a kubeconfig with --kubeconfig")?,
    };
    Ok(kube::Client::try_from(nubium_cli::direct(config))?)
}
