//! Keeps passing states to ourselves. Most last a few milliseconds; told one by one they would cost a write each, on
//! the very path that people wait for.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Key;

const PATIENCE: Duration = Duration::from_millis(150);

/// Since when the status of an object should say something else. All of it can be lost.
#[derive(Debug, Default)]
pub struct StatusDebounce(Mutex<HashMap<Key, Instant>>);

impl StatusDebounce {
    /// The time for which a passing state of this object is still kept back; None when it is to be told now.
    pub fn hold(&self, key: &Key) -> Option<Duration> {
        let waited = self.0.lock().entry(key.clone()).or_insert_with(Instant::now).elapsed();
        PATIENCE.checked_sub(waited).filter(|rest| !rest.is_zero())
    }

    /// The status says what it should, or there is no object any more.
    pub fn settled(&self, key: &Key) {
        self.0.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_lasts_is_told_once_its_time_is_up() {
        let (patience, key) = (StatusDebounce::default(), Key::cluster("a"));
        assert_eq!(patience.hold(&key), Some(PATIENCE));
        tokio::time::advance(PATIENCE / 3).await;
        assert_eq!(patience.hold(&key), Some(PATIENCE - PATIENCE / 3));
        tokio::time::advance(PATIENCE).await;
        assert_eq!(patience.hold(&key), None);
        patience.settled(&key);
        assert_eq!(patience.hold(&key), Some(PATIENCE));
    }
}
