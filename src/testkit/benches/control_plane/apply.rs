//! From apply to Running, with nothing else to do.
//!
//! A hundred Servers, each with a disk of an image, a NIC and an ssh key out of a ConfigMap, are applied at ten a second,
//! whether or not the one before runs already. A Server's time is from the begin of its request to the event of a watch
//! that says `Running=True`; applying and watching are done in this process too, without TLS, and cost what they cost.
//! One Server before warms it all up. `NUBIUM_BENCH_WRITES=1` lists the last Server's writes.

use anyhow::{Context as _, Result};

use crate::usage::resident;
use crate::{cloud, load, writes};

const SERVERS: usize = 100;
const PER_SECOND: u32 = 10;

pub async fn measure() -> Result<()> {
    let state = tempfile::Builder::new().prefix("nubium-bench-").tempdir().context("make a folder")?;
    let client = cloud::start(state.path(), cloud::machine()).await?;
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
