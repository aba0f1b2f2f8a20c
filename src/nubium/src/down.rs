//! `nubium down`: stops everything of ours on this machine.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::agent::HostFlags;
use crate::state;

/// How long `nubium up` or `nubium agent` may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Stop what is ours on this machine.
#[derive(Debug, Args)]
pub struct Down {
    #[command(flatten)]
    host: HostFlags,
    /// How long guests may take to power off, in seconds, before they are turned off
    #[arg(long, default_value_t = 30)]
    timeout: u64,
    /// Remove the disks, images, keys and objects too: nothing of Nubium stays
    #[arg(long)]
    purge: bool,
}

pub async fn run(down: Down) -> Result<()> {
    let Down { host, timeout, purge } = down;
    let config = host.config(None)?;
    if state::end_holder(&config.state, PATIENCE)? {
        println!("stopped nubium");
    }
    let _held = state::hold(&config.state, &config.run)?;
    println!("stopping what runs here; a guest has {timeout} s to power off");
    let stopped =
        nubium_agent::down(&config, Duration::from_secs(timeout), purge).await.context("cannot take this host down")?;
    for name in &stopped.gracefully {
        println!("{name} powered off");
    }
    for name in &stopped.hard {
        println!("{name} was turned off: it did not power off within {timeout} s");
    }
    match purge {
        true => println!("nothing of Nubium is left on this machine"),
        false => println!("this machine is as it was; disks, images and objects are kept in {}", host.state.display()),
    }
    Ok(())
}
