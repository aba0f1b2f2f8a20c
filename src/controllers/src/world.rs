//! The caches that all controllers read, and their indexes. One watch per kind.

use std::{fmt::Debug, sync::Arc};

use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope, api::coordination::v1::Lease};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Preconditions},
};
use nubium_api::{
    AddressRange, CloudSettings, DEFAULT_POOL, Flavor, HOSTS_NAMESPACE, Host, IPAddress, Image, Network, Port, Server,
    StoragePool, Volume,
};
use nubium_runtime::{Key, Recorder, Shared, SharedBuilder, not_found};
use serde::de::DeserializeOwned;

use crate::{
    error::{Error, calling},
    heartbeat::Beats,
};

/// The names of the indexes. The value is a key (`namespace/name`), a name or a UID, as said.
pub(crate) mod by {
    /// Servers by the Host they are bound to (name).
    pub const HOST: &str = "host";
    /// Servers by every Volume they name or make (key).
    pub const VOLUME: &str = "volume";
    /// Servers by every Port they name or make (key); IPAddresses by their Port (key).
    pub const PORT: &str = "port";
    /// Servers by every Volume and Port that their guest has a slot for (UID).
    pub const DEVICE: &str = "device";
    /// Ports by their own UID.
    pub const UID: &str = "uid";
    /// Servers, Ports and IPAddresses by Network (key).
    pub const NETWORK: &str = "network";
    /// AddressRanges by their Network (UID).
    pub const NETWORK_UID: &str = "network-uid";
    /// Servers and Volumes by Image (key).
    pub const IMAGE: &str = "image";
    /// Volumes by the Image they depend on (UID).
    pub const IMAGE_UID: &str = "image-uid";
    /// Servers by Flavor (name).
    pub const FLAVOR: &str = "flavor";
    /// Ports and Volumes by the Server they were made for (UID).
    pub const MADE_FOR: &str = "made-for";
    /// Volumes by StoragePool (name).
    pub const POOL: &str = "pool";
}

/// Everything that controllers read.
pub(crate) struct World {
    pub client: Client,
    pub recorder: Recorder,
    pub servers: Shared<Server>,
    pub ports: Shared<Port>,
    pub addresses: Shared<IPAddress>,
    pub ranges: Shared<AddressRange>,
    pub networks: Shared<Network>,
    pub volumes: Shared<Volume>,
    pub images: Shared<Image>,
    pub pools: Shared<StoragePool>,
    pub flavors: Shared<Flavor>,
    pub hosts: Shared<Host>,
    pub leases: Shared<Lease>,
    pub settings: Shared<CloudSettings>,
    /// When each host was heard of last.
    pub beats: Beats,
}

/// Makes the watches. The controllers are the one process that says of an object that it cannot be read.
struct Watched {
    client: Client,
    recorder: Recorder,
}

impl Watched {
    fn all<K: Kind>(&self) -> SharedBuilder<K> {
        Shared::builder(Api::all(self.client.clone())).report_unreadable(self.recorder.clone())
    }

    fn in_namespace<K: Kind + Resource<Scope = NamespaceResourceScope>>(&self, namespace: &str) -> SharedBuilder<K> {
        Shared::builder(Api::namespaced(self.client.clone(), namespace)).report_unreadable(self.recorder.clone())
    }
}

/// What a watch asks of a kind.
trait Kind: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static {}

impl<K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static> Kind for K {}

impl World {
    /// Begins to watch, and waits until everything has been listed once.
    pub async fn watch(client: Client, recorder: Recorder) -> Arc<Self> {
        let shared = Watched { client: client.clone(), recorder: recorder.clone() };
        let servers = shared
            .all::<Server>()
            .index(by::HOST, |server| server.status.iter().filter_map(|status| status.host.clone()).collect())
            .index(by::VOLUME, |server| volume_keys(server).iter().map(Key::to_string).collect())
            .index(by::PORT, |server| port_keys(server).iter().map(Key::to_string).collect())
            .index(by::DEVICE, device_uids)
            .index(by::NETWORK, |server| {
                let here = Key::of(server);
                server.spec.nics.iter().filter_map(|nic| Some(here.beside(nic.network.clone()?).to_string())).collect()
            })
            .index(by::IMAGE, |server| {
                let here = Key::of(server);
                server.spec.disks.iter().filter_map(|disk| Some(here.beside(disk.image.clone()?).to_string())).collect()
            })
            .index(by::FLAVOR, |server| server.spec.flavor.iter().cloned().collect())
            .start();
        let ports = shared
            .all::<Port>()
            .index(by::NETWORK, |port| vec![Key::of(port).beside(port.spec.network.clone()).to_string()])
            .index(by::MADE_FOR, |port| port.spec.made_for.iter().map(|made| made.uid.clone()).collect())
            .index(by::UID, |port| port.metadata.uid.iter().cloned().collect())
            .start();
        let addresses = shared
            .all::<IPAddress>()
            .index(by::NETWORK, |claim| vec![Key::of(claim).beside(claim.spec.network.clone()).to_string()])
            .index(by::PORT, |claim| vec![Key::of(claim).beside(claim.spec.port.clone()).to_string()])
            .start();
        let volumes = shared
            .all::<Volume>()
            .index(by::IMAGE, |volume| {
                volume.spec.image.iter().map(|image| Key::of(volume).beside(image.clone()).to_string()).collect()
            })
            .index(by::IMAGE_UID, |volume| volume.status.iter().filter_map(|status| status.image_uid.clone()).collect())
            .index(by::MADE_FOR, |volume| volume.spec.made_for.iter().map(|made| made.uid.clone()).collect())
            .index(by::POOL, |volume| vec![pool_name(volume.spec.pool.as_ref())])
            .start();
        let world = Self {
            servers,
            ports,
            addresses,
            volumes,
            ranges: shared
                .all()
                .index(by::NETWORK_UID, |claim: &AddressRange| vec![claim.spec.network_uid.clone()])
                .start(),
            networks: shared.all().start(),
            images: shared.all().start(),
            pools: shared.all().start(),
            flavors: shared.all().start(),
            hosts: shared.all().start(),
            settings: shared.all().start(),
            leases: shared.in_namespace(HOSTS_NAMESPACE).start(),
            client,
            recorder,
            beats: Beats::default(),
        };
        world.beats.follow(&world.leases);
        tokio::join!(
            world.servers.synced(),
            world.ports.synced(),
            world.addresses.synced(),
            world.ranges.synced(),
            world.networks.synced(),
            world.volumes.synced(),
            world.images.synced(),
            world.pools.synced(),
            world.flavors.synced(),
            world.hosts.synced(),
            world.leases.synced(),
            world.settings.synced(),
        );
        Arc::new(world)
    }

    /// Whether a host may still have something: its object is there, or cannot be read, or its agent is alive all the same.
    /// To delete a Host says that the machine is lost; while it is heard of, it is not.
    pub fn host_may_hold(&self, host: &str) -> bool {
        let unreadable = || self.hosts.unreadable_in("").iter().any(|object| object.key().name == host);
        self.hosts.get(&Key::cluster(host)).is_some() || unreadable() || self.beats.is_alive(host)
    }

    /// The objects of a namespace that are there and cannot be read, in words: nobody knows what they use, so nothing that
    /// they may use is taken away.
    pub fn unreadable(&self, namespace: &str) -> Vec<String> {
        fn of<K: Kind>(kind: &Shared<K>, namespace: &str) -> Vec<String> {
            let all = kind.unreadable_in(namespace).into_iter();
            all.map(|object| format!("{} {}, which cannot be read,", K::kind(&()), object.key().name)).collect()
        }
        let Self { servers, ports, addresses, volumes, .. } = self;
        [of(servers, namespace), of(ports, namespace), of(addresses, namespace), of(volumes, namespace)].concat()
    }

    /// Deletes the object of that key if it is still the one that `only` says. One that is gone is fine.
    pub async fn delete<K>(&self, key: &Key, only: Option<Preconditions>) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let params = DeleteParams { preconditions: only, ..DeleteParams::default() };
        match self.api::<K>(key).delete(&key.name, &params).await {
            Ok(_) => Ok(()),
            Err(error) if not_found(&error) => Ok(()),
            Err(error) => Err(calling::<K>("delete", key)(error)),
        }
    }

    /// As [`World::delete`], of a kind of the whole cluster.
    pub async fn delete_cluster_wide<K>(&self, key: &Key, only: Option<Preconditions>) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let params = DeleteParams { preconditions: only, ..DeleteParams::default() };
        match Api::<K>::all(self.client.clone()).delete(&key.name, &params).await {
            Ok(_) => Ok(()),
            Err(error) if not_found(&error) => Ok(()),
            Err(error) => Err(calling::<K>("delete", key)(error)),
        }
    }

    /// The API of a kind in that key's namespace.
    pub fn api<K>(&self, key: &Key) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &key.namespace)
    }
}

/// That very object, whatever its version.
pub(crate) fn of_uid(uid: Option<String>) -> Option<Preconditions> {
    Some(Preconditions { uid, resource_version: None })
}

/// The pool that is meant.
pub(crate) fn pool_name(pool: Option<&String>) -> String {
    pool.cloned().unwrap_or_else(|| DEFAULT_POOL.to_owned())
}

/// The Volume of each disk of a Server, named or made.
pub(crate) fn volume_keys(server: &Server) -> Vec<Key> {
    let here = Key::of(server);
    server.spec.disks.iter().map(|disk| here.beside(disk.volume_name(&here.name))).collect()
}

/// The Port of each NIC of a Server, named or made.
pub(crate) fn device_uids(server: &Server) -> Vec<String> {
    let devices = server.status.as_ref().map_or(&[][..], |status| &status.devices);
    devices.iter().map(|device| device.uid.clone()).collect()
}

/// The Servers that may use a Port: those that name it, and those whose guest has it.
pub(crate) fn port_candidates(servers: &Shared<Server>, port: &Port) -> Vec<Arc<Server>> {
    let mut found = servers.by(by::PORT, &Key::of(port).to_string());
    let having = port.metadata.uid.iter().flat_map(|uid| servers.by(by::DEVICE, uid));
    for server in having.collect::<Vec<_>>() {
        if found.iter().all(|known| known.metadata.uid != server.metadata.uid) {
            found.push(server);
        }
    }
    found
}

pub(crate) fn port_keys(server: &Server) -> Vec<Key> {
    let here = Key::of(server);
    server.spec.nics.iter().map(|nic| here.beside(nic.port_name(&here.name))).collect()
}
