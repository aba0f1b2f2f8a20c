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
use nubium_agent::{EndpointConfig, Start, StartupReports};
use nubium_api::contract::{DEPRECATED_FIELDS, host_policy};
use nubium_api::{Condition, ConditionStatus, Server, condition};
use nubium_apiserver::{ApiServer, Config, FieldWarning, Identity, Policy};
use nubium_cli::seed;
use nubium_store::{AnyStore, Options, SqliteStore};
use tokio::net::TcpListener;
use tracing::info;

use crate::agent::HostFlags;
use crate::controllers::CloudFlags;
use crate::pki::Pki;
use crate::signals::until_asked_to_end;
use crate::{install, state};

/// How long a write to our own API server may take before anybody else is served.
const LEASE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest delay before serving while Ready conditions of an earlier run may be stale.
const SETTLING: Duration = Duration::from_secs(6);

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
    /// Start although objects in the store are damaged, without them; their bytes are kept in the store's table "damaged"
    #[arg(long)]
    drop_damaged: bool,
}

pub async fn run(up: Up) -> Result<()> {
    let Up { host, cloud, listen, endpoint, drop_damaged } = up;
    let name = host.name()?;
    let state = host.state.clone();
    let _held = state::hold(&state, &host.run)?;
    let begun = Timestamp::now();

    let pki = Pki::open(&state.join("pki"))?;
    let server = start_server(&state, drop_damaged).await?;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let certificate = pki.authority().server(&names(&name, listen))?;
    let tls = pki.authority().server_config(&certificate)?;

    let client =
        |identity: Identity, part| Client::new(server.router_service().acting_as(identity).called_by(part), "default");
    let admin = client(Identity::admin("nubium"), "nubium-up");
    install::definitions(&admin).await?;
    let home = std::env::var_os("HOME").map(std::path::PathBuf::from);
    install::first_objects(&admin, &seed::keys(&state, home.as_deref())?).await?;

    let (certificate, key) = pki.host(&name)?;
    let identity = DoorIdentity { ca: pki.ca(), certificate, key };
    let agent = host.config(Some(EndpointConfig { listen: endpoint, advertise: endpoint.to_string(), identity }))?;
    let own = client(Identity::host(&name), "nubium-agent");
    // Before anybody is served: the conditions in the store may be older than the machine's last boot.
    let start = tokio::time::timeout(LEASE_TIMEOUT, nubium_agent::begin(&own, &agent)).await;
    let start = start.context("cannot give up this host's Lease")?.context("the agent cannot begin")?;
    let kubeconfig = state.join("admin.kubeconfig");
    pki.admin_kubeconfig(&kubeconfig, &reachable(listen).to_string())?;
    info!(%listen, host = name, kubeconfig = %kubeconfig.display(), "nubium is up");

    let CloudFlags { host_access_allow, allocate_from } = cloud;
    let controllers = nubium_controllers::Config { instance: name.clone(), host_access_allow, allocate_from };
    let reports = StartupReports::default();
    let serve = async {
        let settled = async {
            match start {
                Start::Anew => until_reset(&admin, &name, begun).await,
                Start::Again => until_seen(&admin, &name, begun, &reports).await,
            }
        };
        let _ = tokio::time::timeout(SETTLING, settled).await;
        server.serve_tls(listener, tls, until_asked_to_end()).await
    };
    tokio::select! {
        served = serve => {
            info!("nubium ends; guests go on");
            served.context("the API server cannot go on")
        }
        () = server.run_background() => Ok(()),
        () = nubium_controllers::run(client(Identity::admin("nubium"), "nubium-controllers"), controllers) => Ok(()),
        done = nubium_agent::run(own, agent, start, reports.clone()) => done.context("the agent cannot run"),
    }
}

async fn start_server(state: &Path, drop_damaged: bool) -> Result<ApiServer> {
    let path = state.join("store.db");
    let store = SqliteStore::open_with(&path, Options { drop_damaged, ..Options::default() })
        .with_context(|| format!("cannot open {}", path.display()))?;
    let config = Config::default();
    let namespaces = [config.namespaces, vec![nubium_api::HOSTS_NAMESPACE.to_owned()]].concat();
    let field_warnings = DEPRECATED_FIELDS.iter().map(|field| FieldWarning {
        group: nubium_api::GROUP.to_owned(),
        resource: field.resource.to_owned(),
        path: field.path.to_owned(),
        text: field.warning(),
    });
    let field_warnings = field_warnings.collect();
    let policy = Policy::of(&host_policy()).context("the policy of hosts is not one that the API server knows")?;
    let config = Config { namespaces, store_file: Some(path), field_warnings, policy, ..config };
    Ok(ApiServer::start(AnyStore::new(store), config).await?)
}

/// Waits until no Server of this host has a Ready=True from before that time.
async fn until_reset(admin: &Client, host: &str, begun: Timestamp) {
    until_none(admin, host, |server| was_ready(conditions(server), begun)).await;
}

/// Waits until the agent has looked at every Server of this host, and those that it found dead are no longer Ready; or
/// until it has given the Lease up, as it does when it cannot look.
async fn until_seen(admin: &Client, host: &str, begun: Timestamp, reports: &StartupReports) {
    let seen = async {
        reports.none_left().await;
        until_none(admin, host, |server| is_contradicted(conditions(server), begun)).await;
    };
    tokio::select! {
        () = seen => {}
        () = until_reset(admin, host, begun) => {}
    }
}

async fn until_none(admin: &Client, host: &str, stale: impl Fn(&Server) -> bool) {
    let servers: Api<Server> = Api::all(admin.clone());
    let here = ListParams::default().fields(&format!("status.host={host}"));
    while servers.list(&here).await.is_ok_and(|all| all.iter().any(&stale)) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn conditions(server: &Server) -> &[Condition] {
    server.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
}

fn was_ready(conditions: &[Condition], begun: Timestamp) -> bool {
    condition(conditions, "Ready")
        .is_some_and(|ready| ready.status == ConditionStatus::True && ready.last_transition_time.0 < begun)
}

/// Whether Ready=True is from before, and the agent has written since that the guest does not run.
fn is_contradicted(conditions: &[Condition], begun: Timestamp) -> bool {
    // Conditions have whole seconds.
    let begun = Timestamp::from_second(begun.as_second()).unwrap_or(begun);
    let stopped = condition(conditions, "Running")
        .is_some_and(|running| running.status != ConditionStatus::True && running.last_transition_time.0 >= begun);
    stopped && was_ready(conditions, begun)
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

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn a_ready_that_the_agent_contradicts_is_stale() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let said = |type_: &str, status, second| Condition {
            type_: type_.into(),
            status,
            observed_generation: None,
            last_transition_time: Time(at(second)),
            reason: "Test".into(),
            message: String::new(),
        };
        let begun = at(100).checked_add(k8s_openapi::jiff::SignedDuration::from_millis(700)).unwrap();
        let stale = |ready, running| is_contradicted(&[ready, running], begun);
        let (yes, no) = (ConditionStatus::True, ConditionStatus::False);
        assert!(stale(said("Ready", yes, 50), said("Running", no, 100)), "in the same second");
        assert!(!stale(said("Ready", no, 101), said("Running", no, 100)), "it was reset");
        assert!(!stale(said("Ready", yes, 50), said("Running", no, 60)), "Stopped, as it was asked to be");
        assert!(!stale(said("Ready", yes, 50), said("Running", yes, 40)), "it runs on");
        assert!(!is_contradicted(&[], begun));
    }
}
