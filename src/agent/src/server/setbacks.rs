//! What failed is tried again later each time.
//!
//! libvirt tells of every start that fails, and that wakes the next pass: alone, a guest that cannot start would be
//! started several times a second. A Server that was changed since is tried at once.

use std::collections::HashMap;
use std::time::Duration;

use nubium_runtime::Key;
use parking_lot::Mutex;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(8);

struct Setback {
    generation: Option<i64>,
    times: u32,
    until: Instant,
}

/// The Servers whose last pass failed. All of it can be lost.
#[derive(Default)]
pub struct Setbacks(Mutex<HashMap<Key, Setback>>);

impl Setbacks {
    /// For how long nothing is to be tried yet for this generation.
    pub fn rest(&self, server: &Key, generation: Option<i64>) -> Option<Duration> {
        let setbacks = self.0.lock();
        let setback = setbacks.get(server).filter(|setback| setback.generation == generation)?;
        setback.until.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero())
    }

    /// It failed: how long to leave it alone.
    pub fn failed(&self, server: &Key, generation: Option<i64>) -> Duration {
        let mut setbacks = self.0.lock();
        let before = setbacks.get(server).filter(|setback| setback.generation == generation);
        let times = before.map_or(0, |setback| setback.times.saturating_add(1));
        let rest = FIRST.saturating_mul(1 << times.min(8)).min(LONGEST);
        setbacks.insert(server.clone(), Setback { generation, times, until: Instant::now() + rest });
        rest
    }

    /// It went well, or is no more.
    pub fn over(&self, server: &Key) {
        self.0.lock().remove(server);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_fails_rests_longer_each_time_until_it_is_changed_or_goes_well() {
        let (setbacks, web) = (Setbacks::default(), Key::new("shop", "web"));
        let mut rests = Vec::new();
        for _ in 0..6 {
            assert_eq!(setbacks.rest(&web, Some(1)), None);
            let rest = setbacks.failed(&web, Some(1));
            assert_eq!(setbacks.rest(&web, Some(1)), Some(rest));
            rests.push(rest.as_secs());
            tokio::time::advance(rest).await;
        }
        assert_eq!(rests, [1, 2, 4, 8, 8, 8]);
        setbacks.failed(&web, Some(1));
        assert_eq!(setbacks.rest(&web, Some(2)), None, "its owner has changed it");
        setbacks.over(&web);
        assert_eq!((setbacks.rest(&web, Some(1)), setbacks.failed(&web, Some(1))), (None, FIRST));
    }
}
