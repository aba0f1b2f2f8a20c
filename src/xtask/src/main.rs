//! `cargo xtask …`: see the library.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use nubium_xtask::{conformance, crds, image, kubernetes, measure, peers, test, tidy, up};

/// Everything that is done to this repository, or with it on a development machine.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build Nubium, start it, and boot a first server on this machine; again changes nothing
    Up {
        /// The folder of its data, log and kubeconfig
        #[arg(long, default_value = up::STATE)]
        state: PathBuf,
    },
    /// Stop everything that `up` started, servers included; the disks stay
    Down {
        /// The folder that `up` was given
        #[arg(long, default_value = up::STATE)]
        state: PathBuf,
        /// Remove the disks and everything else too
        #[arg(long)]
        purge: bool,
    },
    /// Build a disk image for tests from Debian's packages, unless it is there already
    Image {
        kind: image::Kind,
        /// Where it goes [default: target/images]
        #[arg(long)]
        out: Option<PathBuf>,
        /// Then boot it under TCG, run this in it over ssh, and turn it off by its power button
        #[arg(long, value_name = "COMMAND", num_args = 0..=1, default_missing_value = "uptime")]
        boot: Option<String>,
    },
    /// Build the real Kubernetes and etcd that we measure and test ourselves against, unless they are there already
    Peers {
        /// Where they go [default: target/peers]
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// A real Kubernetes control plane on loopback: kube-apiserver, etcd, controller manager
    Kubernetes {
        #[command(subcommand)]
        what: Kubernetes,
        /// The folder of its data, logs and kubeconfig
        #[arg(long, global = true, default_value = "/tmp/nubium-kubernetes")]
        dir: PathBuf,
    },
    /// Measure what we promise, and the real Kubernetes beside it if it is there
    Bench {
        /// Only these parts; all without
        #[arg(long, value_name = "PART", num_args = 1..)]
        only: Vec<measure::Part>,
    },
    /// Run the stories of a whole cloud, with our API server or another one
    Conformance {
        #[command(subcommand)]
        with: Conformance,
    },
    /// Random actions and faults on a running cloud, from a seed, for as long as wanted
    Chaos {
        /// How long actions and faults go on
        #[arg(long, default_value_t = 600)]
        seconds: u64,
        /// Repeats a run [default: the clock]
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Write crds/*.yaml from the types in src/api
    Crds {
        /// Only say whether they are stale
        #[arg(long)]
        check: bool,
    },
    /// Run everything that must hold before a change is merged; installs what it needs
    Test {
        /// Leave out the stories with real guests
        #[arg(long)]
        no_e2e: bool,
        /// Go on after a failed step
        #[arg(long)]
        keep_going: bool,
    },
    /// Check what a compiler does not: the direction of dependencies, where versions stand, that modules are described
    Tidy,
}

#[derive(Subcommand)]
enum Conformance {
    /// On the embedded API server, as `cargo xtask test` does
    Embedded {
        /// Only the stories whose names hold one of these
        words: Vec<String>,
    },
    /// On a real Kubernetes, which is built if it is not there
    Kubernetes {
        /// Only the stories whose names hold one of these
        words: Vec<String>,
    },
}

#[derive(Subcommand)]
enum Kubernetes {
    /// Start it (anew, if it runs); it runs on until `down`
    Up,
    /// Stop it; its data stays
    Down,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The chain, and no backtrace: what failed is a step, and it says which.
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Up { state } => up::up(&state)?,
        Task::Down { state, purge } => up::down(&state, purge)?,
        Task::Image { kind, out, boot } => {
            let image = image::build(kind, &out.unwrap_or_else(image::default_folder))?;
            println!("{}", image.display());
            if let Some(command) = boot {
                print!("{}", image::try_boot(kind, &image, &command)?);
            }
        }
        Task::Peers { dir } => {
            for binary in peers::build(&dir.unwrap_or_else(peers::default_folder), &peers::Peer::ALL)? {
                println!("{}", binary.display());
            }
        }
        Task::Kubernetes { what: Kubernetes::Up, dir } => kubernetes::up_and_print(&dir)?,
        Task::Kubernetes { what: Kubernetes::Down, dir } => kubernetes::down(&dir)?,
        Task::Bench { only } => measure::run(&only)?,
        Task::Conformance { with: Conformance::Embedded { words } } => conformance::embedded(&words)?,
        Task::Conformance { with: Conformance::Kubernetes { words } } => conformance::kubernetes(&words)?,
        Task::Chaos { seconds, seed } => conformance::chaos(seconds, seed)?,
        Task::Crds { check } => crds::run(check)?,
        Task::Test { no_e2e, keep_going } => test::run(test::Options { no_e2e, keep_going })?,
        Task::Tidy => tidy::check()?,
    }
    Ok(())
}
