//! The client of a cloud whose API server is another process.

use std::path::PathBuf;

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};

/// The cloud of that kubeconfig, or of the Pod this runs in.
pub async fn cloud(kubeconfig: Option<PathBuf>) -> Result<kube::Config> {
    Ok(match kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(&path).with_context(|| format!("cannot read {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?
        }
        None => kube::Config::infer().await.context("no cloud found: name a kubeconfig with --kubeconfig")?,
    })
}

/// A client for it, in whose name that part of the program owns what it writes without a field manager.
pub fn connect(mut cloud: kube::Config, part: &'static str) -> Result<kube::Client> {
    cloud.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(part)));
    Ok(kube::Client::try_from(nubium_cli::direct(cloud))?)
}
