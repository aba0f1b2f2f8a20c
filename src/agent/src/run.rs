//! Starts everything of an agent, and runs it until it is dropped.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::{Api, Client, ResourceExt};
use nubium_api::{CloudSettings, Image, Network, Port, Server, StoragePool, Volume};
use nubium_process::{TRAVERSABLE_FOLDER, make_folder};
use nubium_runtime::{Chain, Key, Queue, Recorder, Shared, WarnOnce};
use tokio::net::TcpListener;
use tracing::debug;

use crate::driver::{Driver, Linux};
use crate::endpoint::{self, EndpointError, Lookup};
use crate::error::AgentError;
use crate::network::Readiness;
use crate::server::server_folder;
use crate::{Config, Start, host, image, network, server, volume};

/// How long a guest may take to power off before it is turned off.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// How long an earlier agent's Lease may vouch for Servers that this one has not looked at.
const LOOK_LIMIT: Duration = Duration::from_secs(4);

/// How long to wait before the machine is tried again.
const OPEN_AGAIN: Duration = Duration::from_secs(3);

/// Runs the agent of this machine until it is dropped. `client` is the identity of this host; how it starts is what
/// [`begin`](crate::begin) said; `reports` says when all Servers here were reported on.
pub async fn run(
    client: Client,
    config: Config,
    start: Start,
    reports: server::StartupReports,
) -> Result<(), AgentError> {
    for path in [config.state.clone(), config.servers(), config.pools(), config.run.clone()] {
        make_folder(&path, TRAVERSABLE_FOLDER).map_err(|source| AgentError::Folder { path, source })?;
    }
    let unseen = disown_unseen(client.clone(), config.host.clone(), reports.clone());
    let work = async {
        let machine = open(&client, &config).await;
        run_on(client.clone(), config, start, reports, machine).await
    };
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => done,
        () = unseen => work.await,
    }
}

/// Gives the Lease up when the Servers here were not looked at soon: that of an earlier agent is still fresh, and vouches
/// for what may have died since.
async fn disown_unseen(client: Client, host: String, reports: server::StartupReports) {
    if tokio::time::timeout(LOOK_LIMIT, reports.none_left()).await.is_err() {
        host::release(client, &host).await;
    }
}

/// Opens this machine, however long that takes: a libvirt that is away or slow keeps nothing but guests waiting, and the
/// Host says what is amiss.
async fn open(client: &Client, config: &Config) -> Linux {
    let (key, warnings) = (Key::cluster(&config.host), WarnOnce::default());
    loop {
        let error = match Linux::open(config).await {
            Ok(machine) => return machine,
            Err(error) => format!("the agent cannot start: {}", Chain(&error)),
        };
        warnings.log(&key, Some(&error));
        if let Err(unsaid) = host::not_working(client, &config.host, error).await {
            debug!(error = %Chain(&unsaid), "cannot write the Host's status");
        }
        tokio::time::sleep(OPEN_AGAIN).await;
    }
}

/// Runs an agent over any machine until it is dropped.
pub async fn run_on<D: Driver>(
    client: Client,
    config: Config,
    start: Start,
    startup_reports: server::StartupReports,
    driver: D,
) -> Result<(), AgentError> {
    let (config, driver) = (Arc::new(config), Arc::new(driver));
    let facts = driver.facts().clone();
    let recorder = Recorder::start(client.clone(), "nubium.dev/agent", &config.host);
    let readiness = Readiness::default();

    let mine = format!("status.host={}", config.host);
    let servers = server::watch_servers(Shared::builder(Api::<Server>::all(client.clone())).fields(&mine)).start();
    let volumes = server::watch_volumes(Shared::builder(Api::<Volume>::all(client.clone())).fields(&mine));
    let volumes = volumes.index(volume::BY_IMAGE, volume::image_of).start();
    let ports = Shared::builder(Api::<Port>::all(client.clone())).fields(&mine);
    let ports = ports.index(network::BY_NETWORK, |port| vec![network::network_of(port)]).start();
    let networks = Shared::builder(Api::<Network>::all(client.clone())).start();
    let cloud_settings = Shared::builder(Api::<CloudSettings>::all(client.clone())).start();
    let images = Shared::builder(Api::<Image>::all(client.clone())).start();
    let pools = Shared::builder(Api::<StoragePool>::all(client.clone())).start();

    let door = door(&config, servers.clone()).await?;
    let queue = Queue::new();
    let settings = server::Settings {
        host: config.host.clone(),
        accelerator: facts.acceleration.accelerator,
        qemu: facts.qemu,
        folder: config.servers(),
        stop_deadline: STOP_DEADLINE,
    };
    let reporter = host::Reporter {
        client: client.clone(),
        config: Arc::clone(&config),
        driver: Arc::clone(&driver),
        servers: servers.clone(),
        volumes: volumes.clone(),
        networks: networks.clone(),
        pools: pools.clone(),
        start,
        startup_reports: startup_reports.clone(),
    };
    tokio::join!(
        async {
            match door {
                Some(door) => door.await,
                None => std::future::pending().await,
            }
        },
        host::beat(client.clone(), config.host.clone(), startup_reports.clone()),
        reporter.run(),
        wake(Arc::clone(&driver), servers.clone(), queue.clone()),
        image::run(image::Context {
            client: client.clone(),
            host: config.host.clone(),
            images: images.clone(),
            pools: pools.clone(),
            volumes: volumes.clone(),
            storage: Arc::clone(driver.pools()),
            recorder: recorder.clone(),
        }),
        volume::run(volume::Context {
            client: client.clone(),
            host: config.host.clone(),
            volumes: volumes.clone(),
            images,
            pools: pools.clone(),
            storage: Arc::clone(driver.pools()),
            recorder: recorder.clone(),
        }),
        network::run(network::Context {
            client: client.clone(),
            settings: network::Settings {
                host: config.host.clone(),
                transit: config.transit,
                api_server: config.api_server.clone(),
            },
            networks: networks.clone(),
            cloud_settings,
            ports: ports.clone(),
            readiness: readiness.clone(),
            driver: Arc::clone(&driver),
            recorder: recorder.clone(),
            warnings: WarnOnce::default(),
            unfinished: network::Unfinished::default(),
        }),
        server::run(
            server::Context {
                client,
                settings,
                servers,
                volumes,
                ports,
                networks,
                pools,
                readiness,
                driver,
                recorder,
                memory: server::Memory { startup_reports, ..server::Memory::default() },
            },
            queue
        ),
    );
    Ok(())
}

/// The endpoint, listening; what is given serves it.
async fn door(
    config: &Config,
    servers: Shared<Server>,
) -> Result<Option<impl Future<Output = ()> + use<>>, AgentError> {
    let Some(door) = &config.door else { return Ok(None) };
    let address: SocketAddr = door.listen;
    let tls = endpoint::tls(&door.identity)?;
    let listener = TcpListener::bind(address).await.map_err(|source| EndpointError::Listen { address, source })?;
    let root = config.servers();
    let consoles = move |server: &Server| -> PathBuf {
        let uid = server.uid().and_then(|uid| uid.parse().ok()).unwrap_or_default();
        let folder = server_folder(&root, &server.namespace().unwrap_or_default(), &server.name_any(), uid);
        folder.join("console.log")
    };
    Ok(Some(endpoint::serve(listener, tls, Arc::new(Lookup { servers, consoles: Arc::new(consoles) }))))
}

/// Turns what happens to domains into keys.
async fn wake(driver: Arc<impl Driver>, servers: Shared<Server>, queue: Queue<Key>) {
    loop {
        let uuid = driver.domain_event().await.to_string();
        for server in servers.by(server::BY_UID, &uuid) {
            queue.add(Key::of(server.as_ref()));
        }
    }
}
