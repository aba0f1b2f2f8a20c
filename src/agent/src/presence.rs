//! What an object that controllers and agents delete together asks of this host: to have it, to leave it, or to take it
//! away.

use std::{fmt::Debug, sync::Arc};

use kube::{Api, Resource, ResourceExt};
use nubium_api::{Condition, ConditionStatus, condition, contract};
use nubium_runtime::{Live, live_get};
use serde::de::DeserializeOwned;

/// What is to become of an object's part on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// As its spec says.
    Present,
    /// As it is: marked for deletion, and something may still use it.
    Keep,
    /// Nothing left. Only an object seen live with a deletion mark, and declared unused, asks for this.
    Gone,
}

/// The object and what it asks for; None if it is no more. To be gone it has to be marked, seen live, and declared unused
/// at that generation.
pub(crate) async fn presence<K>(
    api: &Api<K>,
    cached: Arc<K>,
    conditions: fn(&K) -> &[Condition],
) -> Result<Option<(Arc<K>, Presence)>, kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    if cached.meta().deletion_timestamp.is_none() {
        return Ok(Some((cached, Presence::Present)));
    }
    match live_get(api, &cached.name_any(), &cached.uid().unwrap_or_default()).await? {
        Live::Wanted(object) => Ok(Some((Arc::from(object), Presence::Present))),
        Live::Gone(_) => Ok(None),
        Live::Marked(marked) => {
            let unused = condition(conditions(marked.object()), contract::IN_USE).is_some_and(|in_use| {
                in_use.status == ConditionStatus::False && in_use.observed_generation == marked.generation()
            });
            let presence = if unused { Presence::Gone } else { Presence::Keep };
            Ok(Some((Arc::new(marked.object().clone()), presence)))
        }
    }
}
