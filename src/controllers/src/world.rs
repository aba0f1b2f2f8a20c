//! The caches that all controllers read: one watch per kind, and the controller that works for it.

use std::{fmt::Debug, sync::Arc};

use k8s_openapi::{NamespaceResourceScope, api::coordination::v1::Lease};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Preconditions},
};
use nubium_api::{DEFAULT_POOL, HOSTS_NAMESPACE, IPAddress, Kind, Port, Server, Volume};
use nubium_runtime::{Key, Recorder, Shared, SharedBuilder, not_found};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Config, addressed,
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
    /// Ports without an address by Network (key).
    pub const UNADDRESSED: &str = "unaddressed";
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

/// A kind that controllers read from a cache, and by whom it is worked for.
pub(crate) trait Controlled: Kind + Clone + Debug + Serialize + Send + Sync + 'static {
    /// The lookups of its cache: see [`by`].
    fn indexes(watch: SharedBuilder<Self>) -> SharedBuilder<Self> {
        watch
    }

    /// Runs passes for ever.
    async fn run(world: Arc<World>);
}

/// A kind with a cache in the [`World`].
pub(crate) trait Cached: Controlled {
    /// That cache.
    fn cache(world: &World) -> &Shared<Self>;
}

/// Makes the [`World`]. A line is a kind: the field with its cache, the start of its watch, and that of its controller.
macro_rules! world {
    ($($field:ident: $kind:ident,)*) => {
        /// Everything that controllers read.
        pub(crate) struct World {
            pub client: Client,
            pub recorder: Recorder,
            /// The configuration of the controllers.
            pub config: Config,
            $(pub $field: Shared<nubium_api::$kind>,)*
            pub leases: Shared<Lease>,
            /// When each host was heard of last.
            pub beats: Beats,
        }

        $(impl Cached for nubium_api::$kind {
            fn cache(world: &World) -> &Shared<Self> {
                &world.$field
            }
        })*

        impl World {
            /// Begins to watch, and waits until everything has been listed once.
            pub async fn watch(client: Client, recorder: Recorder, config: Config) -> Arc<Self> {
                let hosts = Api::namespaced(client.clone(), HOSTS_NAMESPACE);
                let world = Self {
                    $($field: nubium_api::$kind::indexes(watch(Api::all(client.clone()), &recorder)).start(),)*
                    leases: watch(hosts, &recorder).start(),
                    beats: Beats::default(),
                    client,
                    recorder,
                    config,
                };
                world.beats.follow(&world.leases);
                tokio::join!(world.leases.synced(), $(world.$field.synced(),)*);
                Arc::new(world)
            }

            /// Runs the controller of every kind for ever.
            pub async fn run(self: Arc<Self>) {
                tokio::join!($(nubium_api::$kind::run(self.clone()),)*);
            }
        }
    };
}

world! {
    servers: Server,
    ports: Port,
    addresses: IPAddress,
    ranges: AddressRange,
    networks: Network,
    volumes: Volume,
    images: Image,
    pools: StoragePool,
    flavors: Flavor,
    hosts: Host,
    settings: CloudSettings,
}

/// A watch. The controllers are the one process that says of an object that it cannot be read.
fn watch<K>(api: Api<K>, recorder: &Recorder) -> SharedBuilder<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    Shared::builder(api).report_unreadable(recorder.clone())
}

impl World {
    /// Whether a host may still have something: its object is there, or cannot be read, or its agent is alive all the same.
    /// To delete a Host says that the machine is lost; while it is heard of, it is not.
    pub fn host_may_hold(&self, host: &str) -> bool {
        let unreadable = || self.hosts.unreadable_in("").iter().any(|object| object.key().name == host);
        self.hosts.get(&Key::cluster(host)).is_some() || unreadable() || self.beats.is_alive(host)
    }

    /// The objects of a namespace that are there and cannot be read, in words: nobody knows what they use, so nothing that
    /// they may use is taken away.
    pub fn unreadable(&self, namespace: &str) -> Vec<String> {
        fn of<K: Cached>(world: &World, namespace: &str) -> Vec<String> {
            let all = K::cache(world).unreadable_in(namespace).into_iter();
            all.map(|object| format!("{} {}, which cannot be read,", K::kind(&()), object.key().name)).collect()
        }
        [of::<Server>, of::<Port>, of::<IPAddress>, of::<Volume>].map(|of| of(self, namespace)).concat()
    }

    /// Deletes the object of that key if it is still the one that `only` says. One that is gone is fine.
    pub async fn delete<K>(&self, key: &Key, only: Option<Preconditions>) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let params = DeleteParams { preconditions: only, ..DeleteParams::default() };
        match addressed::api::<K>(self.client.clone(), key).delete(&key.name, &params).await {
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

/// The UIDs of the Volumes and Ports that a Server's guest has a slot for.
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

/// The Port of each NIC of a Server, named or made.
pub(crate) fn port_keys(server: &Server) -> Vec<Key> {
    let here = Key::of(server);
    server.spec.nics.iter().map(|nic| here.beside(nic.port_name(&here.name))).collect()
}
