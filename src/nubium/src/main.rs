//! The one binary: flags, wiring, signals. What it does is in the other crates.

mod agent;
mod client;
mod controllers;
mod down;
mod files;
mod install;
mod logs;
mod open_files;
mod pki;
mod pools;
mod signals;
mod state;
mod stranger;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nubium_cli::Global;

/// A cloud that you kubectl apply: servers, networks, volumes and images as Kubernetes resources, on your own machines.
#[derive(Parser)]
#[command(name = "nubium", version, propagate_version = true)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a whole cloud on this machine: API server, controllers and agent in one process
    Up(up::Up),
    /// Stop everything of ours on this machine, guests included, and put its network back; disks stay
    Down(down::Down),
    /// List the guests on this machine that have no object in the cloud, or end one of them
    #[command(subcommand)]
    Stranger(stranger::Stranger),
    /// Run this machine's agent for a cloud whose API server is elsewhere
    Agent(agent::Agent),
    /// Run the controllers for a cloud whose API server is elsewhere
    Controllers(controllers::Controllers),
    #[command(flatten)]
    User(nubium_cli::Command),
    /// Print the version
    Version,
    /// DHCP for this machine's Networks; started by the agent
    #[command(hide = true)]
    Netd {
        #[arg(long)]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    // libvirt's reaper forks, so it comes before anything that starts a thread. It sets its umask by itself.
    let mut arguments = std::env::args_os();
    if arguments.nth(1).is_some_and(|first| first == nubium_host::libvirt::private::REAPER_COMMAND) {
        let code = nubium_host::libvirt::private::reaper_main(arguments);
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    // Before anything is made: what is ours is nobody else's to read.
    let umask = nubium_process::private_umask();
    // Two providers may be compiled in; the first TLS configuration would not know which one is meant.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(Arguments::parse(), umask) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `umask` is the caller's own.
fn run(arguments: Arguments, umask: u32) -> anyhow::Result<u8> {
    let Arguments { global, command } = arguments;
    match command {
        Command::Up(up) => daemon(up::run(up)),
        Command::Down(down) => daemon(down::run(down)),
        Command::Stranger(stranger) => daemon(stranger::run(stranger, global.kubeconfig)),
        Command::Agent(agent) => daemon(agent::run(agent, global.kubeconfig)),
        Command::Controllers(controllers) => daemon(controllers::run(controllers, global.kubeconfig)),
        Command::User(command) => {
            // The user's own files, made by the user's own programs (ssh, an editor).
            nubium_process::set_umask(umask);
            runtime()?.block_on(nubium_cli::run(&global, command))
        }
        Command::Version => {
            println!("nubium {}", env!("CARGO_PKG_VERSION"));
            Ok(0)
        }
        Command::Netd { config } => {
            logs::start();
            nubium_netd::main(&config)?;
            Ok(0)
        }
    }
}

fn daemon(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<u8> {
    logs::start();
    open_files::raise_limit();
    let runtime = runtime()?;
    let done = runtime.block_on(work);
    // What still blocks (a look at libvirt) does not hold up the end.
    runtime.shutdown_background();
    done.map(|()| 0)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
