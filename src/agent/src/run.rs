//! Starts everything of an agent, and runs it until it is dropped.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::{Api, Client, ResourceExt};
use nubium_api::{Image, Network, Port, Server, StoragePool, Volume};
use nubium_host::acceleration::{Acceleration, Probe};
use nubium_host::image::{Fence, Folders, Rules};
use nubium_host::libvirt::private::{Layout, PrivateError, PrivateLibvirt};
use nubium_host::libvirt::{Connection, Libvirt, LibvirtError};
use nubium_host::network::LinuxNetworks;
use nubium_host::volume::sandbox::SandboxError;
use nubium_host::volume::{DirectoryPools, Owner};
use nubium_runtime::{Key, Queue, Recorder, Shared};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinError;
use uuid::Uuid;

use crate::endpoint::{self, EndpointError, Lookup};
use crate::network::{Netd, Readiness};
use crate::server::server_folder;
use crate::{Config, host, image, network, server, volume};

/// How long a guest may take to power off before it is turned off.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// Why an agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("make the folder {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("start the private libvirt")]
    Private(#[from] PrivateError),
    #[error("ask libvirt")]
    Libvirt(#[from] LibvirtError),
    #[error("prepare qemu-img")]
    Sandbox(#[from] SandboxError),
    #[error("read what the machine has")]
    Facts(#[source] io::Error),
    #[error("find the host's DNS servers")]
    Resolvers(#[from] nubium_host::network::NetworkError),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("a thread of the agent was lost")]
    Thread(#[from] JoinError),
}

/// The libvirt of this host, running: its own if there is one, else a private one.
pub(crate) async fn open_libvirt(config: &Config) -> Result<Libvirt, AgentError> {
    let private = PrivateLibvirt::new(Layout::new(config.libvirt()), &config.program);
    let opened = tokio::task::spawn_blocking(move || {
        let libvirt = Libvirt::choose(private);
        libvirt.ensure().map(|()| libvirt)
    });
    Ok(opened.await??)
}

/// Runs an agent until it is dropped. `client` is the identity of this host.
pub async fn run(client: Client, config: Config) -> Result<(), AgentError> {
    let config = Arc::new(config);
    for path in [config.state.clone(), config.servers(), config.pools(), config.run.clone()] {
        make_folder(&path).map_err(|source| AgentError::Folder { path, source })?;
    }
    let libvirt = open_libvirt(&config).await?;
    let (connection, woken) = Connection::new(libvirt.uri());
    let acceleration = find_acceleration(&config).await?;
    let facts = host::Facts::read().map_err(AgentError::Facts)?;
    let qemu = connection.qemu_ids().await?;
    let rules = Rules {
        folders: Folders(config.image_dirs.clone()),
        fence: Fence { allow: config.image_http_allow.clone(), ..Fence::default() },
        ..Rules::default()
    };
    let owner = Owner { uid: qemu.uid, gid: qemu.gid };
    let storage = Arc::new(DirectoryPools::new(config.pools(), owner, rules)?);
    let links = Arc::new(LinuxNetworks::new(config.state.clone()));
    let netd = Arc::new(Netd::new(&config.program, config.netd()));
    let recorder = Recorder::start(client.clone(), "nubium.dev/agent", &config.host);
    let readiness = Readiness::default();

    let mine = format!("status.host={}", config.host);
    let servers = Shared::builder(Api::<Server>::all(client.clone())).fields(&mine).start();
    let volumes = Shared::builder(Api::<Volume>::all(client.clone())).fields(&mine).start();
    let ports = Shared::builder(Api::<Port>::all(client.clone())).fields(&mine);
    let ports = ports.index(network::BY_NETWORK, |port| vec![network::network_of(port)]).start();
    let networks = Shared::builder(Api::<Network>::all(client.clone())).start();
    let images = Shared::builder(Api::<Image>::all(client.clone())).start();
    let pools = Shared::builder(Api::<StoragePool>::all(client.clone())).start();

    let door = door(&config, servers.clone()).await?;
    let queue = Queue::new();
    let settings = server::Settings {
        host: config.host.clone(),
        accelerator: acceleration.accelerator,
        qemu,
        folder: config.servers(),
        stop_deadline: STOP_DEADLINE,
    };
    let resolvers = nubium_host::network::resolvers()?;
    let reporter = host::Reporter {
        client: client.clone(),
        config: Arc::clone(&config),
        facts,
        acceleration,
        connection: connection.clone(),
        libvirt,
        servers: servers.clone(),
        volumes: volumes.clone(),
        networks: networks.clone(),
        pools: pools.clone(),
        links: Arc::clone(&links),
        storage: Arc::clone(&storage),
    };
    tokio::join!(
        async {
            match door {
                Some(door) => door.await,
                None => std::future::pending().await,
            }
        },
        host::beat(client.clone(), config.host.clone()),
        reporter.run(),
        wake(woken, servers.clone(), queue.clone()),
        image::run(image::Context {
            client: client.clone(),
            host: config.host.clone(),
            images: images.clone(),
            pools: pools.clone(),
            volumes: volumes.clone(),
            storage: Arc::clone(&storage),
            recorder: recorder.clone(),
        }),
        volume::run(volume::Context {
            client: client.clone(),
            host: config.host.clone(),
            volumes: volumes.clone(),
            images,
            pools: pools.clone(),
            storage: Arc::clone(&storage),
            recorder: recorder.clone(),
        }),
        network::run(network::Context {
            client: client.clone(),
            settings: network::Settings { host: config.host.clone(), transit: config.transit, resolvers },
            networks: networks.clone(),
            ports: ports.clone(),
            readiness: readiness.clone(),
            links: Arc::clone(&links),
            netd,
            recorder: recorder.clone(),
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
                libvirt: connection,
                links,
                storage,
                recorder,
                seeds: Mutex::new(HashMap::new()),
            },
            queue
        ),
    );
    Ok(())
}

/// A folder that others may pass through and not list.
fn make_folder(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o711))
}

async fn find_acceleration(config: &Config) -> Result<Acceleration, AgentError> {
    let wish = config.acceleration;
    Ok(tokio::task::spawn_blocking(move || Probe::default().find(wish)).await?)
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

/// Turns libvirt's events into keys.
async fn wake(mut woken: Receiver<Uuid>, servers: Shared<Server>, queue: Queue<Key>) {
    while let Some(uuid) = woken.recv().await {
        let uuid = uuid.to_string();
        for server in servers.list().iter().filter(|server| server.uid().as_deref() == Some(&uuid)) {
            queue.add(Key::of(server.as_ref()));
        }
    }
    // libvirt's connection holds the other end for as long as the agent runs.
    std::future::pending().await
}
