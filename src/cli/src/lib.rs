//! The user's command: what a person types when kubectl is not at hand, or where kubectl has no word for it (`ssh`,
//! `console`, `port-forward`).
//!
//! Everything goes through the Kubernetes API and the agents' TLS endpoints, with the identity of the kubeconfig.

mod apply;
mod connection;
mod console;
mod delete;
mod escape;
mod failure;
mod get;
mod manifest;
mod port_forward;
mod resources;
pub mod seed;
mod ssh;
mod tunnel;
mod wait;

use clap::{Args, Subcommand};

pub use connection::{Connection, direct};

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Kubeconfig of the cloud. Default: the one `nubium up` wrote, if it can be read, else kubectl's
    #[arg(long, global = true, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<std::path::PathBuf>,
    /// Namespace. Default: the kubeconfig's, else default
    #[arg(long, short, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
}

/// The commands of this crate.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Apply YAML or JSON from files, folders or - (standard input), by server-side apply
    Apply(apply::Apply),
    /// Show objects as a table, or as YAML or JSON
    Get(get::Get),
    /// Delete objects, by name or as files name them, and wait until they are gone
    Delete(delete::Delete),
    /// Read a Server's serial console
    Console(console::Console),
    /// Log in to a Server, or run a command there: nubium ssh web-1 -- uptime
    Ssh(ssh::Ssh),
    /// Forward a port of this machine to a port of a Server: nubium port-forward web-1 2222:22
    PortForward(port_forward::PortForward),
    /// Join standard input and output to a Server's port; what `ssh` uses as its ProxyCommand
    #[command(hide = true)]
    Connect(port_forward::Connect),
}

/// Runs one command to its end. The number is the exit code.
pub async fn run(global: &Global, command: Command) -> anyhow::Result<u8> {
    let connection =
        Connection::open(global).await.map_err(|error| failure::printable(error, &http::Uri::default()))?;
    let done = run_on(&connection, command).await;
    done.map_err(|error| failure::printable(error, connection.cloud()))
}

async fn run_on(connection: &Connection, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Apply(command) => apply::run(connection, command).await.map(|()| 0),
        Command::Get(command) => get::run(connection, command).await.map(|()| 0),
        Command::Delete(command) => delete::run(connection, command).await,
        Command::Console(command) => console::run(connection, command).await.map(|()| 0),
        Command::Ssh(command) => ssh::run(connection, command).await,
        Command::PortForward(command) => port_forward::run(connection, command).await.map(|()| 0),
        Command::Connect(command) => port_forward::connect(connection, command).await.map(|()| 0),
    }
}
