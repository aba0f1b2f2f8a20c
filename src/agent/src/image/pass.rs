//! The loop over Images: what a pass reads from the API, and what it writes there.

use std::sync::Arc;
use std::time::Duration;

use crate::writer::entry_writer;
use kube::{Api, Client, Resource, ResourceExt};
use nubium_api::{Condition, DEFAULT_POOL, Image, ImageHost, ImageStatus, StoragePool, Volume, is_held};
use nubium_host::storage::Pools;
use nubium_runtime::{Key, Loop, Next, Note, NoteKind, Queue, Recorder, Shared, apply_status};

use super::desired::{Desired, desired};
use super::imports::{Import, Imports, PROGRESS_EVERY};
use super::{Looked, converge, status};
use crate::pool;
use crate::presence::{Presence, presence};

const RESYNC: Duration = Duration::from_secs(300);
const FAILED_LOOK: Duration = Duration::from_secs(3);
const WORKERS: usize = 4;

/// What the loop works with.
pub struct Context<P> {
    pub client: Client,
    /// This host's name.
    pub host: String,
    pub images: Shared<Image>,
    pub pools: Shared<StoragePool>,
    /// The Volumes of this host.
    pub volumes: Shared<Volume>,
    pub storage: Arc<P>,
    pub recorder: Recorder,
}

pub(super) struct World<P> {
    pub context: Context<P>,
    pub imports: Imports,
}

/// Runs until dropped; imports under way are stopped then, and begin again with the next start.
pub async fn run<P: Pools>(context: Context<P>) {
    let queue = Queue::new();
    tokio::join!(context.images.synced(), context.pools.synced(), context.volumes.synced());
    context.images.feed_own(&queue);
    let images = context.images.clone();
    context.pools.feed(&queue, move |_| images.list().iter().map(|image| Key::of(image.as_ref())).collect());
    context.volumes.feed(&queue, |volume| elsewhere(volume).map(|(image, _)| image).into_iter().collect());
    let world = Arc::new(World { context, imports: Imports::new(queue.clone()) });
    let settings = Loop { name: "agent-image", workers: WORKERS, resync: Some(RESYNC) };
    nubium_runtime::run(settings, queue, move |key| pass(Arc::clone(&world), key)).await;
}

/// The image a Volume needs in a pool that is not the default one, and that pool.
fn elsewhere(volume: &Volume) -> Option<(Key, String)> {
    let image = volume.spec.image.as_ref()?;
    let pool = volume.spec.pool.clone().filter(|pool| pool != DEFAULT_POOL)?;
    Some((Key::new(volume.namespace().unwrap_or_default(), image), pool))
}

pub(super) async fn pass<P: Pools>(world: Arc<World<P>>, key: Key) -> Result<Next, kube::Error> {
    let Some(image) = world.context.images.get(&key) else { return Ok(Next::Gone) };
    let api: Api<Image> = Api::namespaced(world.context.client.clone(), &key.namespace);
    let Some((image, presence)) = presence(&api, image, conditions).await? else { return Ok(Next::Gone) };
    if !is_held(image.as_ref()) {
        // The event of its finalizer comes next.
        return Ok(Next::Settled);
    }
    let before = own_entry(&image, &world.context.host);
    let (mut entry, next) = match desired(&image, presence) {
        Ok(want) => {
            if let Some(verdict) = before.filter(|before| before.reason.as_deref() == Some("UnsafeImage")) {
                world.imports.recall_unsafe(DEFAULT_POOL, &want.file, verdict.message.clone().unwrap_or_default());
            }
            serve(&world, &key, &want).await
        }
        Err(invalid) => (status::said(Some(false), "Invalid", invalid.to_string()), Next::Settled),
    };
    entry.name.clone_from(&world.context.host);
    entry.observed_generation = image.metadata.generation;
    entry.pool = Some(DEFAULT_POOL.to_owned());
    if entry.ready == Some(true) && entry.source_format.is_none() {
        entry.source_format = before.and_then(|before| before.source_format.clone());
    }
    record_event(&world, &image, before, &entry);
    let manager = Image::AGENT.manager_on(&world.context.host);
    let owner = entry_writer(&Image::AGENT, &manager, &world.context.host);
    let status = ImageStatus { hosts: vec![entry], ..ImageStatus::default() };
    apply_status(&api, image.as_ref(), &owner, &status).await?;
    Ok(next)
}

/// Serves the default pool, and every other one that a Volume here waits in or that may have a copy to remove.
async fn serve<P: Pools>(world: &World<P>, key: &Key, want: &Desired) -> (ImageHost, Next) {
    let context = &world.context;
    let Some(default) = context.pools.get(&Key::cluster(DEFAULT_POOL)) else {
        return (status::no_pool(want.presence), Next::Settled);
    };
    let wanted = |pool: &str| match want.presence {
        Presence::Gone => true,
        Presence::Present => {
            let needs =
                |volume: &Arc<Volume>| elsewhere(volume).is_some_and(|(image, name)| image == *key && name == pool);
            context.volumes.list().iter().any(needs)
        }
        Presence::Keep => false,
    };
    let mut others = Vec::new();
    for pool in context.pools.list() {
        if pool.name_any() != DEFAULT_POOL && wanted(&pool.name_any()) {
            others.push(in_pool(world, &pool, want).await);
        }
    }
    let looked = in_pool(world, &default, want).await;
    let mut entry = status::entry(want, &looked);
    entry.source_format = world.imports.format(DEFAULT_POOL, &want.file).map(|format| format.as_str().to_owned());
    if want.presence == Presence::Gone {
        // Released is said of the whole host: the first pool that still has something speaks for it.
        let left = others.iter().map(|other| status::entry(want, other)).find(|other| other.released != Some(true));
        entry = left.unwrap_or(entry);
    }
    let soonest = others.iter().chain([&looked]).filter_map(again).min();
    (entry, soonest.map_or(Next::Settled, Next::After))
}

async fn in_pool<P: Pools>(world: &World<P>, pool: &StoragePool, want: &Desired) -> Looked {
    let opened = world.context.storage.open(&pool::spec(pool)).await?;
    converge(want, &pool.name_any(), &opened.images, &world.imports).await
}

/// When to look again without an event.
fn again(looked: &Looked) -> Option<Duration> {
    match looked {
        Err(_) => Some(FAILED_LOOK),
        Ok(seen) if seen.file.is_some() => None,
        Ok(seen) => match &seen.import {
            Import::Running { .. } => Some(PROGRESS_EVERY),
            Import::Failed { wait, .. } => Some(*wait),
            Import::Idle | Import::Unsafe { .. } => None,
        },
    }
}

fn own_entry<'a>(image: &'a Image, host: &str) -> Option<&'a ImageHost> {
    image.status.as_ref()?.hosts.iter().find(|entry| entry.name == host)
}

/// An Event when the reason changes to one that people want to know of.
fn record_event<P>(world: &World<P>, image: &Image, before: Option<&ImageHost>, now: &ImageHost) {
    let reason = now.reason.clone().unwrap_or_default();
    if before.and_then(|before| before.reason.as_ref()) == Some(&reason) {
        return;
    }
    let kind = match reason.as_str() {
        "Imported" => NoteKind::Normal,
        "Queued" | "Downloading" | "Converting" | "Deleting" | "Released" => return,
        _ => NoteKind::Warning,
    };
    let text = format!("{}: {}", world.context.host, now.message.clone().unwrap_or_default());
    world.context.recorder.note(Note { regarding: image.object_ref(&()), kind, reason, action: "Import".into(), text });
}

fn conditions(image: &Image) -> &[Condition] {
    image.status.as_ref().map_or(&[], |status| &status.conditions)
}
