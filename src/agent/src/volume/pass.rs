//! The loop over Volumes: what a pass reads from the API, and what it writes there.

use std::sync::Arc;
use std::time::Duration;

use crate::writer::writer;
use kube::{Api, Client, Resource};
use nubium_api::{Condition, DEFAULT_POOL, Image, StoragePool, Volume, VolumeStatus, condition, contract};
use nubium_host::storage::Pools;
use nubium_runtime::{Key, Loop, Next, Note, NoteKind, Queue, Recorder, Shared, StatusWriter, apply_status};

use super::desired::{Base, Desired, Presence, desired, retains};
use super::{Looked, converge, status};
use crate::pool;
use crate::presence::{self, presence};

const RESYNC: Duration = Duration::from_secs(300);
const FAILED: Duration = Duration::from_secs(3);
/// An image that is fetched into a pool other than the default one says so in no status.
const WAITING: Duration = Duration::from_secs(2);
const WORKERS: usize = 8;

/// This agent's part of a Volume's status.
const OWNER: StatusWriter<'static> = writer(&Volume::AGENT);

/// What the loop works with.
pub struct Context<P> {
    pub client: Client,
    /// This host's name.
    pub host: String,
    /// The Volumes of this host.
    pub volumes: Shared<Volume>,
    pub images: Shared<Image>,
    pub pools: Shared<StoragePool>,
    pub storage: Arc<P>,
    pub recorder: Recorder,
}

/// The index of Volumes by their Image.
pub const BY_IMAGE: &str = "image";

/// The words under which [`BY_IMAGE`] files a Volume.
pub fn image_of(volume: &Volume) -> Vec<String> {
    volume.spec.image.iter().map(|image| Key::of(volume).beside(image.clone()).to_string()).collect()
}

/// Runs until dropped.
pub async fn run<P: Pools>(context: Context<P>) {
    let queue = Queue::new();
    tokio::join!(context.volumes.synced(), context.images.synced(), context.pools.synced());
    context.volumes.feed_own(&queue);
    let volumes = context.volumes.clone();
    context.images.feed(&queue, move |image| {
        let of_it = volumes.by(BY_IMAGE, &Key::of(image).to_string());
        of_it.iter().map(|volume| Key::of(volume.as_ref())).collect()
    });
    let volumes = context.volumes.clone();
    context.pools.feed(&queue, move |_| volumes.list().iter().map(|volume| Key::of(volume.as_ref())).collect());
    let context = Arc::new(context);
    let settings = Loop { name: "agent-volume", workers: WORKERS, resync: Some(RESYNC) };
    nubium_runtime::run(settings, queue, move |key| pass(Arc::clone(&context), key)).await;
}

pub(super) async fn pass<P: Pools>(context: Arc<Context<P>>, key: Key) -> Result<Next, kube::Error> {
    let Some(volume) = context.volumes.get(&key) else { return Ok(Next::Gone) };
    let api: Api<Volume> = Api::namespaced(context.client.clone(), &key.namespace);
    let Some((volume, presence)) = presence(&api, volume, conditions).await? else { return Ok(Next::Gone) };
    let presence = match presence {
        presence::Presence::Present => Presence::Present,
        presence::Presence::Keep => Presence::Keep,
        presence::Presence::Gone => Presence::Gone { retain: retains(&volume) },
    };
    let before = volume.status.as_ref();
    if before.and_then(|status| status.host.as_ref()) != Some(&context.host) {
        return Ok(Next::Settled);
    }
    let generation = volume.metadata.generation;
    let (status, next) = match serve(&context, &key, &volume, presence).await {
        Ok((want, looked)) => (status::status(&want, &looked, before, generation), again(&want, &looked)),
        Err((reason, message)) => (status::not_looked(presence, before, reason, message, generation), Next::Settled),
    };
    record_event(&context, &volume, &status);
    apply_status(&api, volume.as_ref(), &OWNER, &status).await?;
    Ok(next)
}

/// Looks and acts; or says, as a reason and a message, why there is nowhere to look.
async fn serve<P: Pools>(
    context: &Context<P>,
    key: &Key,
    volume: &Volume,
    presence: Presence,
) -> Result<(Desired, Looked), (&'static str, String)> {
    let pool_name = volume.spec.pool.as_deref().unwrap_or(DEFAULT_POOL);
    let image = volume.spec.image.as_ref().and_then(|name| context.images.get(&key.beside(name)));
    let want = desired(volume, presence, image.as_deref()).map_err(|invalid| ("Invalid", invalid.to_string()))?;
    let pool = context.pools.get(&Key::cluster(pool_name));
    let pool = pool.ok_or_else(|| ("PoolNotFound", format!("there is no StoragePool {pool_name}; make it")))?;
    let looked = match context.storage.open(&pool::spec(&pool)).await {
        Ok(opened) => converge(&want, &opened).await,
        Err(error) => Err(error),
    };
    Ok((want, looked))
}

fn again(want: &Desired, looked: &Looked) -> Next {
    match looked {
        Err(_) => Next::After(FAILED),
        Ok(seen) if seen.volume.is_none() && waits_for_image(want) => Next::After(WAITING),
        Ok(seen) if seen.volume.as_ref().is_some_and(|volume| volume.in_use) && want.presence != Presence::Present => {
            Next::After(FAILED)
        }
        Ok(_) => Next::Settled,
    }
}

fn waits_for_image(want: &Desired) -> bool {
    want.presence == Presence::Present && !want.made && matches!(want.base, Base::Image { file: Some(_), .. })
}

/// An Event when it is made, and when something is wrong that a person should know of.
fn record_event<P>(context: &Context<P>, volume: &Volume, now: &VolumeStatus) {
    let provisioned = |status: &VolumeStatus| condition(&status.conditions, contract::PROVISIONED).cloned();
    let Some(now) = provisioned(now) else { return };
    let before = volume.status.as_ref().and_then(provisioned);
    if before.is_some_and(|before| before.reason == now.reason) {
        return;
    }
    let kind = match now.reason.as_str() {
        "Provisioned" => NoteKind::Normal,
        "WaitingForImage" | "Pending" | "Deleting" => return,
        _ => NoteKind::Warning,
    };
    let text = format!("{}: {}", context.host, now.message);
    context.recorder.note(Note {
        regarding: volume.object_ref(&()),
        kind,
        reason: now.reason,
        action: "Provision".into(),
        text,
    });
}

fn conditions(volume: &Volume) -> &[Condition] {
    volume.status.as_ref().map_or(&[], |status| &status.conditions)
}
