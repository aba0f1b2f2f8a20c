//! `cargo run -p nubium-testkit --example record-store -- FOLDER`: writes the store of a small cloud of this release, what
//! its objects say and what its machine has, for `tests/store_of_release`. To be run before a release changes shapes.

#[path = "../benches/control_plane/cloud.rs"]
#[allow(dead_code, reason = "the bench begins all of it at once")]
mod cloud;
#[path = "../benches/control_plane/machine.rs"]
mod machine;
#[path = "../tests/store_of_release/recorded.rs"]
mod recorded;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use flate2::{Compression, write::GzEncoder};
use kube::{Client, ResourceExt};
use nubium_agent::StartupReports;
use nubium_apiserver::Identity;
use serde_json::{Value, json};

use cloud::{HOST, until};

fn ours(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "nubium.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).context("give the folder to write to")?);
    let state = PathBuf::from(recorded::RECORDED_IN);
    std::fs::create_dir(&state).with_context(|| format!("create {}", state.display()))?;
    let server = cloud::serve(&state).await?;
    let admin = Client::new(server.router_service().acting_as(Identity::admin("nubium")), "default");
    let own = Client::new(server.router_service().acting_as(Identity::host(HOST)), "default");
    let machine = cloud::machine();
    let config = cloud::agent_config(&state);
    let start = nubium_agent::begin(&own, &config).await?;
    let mut running = tokio::task::JoinSet::new();
    let instance = HOST.to_owned();
    running
        .spawn(nubium_controllers::run(admin.clone(), nubium_controllers::Config { instance, ..Default::default() }));
    let agent = nubium_agent::run_on(own, config, start, StartupReports::default(), machine.clone());
    running.spawn(async move { drop(agent.await) });
    cloud::furnish(&admin).await?;

    let subnet = json!({"name": "v4", "cidr": "10.77.9.0/24", "gateway": "10.77.9.254", "dnsServers": ["192.0.2.53"],
        "pool": {"start": "10.77.9.100", "end": "10.77.9.199"}});
    let quiet = json!({"name": "v4", "cidr": "10.12.0.0/24", "dhcp": false});
    let disks = json!([{"name": "root", "image": "tiny"}]);
    let objects = [
        ours("Network", "green", json!({"subnets": [subnet], "hostAccess": true})),
        ours("Network", "quiet", json!({"subnets": [quiet], "egress": {"type": "None"}})),
        ours("Port", "front", json!({"network": "green", "address": "10.77.9.7", "macAddress": "02:00:00:00:00:07"})),
        ours("Volume", "data", json!({"size": "1Gi"})),
        ours(
            "Server",
            "web",
            json!({"flavor": "nano", "disks": [{"name": "root", "image": "tiny"}, {"name": "data", "volume": "data"}],
                "nics": [{"name": "eth0", "network": "blue", "address": "10.10.0.9"}, {"name": "eth1", "port": "front"}]}),
        ),
        ours(
            "Server",
            "db",
            json!({"flavor": "nano", "disks": disks,
            "nics": [{"name": "eth0", "network": "green"}, {"name": "eth1", "network": "quiet"}]}),
        ),
    ];
    for object in &objects {
        cloud::apply(&admin, object).await?;
    }
    for name in ["web", "db"] {
        let servers = kube::Api::<nubium_api::Server>::default_namespaced(admin.clone());
        let ready = async || Ok(cloud::is_true(&serde_json::to_value(servers.get(name).await?)?, "Ready"));
        until(&format!("{name} runs"), ready).await?;
        println!("{} runs", servers.get(name).await?.name_any());
    }
    let objects = recorded::settled(&admin, &state).await?;
    let made = recorded::machine(&machine, &state).await?;
    running.shutdown().await;
    drop((admin, server));

    std::fs::create_dir_all(&folder)?;
    let copy = folder.join("store.db");
    if copy.exists() {
        std::fs::remove_file(&copy)?;
    }
    let database = rusqlite::Connection::open(state.join("store.db"))?;
    database.execute("VACUUM INTO ?1", [copy.to_str().context("the folder's name is text")?])?;
    let mut packed = GzEncoder::new(std::fs::File::create(folder.join("store.db.gz"))?, Compression::best());
    std::io::copy(&mut std::fs::File::open(&copy)?, &mut packed)?;
    packed.finish()?;
    std::fs::remove_file(&copy)?;
    std::fs::write(folder.join("objects.json"), serde_json::to_string_pretty(&objects)? + "\n")?;
    std::fs::write(folder.join("machine.txt"), made)?;
    std::fs::remove_dir_all(&state)?;
    Ok(())
}
