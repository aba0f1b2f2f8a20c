//! `nubium console --log`: what the guest wrote to its serial port.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use kube::Api;
use nubium_api::Server;

use crate::{Connection, escape, tunnel};

/// Whose console.
#[derive(Debug, Args)]
pub struct Console {
    /// The Server
    name: String,
    /// Print what was logged so far
    #[arg(long, required = true)]
    log: bool,
    /// Print it as it is, terminal escapes included: the guest then commands the terminal
    #[arg(long)]
    raw: bool,
    /// Go on printing what comes, until interrupted
    #[arg(long, short)]
    follow: bool,
}

pub async fn run(connection: &Connection, console: Console) -> anyhow::Result<()> {
    let Console { name, log: _, raw, follow } = console;
    let api: Api<Server> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let server = api.get_opt(&name).await?;
    let Some(server) = server else { bail!("there is no Server {name} in namespace {}", connection.namespace) };
    let mut printed = tunnel::console_log(connection, &server).await?;
    print(&printed, raw)?;
    if !follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = tunnel::console_log(connection, &server).await?;
        // The log is bounded: when its beginning went, it was turned over and is new from the start.
        let fresh = now.strip_prefix(&printed[..]).unwrap_or(&now);
        print(fresh, raw)?;
        printed = now;
    }
}

fn print(bytes: &[u8], raw: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let text = String::from_utf8_lossy(bytes);
    let escaped = escape::lines(&text);
    out.write_all(if raw { bytes } else { escaped.as_bytes() }).and_then(|()| out.flush()).context("cannot write")
}
