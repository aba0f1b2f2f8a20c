//! Removes what is old: history after some minutes, events after an hour.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nubium_store::Range;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::failure::Failure;
use crate::kind::BuiltIn;
use crate::object::meta;
use crate::state::State;
use crate::write;

/// How often history is compacted: what is older than one to two of these is gone.
const EVERY: Duration = Duration::from_secs(5 * 60);
/// It is compacted sooner when so many bytes were written since: what came before the last time is gone then.
const HISTORY_BYTES: u64 = 64 << 20;
/// How often that is looked at: the least that history is kept, however much is written.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long an event is kept after it was last written.
const EVENT_LIFE: SignedDuration = SignedDuration::from_hours(1);

pub(super) async fn run(state: &Arc<State>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut history) = (None, History::default());
    loop {
        ticks.tick().await;
        if !history.is_due(Instant::now(), state.store.appended()) {
            continue;
        }
        if let Err(failure) = forget_events(state).await {
            tracing::warn!(message = failure.message(), "old events could not be removed");
        }
        let current = state.store.current().await;
        let compacted = match (current, last) {
            (Ok(current), Some(before)) => {
                last = Some(current);
                state.store.compact(before).await
            }
            (Ok(current), None) => {
                last = Some(current);
                Ok(())
            }
            (Err(error), _) => Err(error),
        };
        if let Err(error) = compacted {
            tracing::warn!(error = %crate::failure::chain(&error), "old history could not be removed");
        }
    }
}

/// When history was compacted last.
#[derive(Default)]
struct History {
    last: Option<(Instant, u64)>,
}

impl History {
    /// Whether it is time again, by the clock or by what was written.
    fn is_due(&mut self, now: Instant, appended: u64) -> bool {
        let due = self.last.is_none_or(|(at, before)| {
            now.duration_since(at) >= EVERY || appended.saturating_sub(before) >= HISTORY_BYTES
        });
        if due {
            self.last = Some((now, appended));
        }
        due
    }
}

async fn forget_events(state: &Arc<State>) -> Result<(), Failure> {
    let snapshot = state.registry.snapshot();
    let kind = snapshot.built_in(BuiltIn::Event);
    let now = (state.config.clock)();
    let oldest = now.checked_sub(EVENT_LIFE).unwrap_or(Timestamp::MIN);
    let page = state.store.range(Range::all(BuiltIn::Event.prefix())).await?;
    for object in page.objects {
        let event: Value = serde_json::from_slice(&object.value).unwrap_or_default();
        if last_write(&event, now) < oldest {
            let uid = meta::text(&event, "uid");
            // One event that cannot be removed keeps no other.
            if let Err(failure) = write::remove(state, kind, &object.key, (uid, Some(object.modified)), None).await {
                tracing::debug!(key = %object.key, message = failure.message(), "cannot remove an old event");
            }
        }
    }
    Ok(())
}

/// When an event was last written, by the server's own clock: what a client says of an event's times could keep it for
/// ever. A time that has not come is not the server's.
fn last_write(event: &Value, now: Timestamp) -> Timestamp {
    let managed = event["metadata"]["managedFields"].as_array().into_iter().flatten();
    let times = managed.map(|entry| &entry["time"]).chain([&event["metadata"]["creationTimestamp"]]);
    let times = times.filter_map(|time| time.as_str()?.parse::<Timestamp>().ok()).filter(|time| *time <= now);
    times.max().unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn history_is_compacted_by_time_and_by_size() {
        let (mut history, start) = (History::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(history.is_due(start, 0), "at the start");
        assert!(!history.is_due(after(299), HISTORY_BYTES - 1));
        assert!(history.is_due(after(300), HISTORY_BYTES - 1));
        assert!(!history.is_due(after(310), 2 * HISTORY_BYTES - 2));
        assert!(history.is_due(after(320), 2 * HISTORY_BYTES - 1));
    }

    #[test]
    fn the_last_write_counts_and_not_what_a_client_says() {
        let now = "2026-01-01T03:00:00Z".parse().unwrap();
        let event = json!({
            "metadata": {
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "managedFields": [{"time": "2026-01-01T01:00:00Z"}, {"time": "9999-01-01T01:00:00Z"}],
            },
            "lastTimestamp": "9999-12-31T23:59:59Z", "series": {"lastObservedTime": "2026-01-01T02:00:00.000001Z"},
        });
        assert_eq!(last_write(&event, now).to_string(), "2026-01-01T01:00:00Z");
        assert_eq!(last_write(&json!({"lastTimestamp": "9999-12-31T23:59:59Z"}), now), Timestamp::MIN);
    }
}
