//! What failed is tried again later each time.
//!
//! libvirt tells of every start that fails, and that wakes the next pass: alone, a guest that cannot start would be
//! started several times a second. A Server that was changed since is tried at once. That it failed is said even where it
//! could not be said at once: nothing else would take back what was said before.

use std::collections::HashMap;
use std::time::Duration;

use kube::ResourceExt;
use nubium_api::{Server, ServerStatus};
use nubium_runtime::Key;
use parking_lot::Mutex;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(8);

struct Setback {
    of: Input,
    times: u32,
    until: Instant,
    /// What was to be said of it, until it was.
    unsaid: Option<ServerStatus>,
}

/// UID and generation.
type Input = (Option<String>, Option<i64>);

fn input(server: &Server) -> Input {
    (server.uid(), server.metadata.generation)
}

/// The Servers whose last pass failed. All of it can be lost.
#[derive(Default)]
pub struct Backoff(Mutex<HashMap<Key, Setback>>);

impl Backoff {
    /// For how long nothing is to be tried yet for this generation, and what is still to be said of it meanwhile.
    pub fn rest(&self, key: &Key, server: &Server) -> Option<(Duration, Option<ServerStatus>)> {
        let setbacks = self.0.lock();
        let setback = setbacks.get(key).filter(|setback| setback.of == input(server))?;
        let rest = setback.until.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero())?;
        Some((rest, setback.unsaid.clone()))
    }

    /// It failed, and `status` is to be said of it: how long to leave it alone.
    pub fn failed(&self, key: &Key, server: &Server, status: ServerStatus) -> Duration {
        let mut setbacks = self.0.lock();
        let of = input(server);
        let before = setbacks.get(key).filter(|setback| setback.of == of);
        let times = before.map_or(0, |setback| setback.times.saturating_add(1));
        let rest = FIRST.saturating_mul(1 << times.min(8)).min(LONGEST);
        setbacks.insert(key.clone(), Setback { of, times, until: Instant::now() + rest, unsaid: Some(status) });
        rest
    }

    /// What was to be said of it is.
    pub fn said(&self, key: &Key) {
        if let Some(setback) = self.0.lock().get_mut(key) {
            setback.unsaid = None;
        }
    }

    /// It went well, or is no more.
    pub fn over(&self, key: &Key) {
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
        let (setbacks, key, web) = (Backoff::default(), Key::new("shop", "web"), server("u1", 1));
        let failed = || setbacks.failed(&key, &web, ServerStatus::default());
        let rest = |server: &Server| setbacks.rest(&key, server).map(|(rest, _)| rest);
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
        setbacks.over(&key);
        assert_eq!((rest(&web), failed()), (None, FIRST));
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_said_is_kept_until_it_is() {
        let (setbacks, key, web) = (Backoff::default(), Key::new("shop", "web"), server("u1", 1));
        let status = ServerStatus { host: Some("host-a".into()), ..ServerStatus::default() };
        setbacks.failed(&key, &web, status);
        let unsaid = || setbacks.rest(&key, &web).unwrap().1.and_then(|status| status.host);
        assert_eq!(unsaid().as_deref(), Some("host-a"));
        setbacks.said(&key);
        assert_eq!(unsaid(), None);
    }
}
