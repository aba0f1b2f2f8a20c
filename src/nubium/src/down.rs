//! `nubium down`: stops everything of ours on this machine.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::agent::HostFlags;
use crate::{pools, state};

/// How long `nubium up` or `nubium agent` may take to end before it is killed.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Stop what is ours on this machine.
#[derive(Debug, Args)]
pub struct Down {
    #[command(flatten)]
    host: HostFlags,
    /// How long guests may take to power off, in seconds, before they are turned off
    #[arg(long, default_value_t = 30)]
    timeout: u64,
    /// Remove the disks, images, keys and objects too; what is mounted in the state folder and pools elsewhere stay
    #[arg(long)]
    purge: bool,
}

pub async fn run(down: Down) -> Result<()> {
    let Down { host, timeout, purge } = down;
    let config = host.config(None)?;
    if state::end_holder(&config.state, TIMEOUT)? {
        println!("stopped nubium");
    }
    let _held = state::hold(&config.state, &config.run)?;
    println!("stopping what runs here; a guest has {timeout} s to power off");
    let elsewhere = if purge { pools::elsewhere(&config.state).await } else { Vec::new() };
    let down = nubium_agent::down(&config, Duration::from_secs(timeout), purge).await;
    let nubium_agent::Down { stopped, left } = down.context("cannot take this host down")?;
    for name in &stopped.gracefully {
        println!("{name} powered off");
    }
    for name in &stopped.hard {
        println!("{name} was turned off: it was paused, or did not power off within {timeout} s");
    }
    for path in &left {
        println!("{} is mounted: it was left as it is", path.display());
    }
    for (pool, path) in &elsewhere {
        println!("StoragePool {pool} has its files in {}: they were left as they are", path.display());
    }
    match purge {
        true if left.is_empty() && elsewhere.is_empty() => println!("nothing of Nubium is left on this machine"),
        true => println!("nothing else of Nubium is left on this machine"),
        false => println!("this machine is as it was; disks, images and objects are kept in {}", host.state.display()),
    }
    Ok(())
}
