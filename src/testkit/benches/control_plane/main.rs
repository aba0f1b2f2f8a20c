//! What can be measured of a cloud in one process: a real API server over a store on disk, the real controllers, and the
//! real agent over a machine whose guests are simulated.
//!
//! | word | what |
//! |---|---|
//! | `apply` | from apply to Running, and the writes of it |
//! | `among` | a Server added to 10 others and to 1,000 |
//! | `placement` | the scheduler's decisions over many hosts |
//! | `idle` | a host with 20 real Networks and 50 Servers that nobody touches |
//!
//! `cargo xtask bench` runs them with the other figures; alone: `cargo bench -p nubium-testkit --bench control-plane -- idle`.

mod among;
mod apply;
mod cloud;
mod idle;
mod load;
mod machine;
mod placement;
mod programs;
mod usage;
mod writes;

use std::future::Future;
use std::path::Path;

use anyhow::{Result, bail};

const PARTS: [&str; 4] = ["apply", "among", "placement", "idle"];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, _, config] = &arguments[..]
        && word == "netd"
    {
        // What the agent starts as netd is this very program.
        return Ok(nubium_netd::main(Path::new(config))?);
    }
    if arguments.iter().any(|argument| argument == "--test" || argument == "--list") {
        return Ok(()); // cargo test asks every target
    }
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    }
    // Cargo adds flags of its own.
    let words: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    for part in if words.is_empty() { &PARTS[..] } else { &words[..] } {
        match *part {
            "apply" => finish(apply::measure())?,
            "among" => finish(among::measure())?,
            "placement" => placement::measure()?,
            "idle" => idle::measure()?,
            other => bail!("there is no part {other}; there are {}", PARTS.join(", ")),
        }
    }
    Ok(())
}

/// On a runtime of its own, which ends with it: so does the cloud of a part.
fn finish(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}
