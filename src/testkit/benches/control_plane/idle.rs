//! What a host costs that has 20 Networks and 50 Servers, and nothing to do: a whole cloud in this process, over real
//! Networks in namespaces and a real netd. Guests are simulated: their taps are real, and nobody speaks.
//!
//! It runs in network, mount and process namespaces of its own, which end with it; without root it is skipped.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::{Api, Client};
use nubium_agent::network::Netd;
use nubium_api::{ConditionStatus, Network, Server, condition};
use nubium_host::network::LinuxNetworks;

use crate::machine::Machine;
use crate::programs::Programs;
use crate::usage::processor_time_of_all;
use crate::{cloud, finish, load};

const NETWORKS: usize = 20;
const SERVERS: usize = 50;
const PER_SECOND: u32 = 10;
/// Until nothing is left to do, and caches that live for a minute are as they are on any other day.
const SETTLE: Duration = Duration::from_secs(75);
const WATCHED: Duration = Duration::from_secs(60);
const INSIDE: &str = "NUBIUM_BENCH_IDLE";
/// How old a look at the networks may be, as the agent of a machine has it.
const FRESH: Duration = Duration::from_millis(500);

pub fn measure() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: an idle host, which needs root for its namespaces");
        return Ok(());
    }
    if std::env::var_os(INSIDE).is_some() {
        prepare()?;
        return finish(inside());
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["-nmp", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "--"]);
    let status =
        unshare.arg(std::env::current_exe()?).arg("idle").env(INSIDE, "1").status().context("start unshare")?;
    ensure!(status.success(), "the idle host could not be measured: {status}");
    Ok(())
}

/// A host with a way out.
fn prepare() -> Result<()> {
    for line in [
        "mount -t tmpfs tmpfs /run && ip link set lo up",
        "ip netns add outside && ip link add uplink type veth peer name eth0 netns outside",
        "ip address add 192.0.2.1/24 dev uplink && ip link set uplink up && ip -n outside link set eth0 up",
        "ip route add default via 192.0.2.2",
    ] {
        let status = Command::new("sh").args(["-c", line]).status().context("start a shell")?;
        ensure!(status.success(), "{line}: {status}");
    }
    Ok(())
}

async fn inside() -> Result<()> {
    let state = Path::new("/run/nubium-bench");
    nubium_process::make_folder(state, nubium_process::TRAVERSABLE_FOLDER)?;
    let config = cloud::agent_config(state);
    let networks = LinuxNetworks::new(state, FRESH);
    let netd = Netd::new(std::env::current_exe()?, config.netd());
    let client = cloud::start(state, Machine::over(networks, netd, cloud::pools())).await?;
    let network = |number: usize| format!("net-{:02}", number % NETWORKS);
    let ranges: Vec<_> = (0..NETWORKS).map(|number| (network(number), format!("10.{}.0.0/24", 100 + number))).collect();
    cloud::furnish_with(&client, &ranges).await?;
    load::run_on(&client, "idle", SERVERS, PER_SECOND, network).await?;
    cloud::until("all Servers and Networks are Ready", async || all_ready(&client).await).await?;

    tokio::time::sleep(SETTLE).await;
    let programs = Programs::watch()?;
    let (before, begun) = (processor_time_of_all()?, Instant::now());
    tokio::time::sleep(WATCHED).await;
    let (used, lasted) = ((processor_time_of_all()? - before).as_secs_f64(), begun.elapsed().as_secs_f64());
    let started = programs.started()?;
    println!(
        "idle, {NETWORKS} networks, {SERVERS} servers:           {:8.2} %     of a core (promised: at most 1)",
        100.0 * used / lasted
    );
    println!(
        "the same, programs started:               {:8.2} 1/s   (promised: at most 1)",
        started.len() as f64 / lasted
    );
    if std::env::var_os("NUBIUM_BENCH_PROGRAMS").is_some() {
        println!("{}", started.join("\n"));
    }
    Ok(())
}

async fn all_ready(client: &Client) -> Result<bool> {
    let ready = |conditions: &[nubium_api::Condition]| {
        condition(conditions, "Ready").is_some_and(|ready| ready.status == ConditionStatus::True)
    };
    let servers = Api::<Server>::all(client.clone()).list(&Default::default()).await?;
    let networks = Api::<Network>::all(client.clone()).list(&Default::default()).await?;
    Ok(servers.iter().all(|it| it.status.as_ref().is_some_and(|status| ready(&status.conditions)))
        && networks.iter().all(|it| it.status.as_ref().is_some_and(|status| ready(&status.conditions))))
}
