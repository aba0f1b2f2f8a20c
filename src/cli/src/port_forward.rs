//! `nubium port-forward`: a local port that leads to a Server's port, whatever the Server's address range is.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpListener;

use crate::{Connection, tunnel, wait};

const TIMEOUT: Duration = Duration::from_secs(300);

/// Which Server, and which ports.
#[derive(Debug, Args)]
pub struct PortForward {
    /// The Server
    name: String,
    /// LOCAL:REMOTE, or one number for both
    #[arg(value_parser = ports)]
    ports: (u16, u16),
    /// The local address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    address: String,
}

/// Which Server, and which port.
#[derive(Debug, Args)]
pub struct Connect {
    /// The Server
    name: String,
    /// Its port
    port: u16,
}

fn ports(text: &str) -> Result<(u16, u16), String> {
    let (local, remote) = text.split_once(':').unwrap_or((text, text));
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not a port: write 2222:22 or 8080"));
    Ok((number(local)?, number(remote)?))
}

pub async fn run(connection: &Connection, command: PortForward) -> anyhow::Result<()> {
    let PortForward { name, ports: (local, remote), address } = command;
    let server = wait::running(connection, &name, TIMEOUT).await?;
    let listener = TcpListener::bind((address.as_str(), local))
        .await
        .with_context(|| format!("cannot listen on {address}:{local}"))?;
    println!("forwarding {} to port {remote} of Server {name}; end with Ctrl-C", listener.local_addr()?);
    loop {
        let (mut socket, peer) = listener.accept().await?;
        match tunnel::open(connection, &server, remote).await {
            Ok(mut stream) => {
                tokio::spawn(async move { copy_bidirectional(&mut socket, &mut stream).await });
            }
            Err(error) => eprintln!("{peer}: {error:#}"),
        }
    }
}

/// Joins standard input and output to the Server's port.
pub async fn connect(connection: &Connection, command: Connect) -> anyhow::Result<()> {
    let Connect { name, port } = command;
    let server = wait::running(connection, &name, TIMEOUT).await?;
    let stream = tunnel::open(connection, &server, port).await?;
    let (mut from, mut to) = tokio::io::split(stream);
    let up = async {
        let copied = tokio::io::copy(&mut tokio::io::stdin(), &mut to).await;
        to.shutdown().await.and(copied.map(|_| ()))
    };
    let down = async {
        let mut out = tokio::io::stdout();
        tokio::io::copy(&mut from, &mut out).await?;
        out.flush().await
    };
    // When the Server's side ends, so do we: a terminal's standard input never ends by itself.
    tokio::select! {
        biased;
        done = down => done?,
        failed = async { match up.await { Ok(()) => std::future::pending().await, Err(error) => error } } => Err(failed)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_a_pair_or_one_number() {
        assert_eq!(ports("2222:22"), Ok((2222, 22)));
        assert_eq!(ports("8080"), Ok((8080, 8080)));
        assert!(ports("ssh").is_err() && ports("1:99999").is_err());
    }
}
