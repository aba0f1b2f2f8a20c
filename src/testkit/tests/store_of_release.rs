//! The store of an earlier release, opened by this one: every object says what it said, and the machine that is made for
//! them is the one that release had made. So there is nothing to do to it, and no guest is touched. `examples/record-store`
//! wrote it all.

#[path = "../benches/control_plane/cloud.rs"]
#[allow(dead_code, reason = "the bench begins all of it at once")]
mod cloud;
#[path = "../benches/control_plane/machine.rs"]
mod machine;
#[path = "store_of_release/recorded.rs"]
mod recorded;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;
use kube::{Api, Client};
use nubium_agent::StartupReports;
use nubium_api::{Quantity, Server};
use nubium_apiserver::Identity;
use nubium_host::storage::FileName;
use nubium_testkit::storage::SimPools;
use serde_json::Value;
use tokio::task::JoinSet;

use cloud::{HOST, until};
use machine::SimMachine;

fn recorded_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/store_of_release/first").join(name)
}

/// A machine with the files of that release's Images and Volumes, and nothing else.
fn machine_with_files(objects: &Value) -> Result<SimMachine> {
    let pools = SimPools::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let file = |name: &str, uid: &Value| FileName::new("default", name, &text(uid));
    let size = |quantity: &Value| Quantity(text(quantity)).bytes();
    let of = |kind: &str| objects[kind].as_object().cloned().unwrap_or_default();
    for (name, image) in of("Image") {
        pools.put_image(file(&name, &image["uid"])?, size(&image["status"]["size"])?);
    }
    for (name, volume) in of("Volume") {
        let image = volume["spec"]["image"].as_str().map(|image| file(image, &volume["status"]["imageUid"]));
        pools.put_volume(file(&name, &volume["uid"])?, size(&volume["status"]["capacity"])?, image.transpose()?);
    }
    Ok(SimMachine::new(pools))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_of_the_first_release_opens_and_nothing_is_done_to_its_machine() -> Result<()> {
    let state = tempfile::tempdir()?;
    let mut store = GzDecoder::new(std::fs::File::open(recorded_file("store.db.gz"))?);
    std::io::copy(&mut store, &mut std::fs::File::create(state.path().join("store.db"))?)?;
    let before: Value = serde_json::from_str(&std::fs::read_to_string(recorded_file("objects.json"))?)?;

    let server = cloud::serve(state.path()).await?;
    let admin = Client::new(server.router_service().acting_as(Identity::admin("nubium")), "default");
    let own = Client::new(server.router_service().acting_as(Identity::host(HOST)), "default");
    assert_eq!(recorded::objects(&admin, state.path()).await?, before, "as it is read, before anybody writes");

    let (machine, config) = (machine_with_files(&before)?, cloud::agent_config(state.path()));
    let start = nubium_agent::begin(&own, &config).await?;
    let mut running = JoinSet::new();
    let controllers = nubium_controllers::Config { instance: HOST.to_owned(), ..Default::default() };
    running.spawn(nubium_controllers::run(admin.clone(), controllers));
    let agent = nubium_agent::run_on(own, config, start, StartupReports::default(), machine.clone());
    running.spawn(async move { drop(agent.await) });
    let servers: Api<Server> = Api::default_namespaced(admin.clone());
    for name in ["web", "db"] {
        let starts = async || {
            let uid = servers.get(name).await?.metadata.uid.context("it has a UID")?.parse()?;
            Ok(machine.domains.starts(uid) > 0)
        };
        until(&format!("{name} is started"), starts).await?;
    }
    let mut after = recorded::settled(&admin, state.path()).await?;
    for network in after["Network"].as_object_mut().into_iter().flat_map(|networks| networks.values_mut()) {
        let given = network["status"].as_object_mut().and_then(|status| status.remove("subnets"));
        let given = given.context("every Network is given a range")?;
        assert_eq!(given[0]["cidr"], network["spec"]["subnets"][0]["cidr"], "that release said it in the spec alone");
    }
    assert_eq!(after, before, "when all of it was looked at");
    let made = recorded::machine(&machine, state.path()).await?;
    let recorded = std::fs::read_to_string(recorded_file("machine.txt"))?;
    let differs = made.lines().zip(recorded.lines()).find(|(made, recorded)| made != recorded);
    assert!(made == recorded, "the machine is another one: {differs:?}");
    Ok(())
}
