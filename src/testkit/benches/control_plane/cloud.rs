//! A whole cloud in this process, wired as `nubium up` wires it, over a store on disk. Only the machine is simulated.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use nubium_agent::Driver;
use nubium_apiserver::{ApiServer, Config, Identity, Policy};
use nubium_host::acceleration::Mode;
use nubium_store::{AnyStore, SqliteStore};
use nubium_testkit::storage::{SimPools, SimSource};
use serde_json::{Value, json};

use crate::machine::SimMachine;

/// The one Host.
pub const HOST: &str = "bench";
const TIMEOUT: Duration = Duration::from_secs(30);
const IMAGE_FILE: &str = "tiny.qcow2";

/// Begins it over that machine; it runs until the process ends. What is given is its admin.
pub async fn start(state: &Path, machine: impl Driver) -> Result<Client> {
    let server = serve(state).await?;
    let client = |identity| Client::new(server.router_service().acting_as(identity), "default");
    let admin = client(Identity::admin("nubium"));
    let background = server.clone();
    tokio::spawn(async move { background.run_background().await });
    tokio::spawn(nubium_controllers::run(
        admin.clone(),
        nubium_controllers::Config { instance: HOST.to_owned(), ..Default::default() },
    ));
    let (own, config) = (client(Identity::host(HOST)), agent_config(state));
    let begun = nubium_agent::begin(&own, &config).await?;
    let agent = nubium_agent::run_on(own, config, begun, nubium_agent::StartupReports::default(), machine);
    tokio::spawn(async move {
        if let Err(error) = agent.await {
            eprintln!("the agent ended: {error}");
        }
    });
    Ok(admin)
}

/// An API server over a store in that folder, whose kinds are served.
pub async fn serve(state: &Path) -> Result<ApiServer> {
    let store = SqliteStore::open(&state.join("store.db")).context("open the store")?;
    let config = Config::default();
    let namespaces = [config.namespaces, vec![nubium_api::HOSTS_NAMESPACE.to_owned()]].concat();
    let server = ApiServer::start(
        AnyStore::new(store),
        Config { namespaces, policy: Policy::of(&nubium_api::contract::host_policy())?, ..config },
    )
    .await?;
    define(&Client::new(server.router_service().acting_as(Identity::admin("nubium")), "default")).await?;
    Ok(server)
}

/// A machine on which nothing was done yet.
pub fn machine() -> SimMachine {
    SimMachine::new(pools())
}

/// Empty pools, and the file of the Image.
pub fn pools() -> SimPools {
    let pools = SimPools::new();
    pools.put_source(IMAGE_FILE, SimSource::Good { virtual_size: 1 << 30 });
    pools
}

pub fn agent_config(state: &Path) -> nubium_agent::Config {
    nubium_agent::Config {
        host: HOST.to_owned(),
        state: state.to_owned(),
        run: state.join("run"),
        program: PathBuf::new(),
        image_dirs: Vec::new(),
        pool_dirs: Vec::new(),
        image_http_allow: Vec::new(),
        transit: nubium_host::network::transit::DEFAULT_CIDR,
        api_server: Vec::new(),
        acceleration: Mode::Tcg,
        door: None,
    }
}

/// Applies the definitions of our kinds, and waits until they are served.
async fn define(client: &Client) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in nubium_api::crds() {
        let name = crd["metadata"]["name"].as_str().context("a definition has a name")?.to_owned();
        api.patch(&name, &PatchParams::apply(HOST).force(), &Patch::Apply(&crd)).await?;
    }
    let established = |crd: &CustomResourceDefinition| {
        let conditions = crd.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Established" && one.status == "True"))
    };
    until("the kinds are served", async || Ok(api.list(&Default::default()).await?.iter().all(established))).await
}

/// What the Servers need: a size, a pool, a Network `blue`, an Image, a ConfigMap with a key. Waits until all are Ready.
pub async fn furnish(client: &Client) -> Result<()> {
    furnish_with(client, &[("blue".to_owned(), "10.10.0.0/20".to_owned())]).await
}

/// The same with Networks of these names and ranges.
pub async fn furnish_with(client: &Client, networks: &[(String, String)]) -> Result<()> {
    let ours = |kind: &str, name: &str, namespace: Option<&str>, spec: Value| json!({"apiVersion": "nubium.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec});
    let mut objects = vec![
        ours("Flavor", "nano", None, json!({"cpu": 1, "memory": "256Mi"})),
        ours("StoragePool", "default", None, json!({"directory": {}})),
        ours("Image", "tiny", Some("default"), json!({"source": {"file": {"path": IMAGE_FILE}}})),
    ];
    let network = |(name, range): &(String, String)| {
        ours("Network", name, Some("default"), json!({"subnets": [{"name": "v4", "cidr": range}]}))
    };
    objects.extend(networks.iter().map(network));
    for object in &objects {
        apply(client, object).await?;
    }
    let keys = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ssh-keys", "namespace": "default"},
        "data": {"me": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBench me@example"}});
    apply(client, &keys).await?;
    let host = ours("Host", HOST, None, Value::Null);
    for object in objects.iter().chain([&host]) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let api = api_of(client, object)?;
        let ready = async || Ok(api.get_opt(name).await?.is_some_and(|seen| is_true(&seen.data, "Ready")));
        until(&format!("{} {name} is Ready", object["kind"]), ready).await?;
    }
    Ok(())
}

/// Applies an object as a person does, field ownership and all.
pub async fn apply(client: &Client, object: &Value) -> Result<DynamicObject> {
    let name = object["metadata"]["name"].as_str().context("an object has a name")?;
    let applied = api_of(client, object)?.patch(name, &PatchParams::apply("kubectl"), &Patch::Apply(object)).await;
    applied.with_context(|| format!("apply {} {name}", object["kind"]))
}

/// Whether that condition is True in the object.
pub fn is_true(object: &Value, condition: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|one| one["type"] == condition && one["status"] == "True")
}

fn api_of(client: &Client, object: &Value) -> Result<Api<DynamicObject>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, version) = match object["apiVersion"].as_str().unwrap_or_default().split_once('/') {
        Some((group, version)) => (group.to_owned(), version.to_owned()),
        None => (String::new(), text(&object["apiVersion"])),
    };
    let resource = ApiResource::from_gvk(&GroupVersionKind { group, version, kind: text(&object["kind"]) });
    Ok(match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    })
}

/// Waits until that holds, and not without end.
pub async fn until(what: &str, holds: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    while !holds().await? {
        if tokio::time::Instant::now() > deadline {
            bail!("not after {TIMEOUT:?}: {what}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
