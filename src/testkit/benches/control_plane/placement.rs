//! How many Servers the scheduler places in a second: its index takes in every change of a Host or a Server, and each
//! Server is decided, counted, and seen bound. What is written to the API server is not part of it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kube::core::Selector;
use nubium_api::{CpuCount, Host, Quantity, Server, ServerResources};
use nubium_controllers::scheduler::{Index, Request};
use serde_json::{Value, json};

const HOSTS: usize = 5_000;
const SERVERS: usize = 20_000;
const RACKS: usize = 50;
const GIB: u64 = 1 << 30;

pub fn measure() -> Result<()> {
    let mut index = Index::default();
    let begun = Instant::now();
    let hosts = (0..HOSTS).map(host).collect::<Result<Vec<_>>>()?;
    let made = begun.elapsed();
    for host in &hosts {
        index.host_changed(None, Some(host));
    }
    let filed = begun.elapsed() - made;
    let (mut took, mut slowest, mut refused) = (Duration::ZERO, Duration::ZERO, 0);
    for number in 0..SERVERS {
        let (request, unbound) = (request(number), server(number, None)?);
        let uid = unbound.metadata.uid.clone().context("a Server has a UID")?;
        index.server_changed(None, Some(&unbound));
        let begun = Instant::now();
        let placed = index.place(&request).map(str::to_owned);
        if let Ok(host) = &placed {
            index.give(uid, host, &request.resources);
        }
        let decided = begun.elapsed();
        took += decided;
        slowest = slowest.max(decided);
        // The hosts that some ask for by name are full in the end.
        let Ok(host) = placed else {
            refused += 1;
            continue;
        };
        let bound = server(number, Some(json!({"host": host, "resources": request.resources})))?;
        let begun = Instant::now();
        index.server_changed(Some(&unbound), Some(&bound));
        took += begun.elapsed();
    }
    let per_second = SERVERS as f64 / took.as_secs_f64();
    println!(
        "placements over {HOSTS} hosts, {SERVERS} servers:  {per_second:8.0} 1/s   (promised: 5000), {refused} refused"
    );
    println!(
        "the same, slowest, and all hosts taken in:{:8.2} ms    and {:.2} ms",
        slowest.as_secs_f64() * 1000.0,
        filed.as_secs_f64() * 1000.0
    );
    Ok(())
}

/// Of three sizes, in racks.
fn host(number: usize) -> Result<Host> {
    let fact = |type_: &str| {
        json!({"type": type_, "status": "True", "reason": "Bench", "message": "",
               "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let cpu = [16, 32, 64][number % 3];
    let host = json!({
        "apiVersion": "nubium.dev/v1alpha1", "kind": "Host",
        "metadata": {"name": format!("host-{number:05}"), "labels": {"rack": rack(number)}},
        "spec": {},
        "status": {"capacity": {"cpu": cpu, "memory": format!("{}Gi", cpu * 4)},
                   "pools": [{"name": "default", "capacity": "1Ti", "free": "1Ti"}],
                   "conditions": [fact("Ready"), fact("ServersReported")]},
    });
    serde_json::from_value(host).context("make a Host")
}

fn rack(number: usize) -> String {
    format!("r{}", number % RACKS)
}

fn server(number: usize, status: Option<Value>) -> Result<Server> {
    let server = json!({
        "apiVersion": "nubium.dev/v1alpha1", "kind": "Server",
        "metadata": {"name": format!("s-{number}"), "namespace": "default", "uid": format!("uid-{number}")},
        "spec": {"flavor": "nano", "disks": []},
        "status": status,
    });
    serde_json::from_value(server).context("make a Server")
}

/// Of many sizes; each tenth asks for a rack, each tenth for one host.
fn request(number: usize) -> Request {
    let (cpu, memory) = ([1, 2, 4, 8][number % 4], [2, 4, 8, 16][number / 4 % 4] * GIB);
    let resources =
        ServerResources { cpu: CpuCount(cpu.to_string()), memory: Quantity::from_bytes(memory), flavor: None };
    Request {
        resources,
        cpu,
        memory,
        runs: true,
        host: (number % 10 == 3).then(|| format!("host-{:05}", number % HOSTS)),
        selector: (number % 10 == 7).then(|| Selector::from_iter([("rack".to_owned(), rack(number / 10))])),
        volumes: Vec::new(),
        pools: vec!["default".to_owned()],
    }
}
