//! `cargo xtask bench`: the figures that we promise, and those of the real Kubernetes beside them, on this machine and in
//! one run. Ratios mean something; the figures themselves are this machine's.
//!
//! It runs in network, mount and process namespaces of its own, which end with it.

mod apiserver;
mod cloud;
mod http;
mod real;
mod repairs;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::command;
use crate::kubernetes::Kubernetes;
use crate::peers::{self, Peer};
use cloud::Cloud;
use http::Server;

const INSIDE: &str = "NUBIUM_BENCH_STATE";

/// Measures those parts (`cloud`, `apiserver`) with the `nubium` given, and prints the figures.
///
/// # Errors
/// When something does not start or does not answer.
pub fn run(nubium: &Path, parts: &[String]) -> Result<()> {
    let Some(state) = std::env::var_os(INSIDE) else {
        let state = tempfile::Builder::new().prefix("nubium-bench-").tempdir().context("make a folder")?;
        let mut unshare = Command::new("unshare");
        unshare.args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--propagation",
            "private",
        ]);
        unshare.arg(std::env::current_exe()?).arg(nubium).args(parts).env(INSIDE, state.path());
        return command::run(&mut unshare);
    };
    command::run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    command::run(Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/run"]))?;
    let state = Path::new(&state);

    for part in parts {
        match part.as_str() {
            "cloud" => a_cloud(nubium, &state.join("cloud"))?,
            "apiserver" => api_servers(nubium, state)?,
            other => bail!("there is no part {other}"),
        }
    }
    Ok(())
}

fn a_cloud(nubium: &Path, state: &Path) -> Result<()> {
    let cloud = Cloud::up(nubium, state)?;
    std::thread::sleep(std::time::Duration::from_secs(10));
    println!("nubium up, resident, 0 servers:           {:8.1} MiB   (promised: 48)", cloud.resident()?);
    cloud.cache_image()?;
    let (ours, virsh) = real::measure(&cloud.server()?, state)?;
    println!(
        "a Server, create to running:              {:8.0} ms    virsh create {:8.0} ms    {:5.2} × (promised: at most 1.3)",
        ours * 1000.0,
        virsh * 1000.0,
        ours / virsh
    );
    for (what, seconds) in repairs::measure(&cloud, state)? {
        println!("{:<41} {seconds:8.1} s     (promised: 8)", format!("{what}:"));
    }
    let servers = cloud.fill()?;
    println!("nubium up, resident, {servers:>2} servers:          {:8.1} MiB   (promised: 60)", cloud.resident()?);
    let (written, logged) = cloud.settled()?;
    println!("{servers:>2} servers, settled for 60 s, writes:     {written:8}       (promised: 0 besides Leases)");
    println!("{servers:>2} servers, settled for 60 s, log lines:  {logged:8}       (promised: 0 at info)");
    Ok(())
}

fn api_servers(nubium: &Path, state: &Path) -> Result<()> {
    // A watcher is a connection.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let folder = peers::default_folder();
    let missing = Peer::CONTROL_PLANE.iter().any(|peer| !peers::binary(&folder, *peer).exists());
    let ours = {
        let cloud = Cloud::up(nubium, &state.join("api"))?;
        let figures = apiserver::measure(&cloud.server()?)?;
        println!("nubium up, resident, 10,000 ConfigMaps:   {:8.1} MiB", cloud.resident()?);
        figures
    };
    let theirs = if missing {
        println!("skipped: kube-apiserver beside it; `cargo xtask peers` builds it, NUBIUM_PEERS says where it is");
        None
    } else {
        let kubernetes = Kubernetes::up(&state.join("kubernetes"))?;
        let idle = memory(&kubernetes)?;
        let pair = kubernetes.admin();
        let (certificate, key) = (fs::read(pair.certificate)?, fs::read(pair.key)?);
        let server = Server::new(kubernetes.port, &fs::read(kubernetes.authority())?, &certificate, &key)?;
        let figures = apiserver::measure(&server)?;
        println!("kube-apiserver, etcd, controller manager: {idle:8.1} MiB   resident, idle");
        println!("the same, with 10,000 ConfigMaps:         {:8.1} MiB", memory(&kubernetes)?);
        kubernetes.down()?;
        Some(figures)
    };
    let line = |what: &str, unit: &str, promised: f64, more: bool, figure: fn(&apiserver::Figures) -> f64| {
        let own = figure(&ours);
        match theirs.as_ref().map(figure) {
            Some(other) => {
                let ratio = if more { own / other } else { other / own };
                println!(
                    "{what:<41} {own:8.1} {unit:<5} Kubernetes {other:8.1} {unit:<5} {ratio:5.2} × (promised: {promised})"
                );
            }
            None => println!("{what:<41} {own:8.1} {unit}"),
        }
    };
    line("create, 1 writer:", "1/s", 5.0, true, |figures| figures.alone);
    line("create, 64 writers:", "1/s", 6.0, true, |figures| figures.many);
    line("list of 10,000:", "ms", 6.0, false, |figures| figures.list * 1000.0);
    line("one change to 1,000 watchers:", "ms", 4.0, false, |figures| figures.fan_out * 1000.0);
    line("the same, each with its own selector:", "ms", 10.0, false, |figures| figures.selecting * 1000.0);
    Ok(())
}

/// Resident memory of all its processes, in MiB.
fn memory(kubernetes: &Kubernetes) -> Result<f64> {
    kubernetes.processes().into_iter().map(|(_, id)| cloud::resident(id)).sum()
}
