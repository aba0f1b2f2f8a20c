//! `cargo xtask …`: see the library.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use nubium_xtask::{image, peers};

/// Everything that is done to this repository, or with it on a development machine.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
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
        Task::Image { kind, out, boot } => {
            let image = image::build(kind, &out.unwrap_or_else(image::default_folder))?;
            println!("{}", image.display());
            if let Some(command) = boot {
                print!("{}", image::try_boot(kind, &image, &command)?);
            }
        }
        Task::Peers { dir } => {
            for binary in peers::build(&dir.unwrap_or_else(peers::default_folder))? {
                println!("{}", binary.display());
            }
        }
    }
    Ok(())
}
