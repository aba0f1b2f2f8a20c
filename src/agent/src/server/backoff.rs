//! What failed is tried again later each time.
//!
//! libvirt sends an event for every start that fails, and that wakes the next pass: without a backoff, a guest that cannot
//! start would be started several times a second. A Server that was changed since is tried at once. A status that could not
//! be written when the pass failed is kept and written later: nothing else would replace the status of before.

use std::collections::HashMap;
use std::time::Duration;

use kube::ResourceExt;
use nubium_api::{Server, ServerStatus};
use nubium_runtime::Key;
use parking_lot::Mutex;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(8);

struct Failures {
    of: Input,
    count: u32,
    until: Instant,
    /// The status of the last failure, until it is written.
    pending: Option<ServerStatus>,
}

/// UID and generation.
type Input = (Option<String>, Option<i64>);

fn input(server: &Server) -> Input {
    (server.uid(), server.metadata.generation)
}

/// The Servers whose last pass failed. All of it can be lost.
#[derive(Default)]
pub struct Backoff(Mutex<HashMap<Key, Failures>>);

impl Backoff {
    /// For how long nothing is tried yet for this generation, and the status that is still to be written meanwhile.
    pub fn rest(&self, key: &Key, server: &Server) -> Option<(Duration, Option<ServerStatus>)> {
        let all = self.0.lock();
        let failures = all.get(key).filter(|failures| failures.of == input(server))?;
        let rest = failures.until.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero())?;
        Some((rest, failures.pending.clone()))
    }

    /// The pass failed, and `status` is still to be written: how long to wait before the next one.
    pub fn failed(&self, key: &Key, server: &Server, status: ServerStatus) -> Duration {
        let mut all = self.0.lock();
        let of = input(server);
        let before = all.get(key).filter(|failures| failures.of == of);
        let count = before.map_or(0, |failures| failures.count.saturating_add(1));
        let rest = FIRST.saturating_mul(1 << count.min(8)).min(LONGEST);
        all.insert(key.clone(), Failures { of, count, until: Instant::now() + rest, pending: Some(status) });
        rest
    }

    /// The pending status has been written.
    pub fn written(&self, key: &Key) {
        if let Some(failures) = self.0.lock().get_mut(key) {
            failures.pending = None;
        }
    }

    /// The pass succeeded, or the Server is no more.
    pub fn forget(&self, key: &Key) {
        self.0.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn server(uid: &str, generation: i64) -> Server {
        serde_json::from_value(json!({
            "apiVersion": "nubium.dev/v1alpha1", "kind": "Server",
            "metadata": {"name": "web", "namespace": "shop", "uid": uid, "generation": generation},
            "spec": {"flavor": "small", "disks": [{"name": "root", "blank": {}, "size": "1Gi"}]},
        }))
        .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_rests_longer_each_time_until_it_is_changed_or_goes_well() {
        let (backoff, key, web) = (Backoff::default(), Key::new("shop", "web"), server("u1", 1));
        let failed = || backoff.failed(&key, &web, ServerStatus::default());
        let rest = |server: &Server| backoff.rest(&key, server).map(|(rest, _)| rest);
        let mut rests = Vec::new();
        for _ in 0..6 {
            assert_eq!(rest(&web), None);
            let pause = failed();
            assert_eq!(rest(&web), Some(pause));
            rests.push(pause.as_secs());
            tokio::time::advance(pause).await;
        }
        assert_eq!(rests, [1, 2, 4, 8, 8, 8]);
        failed();
        assert_eq!(rest(&server("u1", 2)), None, "its owner has changed it");
        assert_eq!(rest(&server("u2", 1)), None, "it is another one");
        backoff.forget(&key);
        assert_eq!((rest(&web), failed()), (None, FIRST));
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_that_could_not_be_written_is_kept_until_it_is() {
        let (backoff, key, web) = (Backoff::default(), Key::new("shop", "web"), server("u1", 1));
        let status = ServerStatus { host: Some("host-a".into()), ..ServerStatus::default() };
        backoff.failed(&key, &web, status);
        let pending = || backoff.rest(&key, &web).unwrap().1.and_then(|status| status.host);
        assert_eq!(pending().as_deref(), Some("host-a"));
        backoff.written(&key);
        assert_eq!(pending(), None);
    }
}
