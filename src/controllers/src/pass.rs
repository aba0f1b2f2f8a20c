//! How every controller here runs its passes: what fails ends in a condition of the object, not only in a log.

use std::{collections::HashMap, future::Future, sync::Arc};

use nubium_api::{
    Condition,
    contract::{READY, RECONCILING, STALLED, Writer},
};
use nubium_runtime::{Chain, Key, Loop, Next, PassError, Queue, Wait, claim_status};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::{
    addressed::{self, Addressed},
    error::Error,
    verdict::{Verdict, writer},
    world::{Cached, World},
};

/// A failure that may pass is written after this many: a busy API server is no news of the object.
const FAILURES_BEFORE_REPORT: u32 = 3;

/// The conditions that say of an object how it stands, when a pass for it fails.
type Summary<K> = fn(&K, &Verdict) -> Vec<Condition>;

/// Runs passes for one kind for ever. A pass that fails says so in `Ready` of its object, by the kind's own controller.
pub(crate) async fn run<K, F, Fut>(world: Arc<World>, settings: Loop, queue: Queue<Key>, pass: F)
where
    K: Cached,
    F: Fn(Key) -> Fut,
    Fut: Future<Output = Result<Next, Error>> + Send + 'static,
{
    let summary: Summary<K> = |object, verdict| verdict.conditions(object.meta().generation);
    run_with(world, (K::CONTROLLER, summary), settings, queue, pass).await;
}

/// Like [`run`], for a writer whose part has no `Ready`: a pass that fails says so in the conditions of that summary.
pub(crate) async fn run_with<K, F, Fut>(
    world: Arc<World>,
    (part, summary): (Writer, Summary<K>),
    settings: Loop,
    queue: Queue<Key>,
    pass: F,
) where
    K: Cached,
    F: Fn(Key) -> Fut,
    Fut: Future<Output = Result<Next, Error>> + Send + 'static,
{
    let failures = Arc::new(Mutex::new(HashMap::<Key, u32>::new()));
    let reported = |key: Key| {
        let (work, failures) = (pass(key.clone()), failures.clone());
        let world = world.clone();
        async move {
            let done = work.await;
            let Err(error) = &done else {
                failures.lock().remove(&key);
                return done;
            };
            if error.wait() == Wait::Backoff {
                let count = {
                    let mut failures = failures.lock();
                    let count = failures.entry(key.clone()).or_default();
                    *count = count.saturating_add(1);
                    *count
                };
                if error.is_refused() || count >= FAILURES_BEFORE_REPORT {
                    report(&world, (part, summary), &key, error).await;
                }
            }
            done
        }
    };
    nubium_runtime::run(settings, queue, reported).await;
}

/// Writes that the pass failed. Where that fails too, the log has both.
async fn report<K: Cached>(world: &World, (part, summary): (Writer, Summary<K>), key: &Key, error: &Error) {
    let Some(object) = K::cache(world).get(key) else { return };
    let verdict = Verdict::working("StepFailed", format!("trying again: {}", Chain(error)));
    let status = failed(&json!(*object)["status"], &part, &summary(&object, &verdict));
    let api = addressed::api(world.client.clone(), key);
    // What the writer decided before is written again: only if it is still the last that it decided.
    if let Err(error) = claim_status(&api, &Addressed(object.as_ref().clone()), &writer(&part), &status).await {
        tracing::debug!(error = %Chain(&error), "cannot write that the pass failed");
    }
}

/// The writer's part as it stands, with another summary: what it decided before is kept.
fn failed(status: &Value, part: &Writer, summary: &[Condition]) -> Value {
    let mut own: Map<String, Value> =
        part.fields.iter().filter_map(|field| Some(((*field).to_owned(), status.get(*field)?.clone()))).collect();
    let others = status["conditions"].as_array().cloned().unwrap_or_default().into_iter().filter(|condition| {
        let type_ = condition["type"].as_str().unwrap_or_default();
        let said = [READY, RECONCILING, STALLED].contains(&type_) || summary.iter().any(|fact| fact.type_ == type_);
        part.conditions.contains(&type_) && !said
    });
    let conditions: Vec<Value> = summary.iter().map(|condition| json!(condition)).chain(others).collect();
    own.insert("conditions".to_owned(), conditions.into());
    own.into()
}

#[cfg(test)]
mod tests {
    use nubium_api::{Kind as _, Network};

    use super::*;

    #[test]
    fn a_failed_pass_keeps_what_was_decided_and_is_not_ready() {
        let status = json!({"vni": 5000, "mtu": 1430, "observedGeneration": 1, "hosts": [{"name": "a"}], "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "InUse", "status": "False"}, {"type": "Others", "status": "True"},
        ]});
        let verdict = Verdict::working("StepFailed", "no").conditions(Some(2));
        let own = failed(&status, &Network::CONTROLLER, &verdict);
        assert_eq!((&own["vni"], &own["mtu"], own.get("hosts")), (&json!(5000), &json!(1430), None));
        let types: Vec<_> =
            own["conditions"].as_array().unwrap().iter().map(|fact| (&fact["type"], &fact["status"])).collect();
        let expected =
            [("Ready", "False"), ("Reconciling", "True"), ("InUse", "False")].map(|(a, b)| (json!(a), json!(b)));
        assert_eq!(types, expected.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>());
    }
}
