//! The control plane's share of `apply` → Running: a real API server over a store on disk, the real controllers, and the
//! real agent over a machine on which everything is done at once.
//!
//! A hundred Servers, each with a disk of an image, a NIC and an ssh key out of a ConfigMap, are applied at ten a second,
//! whether or not the one before runs already. A Server's time is from the begin of its request to the event of a watch
//! that says `Running=True`; applying and watching are done in this process too, without TLS, and cost what they cost.
//! One Server before warms it all up. `cargo xtask bench` runs it with the other figures; alone:
//! `cargo bench -p nubium-testkit --bench control-plane`, and with `NUBIUM_BENCH_WRITES=1` it lists the last Server's writes.

mod cloud;
mod load;
mod machine;
mod writes;

use anyhow::{Context as _, Result};

const SERVERS: usize = 100;
const PER_SECOND: u32 = 10;

fn main() -> Result<()> {
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return Ok(()); // cargo test asks every target
    }
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(measure());
    runtime.shutdown_background();
    done
}

async fn measure() -> Result<()> {
    let state = tempfile::Builder::new().prefix("nubium-bench-").tempdir().context("make a folder")?;
    let client = cloud::start(state.path()).await?;
    cloud::furnish(&client).await?;
    load::run(&client, "warm", 1, PER_SECOND).await?;
    let before = resident()?;

    let begun = writes::revision(&client).await?;
    let mut times = load::run(&client, "web", SERVERS, PER_SECOND).await?;
    let writes = writes::since(&client, &begun, &load::names("web", SERVERS)).await?;

    times.sort();
    let quantile = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1000.0;
    println!("apply to Running, {SERVERS} at {PER_SECOND}/s, p50:      {:8.1} ms    (promised: 50)", quantile(0.5));
    println!("apply to Running, {SERVERS} at {PER_SECOND}/s, p95:      {:8.1} ms    (promised: 150)", quantile(0.95));
    println!(
        "writes per Server, all, children's too:   {:8.1}       ({:.1} of them until Running)",
        writes.all, writes.until_running
    );
    println!("writes per Server, in sequence:           {:8.1}       until Running", writes.in_sequence);
    println!("all in one, resident, {SERVERS} servers:        {:8.1} MiB   ({before:.1} before them)", resident()?);
    if std::env::var_os("NUBIUM_BENCH_WRITES").is_some() {
        println!("{}", writes.example);
    }
    Ok(())
}

/// This process's resident memory, in MiB.
fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("read this process's memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse().context("read VmRSS")?;
    Ok(kib / 1024.0)
}
