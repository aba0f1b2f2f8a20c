//! `nubium stranger`: the guests on this machine that have no object in the cloud.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use nubium_agent::{Guest, Guests, end_guest, guests, without_object};

use crate::agent::HostFlags;
use crate::client;

/// Guests with Nubium's record on this machine and no Server in the cloud.
#[derive(Debug, Subcommand)]
pub enum Stranger {
    /// List them
    List(List),
    /// Power one off, or turn it off, and forget its definition; its disks stay
    End(End),
}

/// List the strangers.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    host: HostFlags,
}

/// End one stranger.
#[derive(Debug, Args)]
pub struct End {
    /// Which: its namespace/name, or its UID where two have one name
    #[arg(value_name = "NAMESPACE/NAME or UID")]
    which: String,
    #[command(flatten)]
    host: HostFlags,
    /// How long the guest may take to power off, in seconds, before it is turned off
    #[arg(long, default_value_t = 30)]
    timeout: u64,
    /// Do not ask the API server whether the guest has a Server there. For when the API server is lost
    #[arg(long)]
    without_api_server: bool,
}

pub async fn run(stranger: Stranger, kubeconfig: Option<PathBuf>) -> Result<()> {
    match stranger {
        Stranger::List(List { host }) => list(&host, kubeconfig).await,
        Stranger::End(command) => end(command, kubeconfig).await,
    }
}

async fn list(host: &HostFlags, kubeconfig: Option<PathBuf>) -> Result<()> {
    let Guests { guests: all, unreadable } = look(host).await?;
    for guest in strangers(host, kubeconfig, all).await? {
        println!("{}", described(&guest));
    }
    for domain in &unreadable {
        println!("{domain}: its record cannot be read, so nobody can say whose it is; look at it with virsh");
    }
    Ok(())
}

async fn end(command: End, kubeconfig: Option<PathBuf>) -> Result<()> {
    let End { which, host, timeout, without_api_server } = command;
    let Guests { guests: all, unreadable: _ } = look(&host).await?;
    let mut named: Vec<Guest> = all.into_iter().filter(|guest| is_named(guest, &which)).collect();
    if named.is_empty() {
        bail!("no guest of Nubium on this machine is {which}: `nubium stranger list` shows them");
    }
    if !without_api_server {
        named = strangers(&host, kubeconfig, named).await.context(
            "cannot find out whether it has an object in the cloud; if its API server is lost for good, add --without-api-server",
        )?;
        if named.is_empty() {
            bail!(
                "{which} has an object in the cloud: end it with `kubectl delete server`, or set powerState: Stopped"
            );
        }
    }
    let [guest] = named.as_slice() else {
        let all: Vec<String> = named.iter().map(described).collect();
        bail!("{which} is more than one guest: name one by its UID\n{}", all.join("\n"));
    };
    println!("{}", described(guest));
    let config = host.config(None)?;
    let stopped = end_guest(&config, guest, Duration::from_secs(timeout)).await;
    let how = match stopped.with_context(|| format!("cannot end {}", guest.domain))? {
        Some(true) => "it powered off".to_owned(),
        Some(false) => format!("it was turned off: it was paused, or did not power off within {timeout} s"),
        None => "it was off".to_owned(),
    };
    println!("ended {}: {how}; its disks are as they were", guest.domain);
    Ok(())
}

async fn look(host: &HostFlags) -> Result<Guests> {
    guests(&host.config(None)?).await.context("cannot list the guests of this machine")
}

/// Those without an object, by live looks at the cloud: `nubium up`'s own, where no other is named.
async fn strangers(host: &HostFlags, kubeconfig: Option<PathBuf>, all: Vec<Guest>) -> Result<Vec<Guest>> {
    let own = host.state.join("admin.kubeconfig");
    let kubeconfig = kubeconfig.or_else(|| own.exists().then_some(own));
    let client = client::connect(client::cloud(kubeconfig).await?, "nubium-stranger")?;
    Ok(without_object(&client, &host.name()?, all).await?)
}

fn is_named(guest: &Guest, which: &str) -> bool {
    let record = &guest.record;
    which == format!("{}/{}", record.namespace, record.name) || which == record.uid.to_string()
}

fn described(guest: &Guest) -> String {
    let Guest { domain, record, active, .. } = guest;
    let state = if *active { "running" } else { "off" };
    format!(
        "{}/{}: domain {domain}, {state}, of the Server with UID {} at generation {}",
        record.namespace, record.name, record.uid, record.generation
    )
}
