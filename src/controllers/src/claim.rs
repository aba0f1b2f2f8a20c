//! The claim of something scarce, such as an address, for one owner: creating the object of that name is what takes it. It is
//! released only when its owner, looked for live and by UID, is no more; or when it is deleted while its owner, live, has
//! another one: a pass that was cut off had claimed two.

use std::{sync::Arc, time::Duration};

use kube::{Api, Resource, ResourceExt, core::NamespaceResourceScope};
use nubium_api::Condition;
use nubium_runtime::{
    Key, Live, Loop, Next, Queue, Shared, StatusWriter, apply_status, has_finalizer, live_get, remove_finalizer,
};
use serde::Serialize;

use crate::{
    error::{Error, calling},
    pass,
    users::terminating,
    verdict::{Verdict, writer},
    world::{Cached, World, of_uid},
};

/// A kind of claim.
pub(crate) trait Claim: Cached {
    /// The kind that has what is claimed.
    type Owner: Cached + Resource<Scope = NamespaceResourceScope>;
    type Status: Serialize + Send + Sync;
    const FINALIZER: &'static str;
    /// Whether an owner that is being deleted deletes its claims itself: then one that waits for it goes in a moment, and
    /// nobody would read that it waits.
    const GOES_WITH_OWNER: bool;

    /// Its API.
    fn api(world: &World, key: &Key) -> Api<Self>;

    /// The key and the UID of its owner.
    fn owner(&self) -> (Key, &str);

    /// The claims of an owner, as the cache shows them.
    fn of_owner(claims: &Shared<Self>, owner: &Self::Owner) -> Vec<Arc<Self>>;

    /// Whether the owner was given something, and it is not what this claims.
    fn is_surplus(&self, owner: &Self::Owner) -> bool;

    fn status(generation: Option<i64>, conditions: Vec<Condition>) -> Self::Status;
}

/// Runs passes for claims of that kind for ever.
pub(crate) async fn run<C: Claim>(world: Arc<World>, name: &'static str, workers: usize) {
    let queue = Queue::new();
    C::cache(&world).feed_own(&queue);
    let (claims, woken) = (C::cache(&world).clone(), queue.clone());
    C::Owner::cache(&world).on_change(move |old, new| {
        // An owner's coming and going, not its daily life.
        if old.is_none() != new.is_none()
            && let Some(owner) = new.or(old)
        {
            C::of_owner(&claims, owner).iter().for_each(|claim| woken.add(Key::of(claim.as_ref())));
        }
    });
    let settings = Loop { name, workers, resync: Some(Duration::from_secs(60)) };
    pass::run::<C, _, _>(world.clone(), settings, queue, move |key| reconcile::<C>(world.clone(), key)).await;
}

async fn reconcile<C: Claim>(world: Arc<World>, key: Key) -> Result<Next, Error> {
    let Some(claim) = C::cache(&world).get(&key) else { return Ok(Next::Gone) };
    if !has_finalizer(claim.as_ref(), C::FINALIZER) {
        return Ok(Next::Settled);
    }
    let (owner, uid) = claim.owner();
    let cached = C::Owner::cache(&world).get(&owner).filter(|owner| owner.uid().as_deref() == Some(uid));
    if cached.as_ref().is_none_or(|owner| is_given_back(&*claim, owner)) && is_free(&world, &*claim).await? {
        release(&world, &key, &*claim).await?;
        return Ok(Next::Settled);
    }
    let kind = C::Owner::kind(&());
    // Keys of what is in one namespace with the claim are names there.
    let owner_name = if owner.namespace == key.namespace { owner.name.clone() } else { owner.to_string() };
    let verdict = match (terminating(claim.as_ref()), &cached) {
        (false, _) => Verdict::ready("Held", format!("{kind} {owner_name} has it")),
        (true, Some(owner)) if C::GOES_WITH_OWNER && terminating(owner.as_ref()) => return Ok(Next::Settled),
        (true, _) => Verdict::working("InUse", format!("it is to be deleted, and waits: {kind} {owner_name} has it")),
    };
    let generation = claim.meta().generation;
    let status = C::status(generation, verdict.conditions(generation));
    let part: StatusWriter<'_> = writer(&C::CONTROLLER);
    let wrote = apply_status(&C::api(&world, &key), &claim, &part, &status).await;
    wrote.map_err(calling::<C>("write the status of", &key))?;
    Ok(Next::Settled)
}

/// Whether the claim is being deleted and its owner has another one.
fn is_given_back<C: Claim>(claim: &C, owner: &C::Owner) -> bool {
    terminating(claim) && claim.is_surplus(owner)
}

/// Whether nobody has any more what is claimed, by a live look at the owner: what the cache lacks means nothing.
async fn is_free<C: Claim>(world: &World, claim: &C) -> Result<bool, Error> {
    let (owner, uid) = claim.owner();
    let live = live_get(&world.api::<C::Owner>(&owner), &owner.name, uid).await;
    Ok(match live.map_err(calling::<C::Owner>("get", &owner))? {
        Live::Gone(_) => true,
        Live::Wanted(owner) => is_given_back(claim, &owner),
        Live::Marked(_) => false,
    })
}

/// Removes the finalizer of a claim that is being deleted; deletes one whose owner went without it, as when a pass was cut
/// off between the two.
async fn release<C: Claim>(world: &World, key: &Key, claim: &C) -> Result<(), Error> {
    if terminating(claim) {
        let gone = remove_finalizer(&C::api(world, key), claim, C::FINALIZER).await;
        gone.map(drop).map_err(calling::<C>("remove the finalizer from", key))
    } else {
        world.delete::<C>(key, of_uid(claim.uid())).await
    }
}
