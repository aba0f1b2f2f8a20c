//! `nubium up`: API server, controllers and agent in one process, over one file.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client};
use nubium_agent::endpoint::Identity as DoorIdentity;
use nubium_agent::{EndpointConfig, Start};
use nubium_api::{ConditionStatus, Server, condition};
use nubium_apiserver::{ApiServer, Config, Identity};
use nubium_cli::seed;
use nubium_store::{AnyStore, SqliteStore};
use tokio::net::TcpListener;
use tracing::info;

use crate::agent::HostFlags;
use crate::controllers::CloudFlags;
use crate::pki::Pki;
use crate::signals::until_asked_to_end;
use crate::{install, state};

/// How long a store may take that nobody else uses.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nobody is answered, at most, while something of before is still said; it is taken back in a moment.
const TAKING_BACK: Duration = Duration::from_secs(5);

/// A whole cloud on this machine.
#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    host: HostFlags,
    #[command(flatten)]
    cloud: CloudFlags,
    /// Where the API server listens
    #[arg(long, default_value = "127.0.0.1:6443", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Where the agent answers for consoles, ssh and port-forward
    #[arg(long, default_value = "127.0.0.1:7445", value_name = "ADDRESS:PORT")]
    endpoint: SocketAddr,
}

pub async fn run(up: Up) -> Result<()> {
    let Up { host, cloud, listen, endpoint } = up;
    let name = host.name()?;
    let state = host.state.clone();
    let _held = state::hold(&state, &host.run)?;
    let begun = Timestamp::now();

    let pki = Pki::open(&state.join("pki"))?;
    let server = start_server(&state).await?;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let certificate = pki.authority().server(&names(&name, listen))?;
    let tls = pki.authority().server_config(&certificate)?;

    let client = |identity: Identity| Client::new(server.router_service().acting_as(identity), "default");
    let admin = client(Identity::admin("nubium"));
    install::definitions(&admin).await?;
    let home = std::env::var_os("HOME").map(std::path::PathBuf::from);
    install::first_objects(&admin, &seed::keys(&state, home.as_deref())?).await?;

    let (certificate, key) = pki.host(&name)?;
    let identity = DoorIdentity { ca: pki.ca(), certificate, key };
    let agent = host.config(Some(EndpointConfig { listen: endpoint, advertise: endpoint.to_string(), identity }))?;
    let own = client(Identity::host(&name));
    // Before anybody is answered: what the store says of the guests may be of before the machine's last boot.
    let start = tokio::time::timeout(PATIENCE, nubium_agent::begin(&own, &agent)).await;
    let start = start.context("cannot give up this host's Lease")?.context("the agent cannot begin")?;
    let kubeconfig = state.join("admin.kubeconfig");
    pki.admin_kubeconfig(&kubeconfig, &reachable(listen).to_string())?;
    info!(%listen, host = name, kubeconfig = %kubeconfig.display(), "nubium is up");

    let CloudFlags { host_access_allow } = cloud;
    let controllers = nubium_controllers::Config { instance: name.clone(), host_access_allow };
    let serve = async {
        if start == Start::Anew {
            let _ = tokio::time::timeout(TAKING_BACK, taken_back(&admin, &name, begun)).await;
        }
        server.serve_tls(listener, tls, until_asked_to_end()).await
    };
    tokio::select! {
        served = serve => {
            info!("nubium ends; guests go on");
            served.context("the API server cannot go on")
        }
        () = server.run_background() => Ok(()),
        () = nubium_controllers::run(admin.clone(), controllers) => Ok(()),
        done = nubium_agent::run(own, agent, start) => done.context("the agent cannot run"),
    }
}

async fn start_server(state: &Path) -> Result<ApiServer> {
    let path = state.join("store.db");
    let store = SqliteStore::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let config = Config::default();
    let namespaces = [config.namespaces, vec![nubium_api::HOSTS_NAMESPACE.to_owned()]].concat();
    Ok(ApiServer::start(AnyStore::new(store), Config { namespaces, store_file: Some(path), ..config }).await?)
}

/// Waits until no Server of this host is Ready by what was said before that time.
async fn taken_back(admin: &Client, host: &str, begun: Timestamp) {
    let servers: Api<Server> = Api::all(admin.clone());
    let here = ListParams::default().fields(&format!("status.host={host}"));
    let is_of_before = |server: &Server| {
        let conditions = server.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        condition(conditions, "Ready")
            .is_some_and(|ready| ready.status == ConditionStatus::True && ready.last_transition_time.0 < begun)
    };
    while servers.list(&here).await.is_ok_and(|all| all.iter().any(is_of_before)) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What the API server may be called.
fn names(host: &str, listen: SocketAddr) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned(), host.to_owned()];
    if !listen.ip().is_unspecified() && !listen.ip().is_loopback() {
        names.push(listen.ip().to_string());
    }
    names
}

/// An address of this machine that leads to `listen`.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen.ip().is_unspecified() {
        true => SocketAddr::from(([127, 0, 0, 1], listen.port())),
        false => listen,
    }
}
