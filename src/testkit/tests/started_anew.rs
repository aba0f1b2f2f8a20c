//! A machine is booted, or only its agent is restarted: what is reported of its Servers meanwhile. A real API server,
//! the real controllers and the real agent; only the machine is simulated.

#[path = "../benches/control_plane/cloud.rs"]
#[allow(dead_code, reason = "the bench begins all of it at once")]
mod cloud;
#[path = "../benches/control_plane/machine.rs"]
mod machine;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use http::{Method, Request, StatusCode};
use k8s_openapi::api::coordination::v1::Lease;
use kube::client::Body;
use kube::{Api, Client, ResourceExt};
use nubium_agent::{Start, StartupReports};
use nubium_api::{Condition, HOSTS_NAMESPACE, Host, Server, condition};
use nubium_apiserver::{ApiServer, Identity};
use nubium_host::libvirt::{DomainState, Domains, Off};
use nubium_testkit::domains::DomainVerb;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};
use tower::ServiceExt;

use cloud::{HOST, until};
use machine::SimMachine;

struct World {
    folder: TempDir,
    server: ApiServer,
    admin: Client,
    machine: SimMachine,
    /// Whether the API server refuses what the agent says of Servers.
    refusing: Arc<AtomicBool>,
    /// Controllers and agent.
    running: JoinSet<()>,
}

impl World {
    /// A cloud in which the Server `web` runs.
    async fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = cloud::serve(folder.path()).await?;
        let admin = Client::new(server.router_service().acting_as(Identity::admin("test")), "default");
        let (machine, refusing, running) = (cloud::machine(), Arc::default(), JoinSet::new());
        let mut world = Self { folder, server, admin, machine, refusing, running };
        ensure!(world.up().await? == Start::Anew);
        cloud::furnish(&world.admin).await?;
        let web = json!({
            "apiVersion": "nubium.dev/v1alpha1", "kind": "Server", "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "flavor": "nano",
                "disks": [{"name": "root", "image": "tiny"}],
                "nics": [{"name": "eth0", "network": "blue"}],
            },
        });
        cloud::apply(&world.admin, &web).await?;
        world.says("web runs", world.server("Ready"), "True/Running").await?;
        Ok(world)
    }

    /// Begins controllers and agent.
    async fn up(&mut self) -> Result<Start> {
        let (api, refusing) = (self.server.router_service().acting_as(Identity::host(HOST)), self.refusing.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let of_servers = request.method() == Method::PATCH && request.uri().path().contains("/servers/");
            let refused = of_servers && refusing.load(Ordering::Relaxed);
            let api = api.clone();
            async move {
                if !refused {
                    return api.oneshot(request).await;
                }
                let mut answer = api.oneshot(Request::new(Body::empty())).await?;
                *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                Ok(answer)
            }
        });
        let own = Client::new(service, "default");
        let config = cloud::agent_config(self.folder.path());
        let start = nubium_agent::begin(&own, &config).await?;
        let instance = HOST.to_owned();
        self.running.spawn(nubium_controllers::run(
            self.admin.clone(),
            nubium_controllers::Config { instance, ..Default::default() },
        ));
        let agent = nubium_agent::run_on(own, config, start, StartupReports::default(), self.machine.clone());
        self.running.spawn(async move { drop(agent.await) });
        Ok(start)
    }

    /// Controllers and agent are killed; guests run on.
    async fn kill(&mut self) {
        self.running.shutdown().await;
    }

    /// The machine is booted: no guest runs, and nothing is left in /run.
    async fn boot(&mut self) -> Result<()> {
        self.kill().await;
        std::fs::remove_dir_all(cloud::agent_config(self.folder.path()).run)?;
        for domain in self.machine.domains.list().await?.seen {
            self.machine.domains.set_state(domain.uuid, DomainState::Off(Off::Unknown));
        }
        Ok(())
    }

    fn server(&self, type_: &'static str) -> impl AsyncFn() -> Result<String> + use<> {
        let servers: Api<Server> = Api::default_namespaced(self.admin.clone());
        async move || Ok(said(&servers.get("web").await?.status.context("it has a status")?.conditions, type_))
    }

    fn host(&self, type_: &'static str) -> impl AsyncFn() -> Result<String> + use<> {
        let hosts: Api<Host> = Api::all(self.admin.clone());
        async move || Ok(said(&hosts.get(HOST).await?.status.context("it has a status")?.conditions, type_))
    }

    async fn says(&self, what: &str, look: impl AsyncFn() -> Result<String>, wanted: &str) -> Result<()> {
        until(what, async || Ok(look().await? == wanted)).await
    }

    async fn holder(&self) -> Result<Option<String>> {
        Ok(self.lease().await?.spec.and_then(|spec| spec.holder_identity))
    }

    async fn lease(&self) -> Result<Lease> {
        Ok(Api::<Lease>::namespaced(self.admin.clone(), HOSTS_NAMESPACE).get(HOST).await?)
    }

    /// The versions of the Server and of the Host.
    async fn versions(&self) -> Result<[Option<String>; 2]> {
        let web = Api::<Server>::default_namespaced(self.admin.clone()).get("web").await?;
        let host = Api::<Host>::all(self.admin.clone()).get(HOST).await?;
        Ok([web.resource_version(), host.resource_version()])
    }

    /// The versions when nothing has changed for longer than the agent takes between two reports of its Host.
    async fn settled(&self) -> Result<[Option<String>; 2]> {
        loop {
            let before = self.versions().await?;
            sleep(Duration::from_secs(6)).await;
            if self.versions().await? == before {
                return Ok(before);
            }
        }
    }

    async fn runs(&self) -> Result<bool> {
        Ok(self.machine.domains.list().await?.seen.iter().any(|domain| domain.state == DomainState::Running))
    }
}

/// A condition as `status/reason`.
fn said(conditions: &[Condition], type_: &str) -> String {
    condition(conditions, type_).map_or("nothing".to_owned(), |fact| format!("{:?}/{}", fact.status, fact.reason))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_boot_nobody_is_said_to_run_who_was_not_seen_to() -> Result<()> {
    let mut world = World::new().await?;
    world.boot().await?;
    assert_eq!(
        (world.server("Ready")().await?, world.runs().await?),
        ("True/Running".into(), false),
        "it is of before"
    );

    // What the first pass sees differs from what was said, and cannot be reported yet.
    (0..3).for_each(|_| world.machine.domains.fail(DomainVerb::Start));
    world.refusing.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    assert_eq!(world.up().await?, Start::Anew);
    world.says("web is unknown", world.server("Ready"), "Unknown/HostSilent").await?;
    println!("said to be unknown after {:?}", begun.elapsed());
    world.says("the host is unknown", world.host("Ready"), "Unknown/StartedAnew").await?;
    world.says("the host has not reported", world.host("ServersReported"), "False/Looking").await?;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(world.holder().await?, None, "nothing was reported of web");
    assert_eq!(world.server("Ready")().await?, "Unknown/HostSilent");

    world.refusing.store(false, Ordering::Relaxed);
    world.says("what failed is reported", world.server("Running"), "False/StepFailed").await?;
    world.says("the host has reported", world.host("ServersReported"), "True/Reported").await?;
    world.says("the host is ready", world.host("Ready"), "True/Ready").await?;
    assert_eq!(world.holder().await?.as_deref(), Some(HOST));
    world.says("web runs again", world.server("Ready"), "True/Running").await?;
    assert!(world.runs().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_only_restarted_changes_nothing() -> Result<()> {
    let mut world = World::new().await?;
    let before = world.settled().await?;
    let beat = world.lease().await?.resource_version();
    world.kill().await;
    assert_eq!(world.up().await?, Start::Again);
    until("its heart beats", async || Ok(world.lease().await?.resource_version() != beat)).await?;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(world.versions().await?, before);
    Ok(())
}
