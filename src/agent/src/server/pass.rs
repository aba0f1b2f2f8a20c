//! The loop over Servers: what a pass reads from the API, and what it writes there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::{Api, Client, Resource, ResourceExt};
use nubium_api::{
    AttachedTo, ConditionStatus, Network, Port, Server, ServerStatus, StoragePool, Volume, VolumeStatus, condition,
    contract,
};
use nubium_host::clock;
use nubium_host::seed::Seed;
use nubium_runtime::{
    Key, Live, Loop, Next, Note, NoteKind, Queue, Recorder, Shared, SharedBuilder, StatusWriter, apply_status,
    live_get, refused, status_differs,
};

use super::{Desired, HostPools, Input, Machine, Memory, Report, SeenMarked, Settings, converge_to};
use crate::driver::Driver;
use crate::network::Readiness;
use crate::writer::writer;

/// What events miss (a tap deleted by hand) is found within this time.
const RESYNC: Duration = Duration::from_secs(7);
const WORKERS: usize = 8;

/// What the loop works with.
pub struct Context<D> {
    pub client: Client,
    pub settings: Settings,
    /// The Servers, Volumes and Ports of this host.
    pub servers: Shared<Server>,
    pub volumes: Shared<Volume>,
    pub ports: Shared<Port>,
    pub networks: Shared<Network>,
    pub pools: Shared<StoragePool>,
    pub readiness: Readiness,
    pub driver: Arc<D>,
    pub recorder: Recorder,
    pub memory: Memory,
}

/// Runs until dropped. `queue` is also filled by who hears libvirt's events.
pub async fn run<D: Driver>(context: Context<D>, queue: Queue<Key>) {
    tokio::join!(
        context.servers.synced(),
        context.volumes.synced(),
        context.ports.synced(),
        context.networks.synced(),
        context.pools.synced()
    );
    context.memory.startup_reports.expect(context.servers.list().iter().map(|server| Key::of(server.as_ref())));
    context.servers.feed_own(&queue);
    let servers = context.servers.clone();
    context.volumes.feed(&queue, move |volume| keys(&servers.by(BY_VOLUME, &Key::of(volume).to_string())));
    let servers = context.servers.clone();
    context.ports.feed(&queue, move |port| keys(&servers.by(BY_PORT, &Key::of(port).to_string())));
    let (servers, woken) = (context.servers.clone(), queue.clone());
    context.readiness.on_change(move |port| {
        keys(&servers.by(BY_PORT, &port.to_string())).into_iter().for_each(|key| woken.add(key));
    });
    let context = Arc::new(context);
    let settings = Loop { name: "agent-server", workers: WORKERS, resync: Some(RESYNC) };
    nubium_runtime::run(settings, queue, move |key| {
        let context = Arc::clone(&context);
        async move {
            let next = pass(Arc::clone(&context), key.clone()).await;
            // One Server of which the API server takes no word must not keep the host silent for all of them.
            if next.as_ref().err().is_none_or(refused) {
                context.memory.startup_reports.reported(&key);
            }
            next
        }
    })
    .await;
}

/// The watch of the Servers of a host, by what their passes are woken for.
pub fn watch_servers(servers: SharedBuilder<Server>) -> SharedBuilder<Server> {
    let texts = |keys: Vec<Key>| keys.iter().map(Key::to_string).collect();
    servers
        .index(BY_UID, |server| server.metadata.uid.iter().cloned().collect())
        .index(BY_VOLUME, move |server| texts(volumes_of(server)))
        .index(BY_PORT, move |server| texts(ports_of(server)))
}

/// The watch of its Volumes, by what a pass for a Server says of them.
pub fn watch_volumes(volumes: SharedBuilder<Volume>) -> SharedBuilder<Volume> {
    let attached = |volume: &Volume| Some(volume.status.as_ref()?.attached_to.as_ref()?.uid.clone());
    volumes
        .index(BY_UID, |volume| volume.metadata.uid.iter().cloned().collect())
        .index(BY_ATTACHED, move |volume| attached(volume).into_iter().collect())
}

/// Servers and Volumes by their own UID.
pub const BY_UID: &str = "uid";
/// Servers by every Volume that they name or that is made for them (key).
const BY_VOLUME: &str = "volume";
/// Servers by every Port that they name or that is made for them (key).
const BY_PORT: &str = "port";
/// Volumes by the Server that they are said to be attached to (UID).
const BY_ATTACHED: &str = "attached";

fn keys(servers: &[Arc<Server>]) -> Vec<Key> {
    servers.iter().map(|server| Key::of(server.as_ref())).collect()
}

fn volumes_of(server: &Server) -> Vec<Key> {
    let here = Key::of(server);
    server.spec.disks.iter().map(|disk| here.beside(disk.volume_name(&here.name))).collect()
}

fn ports_of(server: &Server) -> Vec<Key> {
    let here = Key::of(server);
    server.spec.nics.iter().map(|nic| here.beside(nic.port_name(&here.name))).collect()
}

/// When it succeeds, the Server's status is what was seen. Only the status of a guest that is not on this host is delayed.
async fn pass<D: Driver>(context: Arc<Context<D>>, key: Key) -> Result<Next, kube::Error> {
    let Some(server) = context.servers.get(&key) else {
        context.memory.forget(&key);
        return Ok(Next::Gone);
    };
    let api: Api<Server> = Api::namespaced(context.client.clone(), &key.namespace);
    let uid = server.uid().unwrap_or_default();
    let (server, marked) = match server.metadata.deletion_timestamp {
        None => (server, None),
        Some(_) => match live_get(&api, &key.name, &uid).await? {
            Live::Wanted(server) => (Arc::from(server), None),
            Live::Marked(marked) => (Arc::new(marked.object().clone()), Some(SeenMarked::from(&marked))),
            Live::Gone(_) => {
                context.memory.seeds.forget(&uid);
                return Ok(Next::Gone);
            }
        },
    };
    if let (None, Some((rest, pending))) = (&marked, context.memory.backoff.rest(&key, &server)) {
        if let Some(status) = pending {
            apply_status(&api, server.as_ref(), &OWNER, &status).await?;
            context.memory.backoff.written(&key);
        }
        return Ok(Next::After(rest));
    }
    let seed = match marked {
        None => context.memory.seeds.read(&context.client, &context.settings.host, &uid).await?,
        Some(_) => {
            context.memory.seeds.forget(&uid);
            None
        }
    };
    let report = converge(&context, &server, seed.as_ref(), marked.as_ref()).await;
    context.memory.warnings.log(&key, report.failed.as_deref());
    attach(&context, &server, &report).await?;
    record_events(&context, &server, &report);
    let Report { conditions, devices, attached: _, news: _, done: _, failed, waits, again } = report;
    let known = || server.status.as_ref().map(|status| status.devices.clone()).unwrap_or_default();
    let status = ServerStatus { conditions, devices: devices.unwrap_or_else(known), ..ServerStatus::default() };
    let waits_for_seed = marked.is_none() && seed.is_none() && wants_seed(&context, &server);
    let again = if waits_for_seed { Some(context.memory.seeds.ask_again(&uid)) } else { again };
    let again =
        if failed.is_some() { Some(context.memory.backoff.failed(&key, &server, status.clone())) } else { again };
    if failed.is_none() {
        context.memory.backoff.forget(&key);
    }
    let passing = waits && !is_reported_running(&server) && status_differs(server.as_ref(), &OWNER, &status);
    let held = if passing { context.memory.debounce.hold(&key) } else { None };
    if held.is_none() {
        context.memory.debounce.settled(&key);
        apply_status(&api, server.as_ref(), &OWNER, &status).await?;
        context.memory.backoff.written(&key);
    }
    Ok(again.into_iter().chain(held).min().map_or(Next::Settled, Next::After))
}

/// Whether its status says that it runs: what takes that back is no passing state.
fn is_reported_running(server: &Server) -> bool {
    let conditions = server.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    condition(conditions, contract::RUNNING).is_some_and(|running| running.status == ConditionStatus::True)
}

/// This agent's part of a Server's status.
const OWNER: StatusWriter<'static> = writer(&Server::AGENT);

/// This loop's part of a Volume's status.
const ATTACHMENT: StatusWriter<'static> = writer(&Volume::ATTACHMENT);

async fn converge<D: Driver>(
    context: &Context<D>,
    server: &Server,
    seed: Option<&Seed>,
    marked: Option<&SeenMarked>,
) -> Report {
    let here = Key::of(server);
    let volumes: Vec<Volume> = copies(volumes_of(server).iter().filter_map(|key| context.volumes.get(key)));
    // All of the namespace: they say which taps are others'.
    let mut ports = context.ports.list();
    ports.retain(|port| port.metadata.namespace.as_ref() == Some(&here.namespace));
    let own: BTreeMap<Key, Arc<Port>> =
        ports_of(server).into_iter().filter_map(|key| context.ports.get(&key).map(|port| (key, port))).collect();
    let names: BTreeSet<&String> = own.values().map(|port| &port.spec.network).collect();
    let networks: Vec<Network> = copies(names.into_iter().filter_map(|name| context.networks.get(&here.beside(name))));
    let input = Input { server, volumes: &volumes, ports: &ports, networks: &networks, seed, marked };
    let mut want = match Desired::new(input, &context.settings) {
        Ok(want) => want,
        Err(invalid) => return Report::blind(server.metadata.generation, &invalid.into()),
    };
    for nic in &server.spec.nics {
        let port = nic.port_name(&server.name_any());
        let key = here.beside(port.clone());
        if own.contains_key(&key) && !context.readiness.is_ready(&key) {
            want.waiting_nics
                .entry(nic.name.clone())
                .or_insert_with(|| format!("the rules and the lease of Port {port} are not in place yet"));
        }
    }
    let disks = pools(context);
    let host = Machine {
        settings: &context.settings,
        domains: context.driver.domains(),
        taps: context.driver.networks(),
        disks: &disks,
        seeds: context.driver.seeds(),
    };
    converge_to(&want, &host, clock::since_boot()).await
}

fn copies<K: Clone>(objects: impl Iterator<Item = Arc<K>>) -> Vec<K> {
    objects.map(Arc::unwrap_or_clone).collect()
}

fn pools<D: Driver>(context: &Context<D>) -> HostPools<'_, D::Pools> {
    let specs = context.pools.list().iter().map(|pool| (pool.name_any(), crate::pool::spec(pool))).collect();
    HostPools { storage: context.driver.pools().as_ref(), specs }
}

fn wants_seed<D>(context: &Context<D>, server: &Server) -> bool {
    server.status.as_ref().and_then(|status| status.host.as_deref()) == Some(&context.settings.host)
}

/// Says on each Volume whether this Server's guest was seen to have it.
async fn attach<D>(context: &Context<D>, server: &Server, report: &Report) -> Result<(), kube::Error> {
    let uid = server.uid().unwrap_or_default();
    let released = condition(&report.conditions, contract::RELEASED)
        .is_some_and(|released| released.status == ConditionStatus::True);
    let api: Api<Volume> = Api::namespaced(context.client.clone(), &server.namespace().unwrap_or_default());
    let has = report.attached.iter().flat_map(|volume| context.volumes.by(BY_UID, &volume.to_string()));
    let concerned: BTreeMap<Key, Arc<Volume>> = has
        .chain(context.volumes.by(BY_ATTACHED, &uid))
        .filter(|volume| volume.namespace() == server.namespace())
        .map(|volume| (Key::of(volume.as_ref()), volume))
        .collect();
    for volume in concerned.values() {
        let has = volume.uid().is_some_and(|uid| report.attached.iter().any(|attached| attached.to_string() == uid));
        let said = volume.status.as_ref().and_then(|status| status.attached_to.as_ref());
        let by_us = said.is_some_and(|said| said.uid == uid);
        // A pass that could not look knows of no attachment, and takes none away.
        if has == by_us || (!has && !released && report.devices.is_none()) {
            continue;
        }
        let attached_to = has.then(|| AttachedTo { server: server.name_any(), uid: uid.clone() });
        let status = VolumeStatus { attached_to, ..VolumeStatus::default() };
        apply_status(&api, volume.as_ref(), &ATTACHMENT, &status).await?;
    }
    Ok(())
}

/// Takes back that a Volume is attached, where the Server that had it is no more.
pub(crate) async fn detach(client: &Client, volume: &Volume) -> Result<(), kube::Error> {
    let api: Api<Volume> = Api::namespaced(client.clone(), &volume.namespace().unwrap_or_default());
    apply_status(&api, volume, &ATTACHMENT, &VolumeStatus::default()).await.map(drop)
}

fn record_events<D>(context: &Context<D>, server: &Server, report: &Report) {
    for (reason, text) in &report.news {
        context.recorder.note(Note {
            regarding: server.object_ref(&()),
            kind: NoteKind::Warning,
            reason: (*reason).to_owned(),
            action: "Repair".into(),
            text: format!("{}: {text}", context.settings.host),
        });
    }
}
