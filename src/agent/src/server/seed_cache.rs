//! The seeds that a controller rendered for the Servers here: each is read once.
//!
//! A host may read its Secrets and not watch them, so one that is not there yet is asked for again, later each time:
//! it comes within milliseconds, or when somebody makes the Secret or ConfigMap that it is rendered from.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use nubium_api::{contract, host_namespace};
use nubium_host::seed::Seed;
use parking_lot::Mutex;
use tokio::time::Instant;

const FIRST_LOOK: Duration = Duration::from_millis(100);
/// What it is waited for so long usually wakes the pass sooner: the Server's status names what it lacks.
const LAST_LOOK: Duration = Duration::from_secs(5);

enum Entry {
    Awaited { since: Instant },
    Read(Seed),
}

/// What is known of the seeds, by Server UID. All of it can be lost.
#[derive(Default)]
pub struct SeedCache(Mutex<HashMap<String, Entry>>);

impl SeedCache {
    /// The seed of that Server, once it is there.
    pub async fn read(&self, client: &Client, host: &str, uid: &str) -> Result<Option<Seed>, kube::Error> {
        if let Some(Entry::Read(seed)) = self.0.lock().get(uid) {
            return Ok(Some(seed.clone()));
        }
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &host_namespace(host));
        let seed = secrets.get_opt(&contract::seed_name(uid)).await?.and_then(seed_in);
        if let Some(seed) = &seed {
            self.0.lock().insert(uid.to_owned(), Entry::Read(seed.clone()));
        }
        Ok(seed)
    }

    /// After what time to ask again for one that is not there: as long again as it was waited for so far.
    pub fn ask_again(&self, uid: &str) -> Duration {
        let mut entries = self.0.lock();
        let entry = entries.entry(uid.to_owned()).or_insert_with(|| Entry::Awaited { since: Instant::now() });
        match entry {
            Entry::Awaited { since } => since.elapsed().clamp(FIRST_LOOK, LAST_LOOK),
            Entry::Read(_) => FIRST_LOOK,
        }
    }

    /// The Server is no more.
    pub fn forget(&self, uid: &str) {
        self.0.lock().remove(uid);
    }
}

fn seed_in(secret: Secret) -> Option<Seed> {
    let mut data = secret.data.unwrap_or_default();
    let mut file = |key: &str| data.remove(key).map(|bytes| bytes.0);
    Some(Seed { meta_data: file("meta-data")?, user_data: file("user-data")?, network_config: file("network-config") })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn user_data_is_bytes() {
        let bytes: Vec<u8> = (0..=255).collect();
        let files = ["meta-data", "user-data"].map(|name| (name.to_owned(), ByteString(bytes.clone())));
        let seed = seed_in(Secret { data: Some(files.into()), ..Secret::default() }).unwrap();
        assert_eq!(seed, Seed { meta_data: bytes.clone(), user_data: bytes, network_config: None });
    }

    #[tokio::test(start_paused = true)]
    async fn a_seed_that_does_not_come_is_asked_for_later_each_time() {
        let rendered = SeedCache::default();
        let mut asked = Vec::new();
        for _ in 0..9 {
            let next = rendered.ask_again("u1");
            asked.push(next.as_millis());
            tokio::time::sleep(next).await;
        }
        assert_eq!(asked, [100, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        rendered.forget("u1");
        assert_eq!(rendered.ask_again("u1"), FIRST_LOOK);
    }
}
