//! The loop over Networks: what a pass reads from the API, and what it writes there.

use std::sync::Arc;
use std::time::Duration;

use crate::writer::entry_writer;
use kube::{Api, Client, Resource, ResourceExt};
use nubium_api::{CLOUD_SETTINGS, CloudSettings, Condition, Network, NetworkHost, NetworkStatus, Port, is_held};
use nubium_host::network::Networks;
use nubium_runtime::{Key, Loop, Next, Note, NoteKind, Queue, Recorder, Shared, WarnOnce, apply_status};

use super::{Input, Readiness, Report, Settings, Unfinished, converge};
use crate::driver::Driver;
use crate::presence::{Presence, presence};

/// What no event reports (a sysctl that somebody wrote) is found within this time.
const RESYNC: Duration = Duration::from_secs(7);
const AGAIN: Duration = Duration::from_secs(2);
const WORKERS: usize = 4;
/// The index of Ports by their Network.
pub const BY_NETWORK: &str = "network";

/// What the loop works with.
pub struct Context<D> {
    pub client: Client,
    pub settings: Settings,
    pub networks: Shared<Network>,
    /// The ranges in which `hostAccess` is allowed stand there. Not waited for: where it is missing, nothing new is allowed.
    pub cloud_settings: Shared<CloudSettings>,
    /// The Ports of this host, with the index [`BY_NETWORK`].
    pub ports: Shared<Port>,
    pub readiness: Readiness,
    pub driver: Arc<D>,
    pub recorder: Recorder,
    pub warnings: WarnOnce,
    pub unfinished: Unfinished,
}

/// The word under which [`BY_NETWORK`] files a Port.
pub fn network_of(port: &Port) -> String {
    Key::new(port.namespace().unwrap_or_default(), port.spec.network.clone()).to_string()
}

/// Runs until dropped.
pub async fn run<D: Driver>(context: Context<D>) {
    let queue = Queue::new();
    tokio::join!(context.networks.synced(), context.ports.synced());
    context.networks.feed_own(&queue);
    context.ports.feed(&queue, |port| vec![Key::new(port.namespace().unwrap_or_default(), port.spec.network.clone())]);
    let (networks, woken) = (context.networks.clone(), queue.clone());
    context.cloud_settings.on_change(move |_, _| {
        networks.list().iter().for_each(|network| woken.add(Key::of(network.as_ref())));
    });
    let context = Arc::new(context);
    let (watched, woken) = (Arc::clone(&context), queue.clone());
    let watch = async move {
        loop {
            watched.driver.dhcp_died().await;
            watched.networks.list().iter().for_each(|network| woken.add(Key::of(network.as_ref())));
        }
    };
    let (changed, noticed) = (Arc::clone(&context), queue.clone());
    let notices = async move {
        loop {
            match changed.driver.networks().changed().await {
                Some(netns) => noticed.add(Key::new(netns.namespace(), netns.network())),
                None => changed.networks.list().iter().for_each(|network| noticed.add(Key::of(network.as_ref()))),
            }
        }
    };
    let settings = Loop { name: "agent-network", workers: WORKERS, resync: Some(RESYNC) };
    let passes = nubium_runtime::run(settings, queue, move |key| pass(Arc::clone(&context), key));
    tokio::join!(watch, notices, passes);
}

async fn pass<D: Driver>(context: Arc<Context<D>>, key: Key) -> Result<Next, kube::Error> {
    let Some(network) = context.networks.get(&key) else {
        context.warnings.over(&key);
        context.unfinished.forget(&key);
        return Ok(Next::Gone);
    };
    let api: Api<Network> = Api::namespaced(context.client.clone(), &key.namespace);
    let Some((network, presence)) = presence(&api, network, conditions).await? else { return Ok(Next::Gone) };
    let present = presence != Presence::Gone;
    if !is_held(network.as_ref()) {
        // The event of its finalizer comes next.
        return Ok(Next::Settled);
    }
    let ports = context.ports.by(BY_NETWORK, &key.to_string());
    let ports: Vec<Port> = ports.iter().map(|port| port.as_ref().clone()).collect();
    let before = own_entry(&network, &context.settings.host);
    if before.is_none() && present && !ports.is_empty() {
        // Said before anything is made: a host without an entry counts as having nothing of it.
        let message = Some("its Ports here are being looked at".to_owned());
        let name = context.settings.host.clone();
        let begun = NetworkHost {
            name,
            ready: Some(false),
            reason: Some("Progressing".into()),
            message,
            observed_generation: network.metadata.generation,
            released: None,
        };
        write(&context, &api, &network, Some(begun)).await?;
    }
    let settings = context.cloud_settings.get(&Key::cluster(CLOUD_SETTINGS));
    let host_access = settings.map(|settings| settings.spec.networks.host_access());
    let input = Input { network: &network, ports: &ports, present, host_access: host_access.as_ref() };
    let report = converge(input, &context.settings, context.driver.networks(), context.driver.dhcp()).await;
    let news = context.unfinished.news(&key, &report);
    let Report { entry, ports, mended: _, done: _, failed, left: _, was_made: _, again } = report;
    context.warnings.log(&key, failed.as_deref());
    for (port, ready) in ports {
        context.readiness.say(key.beside(port), ready);
    }
    record_events(&context, &network, before, entry.as_ref(), news);
    if entry.is_some() || before.is_some() {
        write(&context, &api, &network, entry).await?;
    }
    Ok(if again { Next::After(AGAIN) } else { Next::Settled })
}

async fn write<D>(
    context: &Context<D>,
    api: &Api<Network>,
    network: &Network,
    entry: Option<NetworkHost>,
) -> Result<bool, kube::Error> {
    let host = context.settings.host.as_str();
    let manager = Network::AGENT.manager_on(host);
    let owner = entry_writer(&Network::AGENT, &manager, host);
    let status = NetworkStatus { hosts: entry.into_iter().collect(), ..NetworkStatus::default() };
    apply_status(api, network, &owner, &status).await
}

fn own_entry<'a>(network: &'a Network, host: &str) -> Option<&'a NetworkHost> {
    network.status.as_ref()?.hosts.iter().find(|entry| entry.name == host)
}

/// An Event for what was mended, and one when this host's part begins to fail.
fn record_events<D>(
    context: &Context<D>,
    network: &Network,
    before: Option<&NetworkHost>,
    now: Option<&NetworkHost>,
    mended: Vec<String>,
) {
    let host = &context.settings.host;
    let note = |reason: &str, action: &str, text: String| {
        let regarding = network.object_ref(&());
        let (reason, action) = (reason.to_owned(), action.to_owned());
        context.recorder.note(Note {
            regarding,
            kind: NoteKind::Warning,
            reason,
            action,
            text: format!("{host}: {text}"),
        });
    };
    for text in mended {
        note("Repaired", "Repair", text);
    }
    if let Some(now) = now
        && now.ready == Some(false)
        && !matches!(now.reason.as_deref(), Some("Progressing" | "Released"))
        && before.is_none_or(|before| before.reason != now.reason)
    {
        note(now.reason.as_deref().unwrap_or("Failed"), "Configure", now.message.clone().unwrap_or_default());
    }
}

fn conditions(network: &Network) -> &[Condition] {
    network.status.as_ref().map_or(&[], |status| &status.conditions)
}
