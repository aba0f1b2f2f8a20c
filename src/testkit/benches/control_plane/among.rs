//! What it costs to add a Server to others that are settled: among 10 and among 1,000, on one host.
//!
//! The processor time of the whole process counts, less what the others cost while nothing is added.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kube::Client;

use crate::usage::processor_time;
use crate::{cloud, load};

const FEW: usize = 10;
const MANY: usize = 1_000;
const ADDED: usize = 50;
const PER_SECOND: u32 = 10;
const FILL_PER_SECOND: u32 = 50;
/// Twice the time between two passes over a settled Server.
const IDLE: Duration = Duration::from_secs(15);

struct Cost {
    /// Processor time of one added Server, in seconds.
    processor: f64,
    /// From apply to Running, in seconds.
    median: f64,
    /// Of a processor, while nothing is added.
    idle: f64,
}

pub async fn measure() -> Result<()> {
    let state = tempfile::Builder::new().prefix("nubium-bench-").tempdir().context("make a folder")?;
    let client = cloud::start(state.path(), cloud::machine()).await?;
    cloud::furnish(&client).await?;
    load::run(&client, "few", FEW, PER_SECOND).await?;
    let few = add(&client, "one").await?;
    load::run(&client, "many", MANY - FEW - ADDED, FILL_PER_SECOND).await?;
    let many = add(&client, "more").await?;
    let line = |what: &str, unit: &str, figure: fn(&Cost) -> f64, promised: &str| {
        let (few, many) = (figure(&few), figure(&many));
        println!("{what:<41} {few:8.2} {unit:<5} among 1,000 {many:8.2} {unit:<5} {:5.2} ×{promised}", many / few);
    };
    line("a Server added to 10 others, CPU:", "ms", |cost| cost.processor * 1000.0, " (promised: at most 1)");
    line("the same, apply to Running, p50:", "ms", |cost| cost.median * 1000.0, "");
    line("the others, settled, of a core:", "%", |cost| cost.idle * 100.0, "");
    Ok(())
}

async fn add(client: &Client, prefix: &str) -> Result<Cost> {
    // What the Servers before have left to do.
    tokio::time::sleep(IDLE).await;
    let resting = async {
        tokio::time::sleep(IDLE).await;
        Ok(())
    };
    let ((), idle) = used(resting).await?;
    let adding = async {
        let times = load::run(client, prefix, ADDED, PER_SECOND).await?;
        // Events and summaries come after.
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(times)
    };
    let begun = Instant::now();
    let (mut times, busy) = used(adding).await?;
    let lasted = begun.elapsed().as_secs_f64();
    times.sort();
    Ok(Cost { processor: (busy - idle) * lasted / ADDED as f64, median: times[ADDED / 2].as_secs_f64(), idle })
}

/// What that gives, and how much of a processor this process used meanwhile.
async fn used<T>(work: impl Future<Output = Result<T>>) -> Result<(T, f64)> {
    let (before, begun) = (processor_time()?, Instant::now());
    let done = work.await?;
    let used = processor_time()? - before;
    Ok((done, used.as_secs_f64() / begun.elapsed().as_secs_f64()))
}
