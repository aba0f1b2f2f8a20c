//! Reads what one Server refers to: caches, and for the seed the ConfigMaps and the Secret themselves.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::{OptionFuture, join_all};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Resource, ResourceExt};
use nubium_api::{
    CloudInit, ConditionStatus, Flavor, Host, Image, Network, Port, Server, StoragePool, Volume, condition,
    contract::{self, seed_name},
    host_namespace,
};
use nubium_runtime::{Key, has_finalizer};

use super::awaited::{MissingSource, SourceKind};
use crate::{
    error::{Error, calling},
    users::{host_of, is_released, made_for, port_users, terminating, volume_users},
    world::{World, by, pool_name, port_candidates, port_keys, volume_keys},
};

/// A Server and all that it refers to, as of one moment.
pub(super) struct Gathered {
    pub server: Arc<Server>,
    pub flavor: Option<Arc<Flavor>>,
    /// By disk name: the Volume of that disk's name, whoever made it, and the Server whose turn it is to use it.
    pub volumes: BTreeMap<String, (Arc<Volume>, Option<String>)>,
    /// By NIC name: the Port, and the Server whose turn it is to use it.
    pub ports: BTreeMap<String, (Arc<Port>, Option<String>)>,
    /// By name, those of the Networks, Images and pools named here that are there.
    pub networks: BTreeMap<String, Arc<Network>>,
    pub images: BTreeMap<String, Arc<Image>>,
    pub pools: BTreeMap<String, Arc<StoragePool>>,
    /// Everything that carries this Server's mark, also for disks and NICs that it no longer has.
    pub made_volumes: Vec<Arc<Volume>>,
    pub made_ports: Vec<Arc<Port>>,
    pub host: Bound,
    pub seed: Seed,
}

/// Where a Server is bound to, and whether that Host can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    Nowhere,
    /// The Host answers.
    To(String),
    /// The Host's heartbeat stopped.
    ToSilent(String),
    /// Looked for live, the Host object is no more: its admin declared the machine gone.
    ToNoMore(String),
}

/// What a Server's seed takes from other objects.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sources {
    /// Values of the ConfigMaps: keys, one or several lines each.
    pub keys: Vec<String>,
    /// From the Secret.
    pub user_data: Option<Vec<u8>>,
}

/// How far the seed is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Seed {
    /// No host needs one yet, or any more.
    NotNeeded,
    /// It is in the host's namespace, rendered from the cloudInit of this digest (None: nobody wrote it down).
    There(Option<String>),
    /// It can be rendered from these.
    From(Sources),
    /// These of its sources are missing.
    Missing(Vec<MissingSource>),
}

impl Seed {
    pub fn missing(&self) -> &[MissingSource] {
        match self {
            Self::Missing(sources) => sources,
            Self::NotNeeded | Self::There(_) | Self::From(_) => &[],
        }
    }
}

/// `seeded`: the seed was seen already.
pub(super) async fn gather(world: &World, server: Arc<Server>, seeded: Option<Seed>) -> Result<Gathered, Error> {
    let key = Key::of(server.as_ref());
    let uid = server.uid().unwrap_or_default();
    let mut volumes = BTreeMap::new();
    for (disk, volume_key) in server.spec.disks.iter().zip(volume_keys(&server)) {
        if let Some(volume) = world.volumes.get(&volume_key) {
            let users = volume_users(&volume, world.servers.by(by::VOLUME, &volume_key.to_string()));
            let first = users.first().map(|user| user.name_any());
            volumes.insert(disk.name.clone(), (volume, first));
        }
    }
    let mut ports = BTreeMap::new();
    for (nic, port_key) in server.spec.nics.iter().zip(port_keys(&server)) {
        if let Some(port) = world.ports.get(&port_key) {
            let users = port_users(&port, port_candidates(&world.servers, &port));
            let first = users.first().map(|user| user.name_any());
            ports.insert(nic.name.clone(), (port, first));
        }
    }
    let networks = server.spec.nics.iter().filter_map(|nic| nic.network.clone());
    let named_ports = ports.values().map(|(port, _)| port.spec.network.clone());
    let networks =
        networks.chain(named_ports).filter_map(|name| Some((name.clone(), world.networks.get(&key.beside(name))?)));
    let images = server.spec.disks.iter().filter_map(|disk| disk.image.clone());
    let images = images.filter_map(|name| Some((name.clone(), world.images.get(&key.beside(name))?)));
    let pools = server.spec.disks.iter().map(|disk| pool_name(disk.pool.as_ref()));
    let pools = pools.filter_map(|name| Some((name.clone(), world.pools.get(&Key::cluster(name))?)));
    let host = bound(world, &server).await?;
    let mut seen = Gathered {
        flavor: server.spec.flavor.as_ref().and_then(|name| world.flavors.get(&Key::cluster(name.clone()))),
        networks: networks.collect(),
        images: images.collect(),
        pools: pools.collect(),
        made_volumes: world.volumes.by(by::MADE_FOR, &uid),
        made_ports: world.ports.by(by::MADE_FOR, &uid),
        volumes,
        ports,
        host,
        seed: seeded.clone().unwrap_or(Seed::NotNeeded),
        server,
    };
    let unbound = matches!(seen.host, Bound::Nowhere | Bound::ToNoMore(_));
    if terminating(seen.server.as_ref())
        && has_finalizer(seen.server.as_ref(), Server::FINALIZER)
        && (unbound || is_released(&seen.server))
    {
        let server = seen.server.clone();
        let disks = server.spec.disks.iter().filter(|disk| disk.volume.is_none());
        let names = disks.map(|disk| key.beside(disk.volume_name(&key.name))).collect();
        let volumes = just_made::<Volume>(world, names, &seen.made_volumes).await?;
        let mine = |volume: &Arc<Volume>| made_for(volume.spec.made_for.as_ref(), &server);
        seen.made_volumes.extend(volumes.into_iter().filter(mine));
        let nics = server.spec.nics.iter().filter(|nic| nic.port.is_none());
        let names = nics.map(|nic| key.beside(nic.port_name(&key.name))).collect();
        let ports = just_made::<Port>(world, names, &seen.made_ports).await?;
        let mine = |port: &Arc<Port>| made_for(port.spec.made_for.as_ref(), &server);
        seen.made_ports.extend(ports.into_iter().filter(mine));
    }
    if seeded.is_none()
        && !terminating(seen.server.as_ref())
        && let Bound::To(host) | Bound::ToSilent(host) = &seen.host
    {
        seen.seed = seed(world, &seen.server, host).await?;
    }
    Ok(seen)
}

/// Whether the Host was found to answer.
pub(super) fn host_answers(host: &Host) -> bool {
    let conditions = host.status.as_ref().map_or(&[][..], |status| &status.conditions);
    condition(conditions, contract::READY).is_some_and(|ready| ready.status != ConditionStatus::Unknown)
}

async fn bound(world: &World, server: &Server) -> Result<Bound, Error> {
    let Some(name) = host_of(server).map(str::to_owned) else { return Ok(Bound::Nowhere) };
    let key = Key::cluster(name.clone());
    match world.hosts.get(&key) {
        Some(host) if host_answers(&host) => Ok(Bound::To(name)),
        Some(_) => Ok(Bound::ToSilent(name)),
        None if world.host_may_hold(&name) => Ok(Bound::ToSilent(name)),
        // Only a Server that waits for its release asks; for all others a Host that is not there is a silent one.
        None if terminating(server) && !is_released(server) => {
            let hosts: Api<Host> = Api::all(world.client.clone());
            let live = hosts.get_opt(&name).await.map_err(calling::<Host>("get", &key))?;
            Ok(if live.is_some() { Bound::ToSilent(name) } else { Bound::ToNoMore(name) })
        }
        None => Ok(Bound::ToSilent(name)),
    }
}

async fn seed(world: &World, server: &Server, host: &str) -> Result<Seed, Error> {
    let Some(init) = server.spec.cloud_init.as_ref().filter(|init| has_sources(init)) else {
        // Nothing to read: to create it, and to find that it is there, is one and the same call.
        return Ok(Seed::From(Sources::default()));
    };
    let there = Key::new(host_namespace(host), seed_name(&server.uid().unwrap_or_default()));
    let secrets: Api<Secret> = world.api(&there);
    let here = Key::of(server);
    let (found, sources) = tokio::join!(secrets.get_opt(&there.name), sources(world, &here, init));
    if let Some(found) = found.map_err(calling::<Secret>("get", &there))? {
        return Ok(Seed::There(digest_of(&found)));
    }
    sources
}

/// The digest that was recorded with a seed.
pub(super) fn digest_of(seed: &Secret) -> Option<String> {
    seed.annotations().get(contract::SEED_DIGEST).cloned()
}

fn has_sources(init: &CloudInit) -> bool {
    !init.ssh_authorized_keys_from.is_empty() || init.user_data_from.is_some()
}

async fn sources(world: &World, here: &Key, init: &CloudInit) -> Result<Seed, Error> {
    let lacking =
        |kind, name: &str, key: Option<&String>| MissingSource { kind, name: name.to_owned(), key: key.cloned() };
    let (mut sources, mut missing) = (Sources::default(), Vec::new());
    let maps: Api<ConfigMap> = world.api(here);
    let named = init.ssh_authorized_keys_from.iter().map(|wanted| maps.get_opt(&wanted.name));
    let secrets: Api<Secret> = world.api(here);
    let user_data = init.user_data_from.as_ref().map(|from| &from.secret_key_ref);
    let secret = OptionFuture::from(user_data.map(|wanted| secrets.get_opt(&wanted.name)));
    let (maps, secret) = tokio::join!(join_all(named), secret);
    for (wanted, map) in init.ssh_authorized_keys_from.iter().zip(maps) {
        match map.map_err(calling::<ConfigMap>("read", &here.beside(wanted.name.clone())))? {
            Some(map) => sources.keys.extend(map.data.into_iter().flatten().map(|(_, keys)| keys)),
            None => missing.push(lacking(SourceKind::ConfigMap, &wanted.name, None)),
        }
    }
    if let (Some(wanted), Some(secret)) = (user_data, secret) {
        match secret.map_err(calling::<Secret>("read", &here.beside(wanted.name.clone())))? {
            Some(secret) => match secret.data.and_then(|mut data| data.remove(&wanted.key)) {
                Some(bytes) => sources.user_data = Some(bytes.0),
                None => missing.push(lacking(SourceKind::Secret, &wanted.name, Some(&wanted.key))),
            },
            None => missing.push(lacking(SourceKind::Secret, &wanted.name, None)),
        }
    }
    Ok(if missing.is_empty() { Seed::From(sources) } else { Seed::Missing(missing) })
}

/// What this Server made and the cache does not show yet: a Volume has no ownerReference, so nobody else would ever
/// delete it. Only asked for when the Server is about to be released.
async fn just_made<K>(world: &World, names: Vec<Key>, cached: &[Arc<K>]) -> Result<Vec<Arc<K>>, Error>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let mut found = Vec::new();
    for key in names.iter().filter(|key| !cached.iter().any(|child| child.name_any() == key.name)) {
        let child = world.api::<K>(key).get_opt(&key.name).await.map_err(calling::<K>("get", key))?;
        found.extend(child.map(Arc::new));
    }
    Ok(found)
}
