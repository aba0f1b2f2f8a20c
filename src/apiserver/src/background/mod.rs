//! What happens without a request: garbage, namespaces and definitions that go, old events, old history.
//!
//! One task follows every write of the store and keeps a short list of what is to be done; another keeps the registry of
//! kinds up to date and runs in every server.

mod definitions;
mod garbage;
mod graph;
mod housekeeping;
mod namespaces;

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use nubium_store::{Range, WatchItem};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::failure::Failure;
use crate::state::State;
use garbage::Garbage;

pub(crate) use definitions::follow as follow_definitions;

/// Everything that is stored.
const ALL: &str = "/registry/";
/// How long after a failure, or while something waits, it is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Works until it is dropped.
pub(crate) async fn run(state: &Arc<State>) {
    let chores = async {
        loop {
            if let Err(failure) = tidy(state).await {
                tracing::warn!(message = failure.message(), "the background work starts over");
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    tokio::join!(chores, housekeeping::run(state));
}

/// Follows all writes and does what they call for; ends when it has to start over.
async fn tidy(state: &Arc<State>) -> Result<(), Failure> {
    let page = state.store.range(Range::all(ALL)).await?;
    let (mut garbage, mut namespaces) = (Garbage::default(), namespaces::Leaving::default());
    let mut definitions = definitions::Leaving::default();
    for object in &page.objects {
        garbage.seen(object, false);
        namespaces.seen(object, false);
        definitions.seen(object, false);
    }
    let mut events = state.store.watch(ALL, page.revision).await?;
    let mut retry = interval(RETRY);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    drop(page);
    loop {
        let busy = Instant::now();
        garbage.work(state).await;
        namespaces.work(state).await;
        definitions.work(state).await;
        let took = busy.elapsed();
        if took > RETRY {
            tracing::debug!(?took, "a round of background work was long");
        }
        let waiting = garbage.is_waiting() || namespaces.is_waiting() || definitions.is_waiting();
        let mut next = tokio::select! {
            item = events.next() => Some(item),
            _ = retry.tick(), if waiting => None,
        };
        if next.is_none() {
            garbage.retry();
            namespaces.retry();
            definitions.retry();
        }
        // Everything that is ready is taken in before the next round.
        while let Some(item) = next {
            match item {
                Some(WatchItem::Event(event)) => {
                    garbage.seen(&event.object, event.deleted);
                    namespaces.seen(&event.object, event.deleted);
                    definitions.seen(&event.object, event.deleted);
                }
                Some(WatchItem::Progress(_)) => {}
                Some(WatchItem::Compacted) | None => return Ok(()),
            }
            next = events.next().now_or_never();
        }
    }
}
