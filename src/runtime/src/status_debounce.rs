//! Delays the status writes of passing states by 150 ms. Most states last a few milliseconds; each would cost a write, on
//! the very path that people wait for.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Key;

const DELAY: Duration = Duration::from_millis(150);

/// Since when the status of an object should say something else. All of it can be lost.
#[derive(Debug, Default)]
pub struct StatusDebounce(Mutex<HashMap<Key, Instant>>);

impl StatusDebounce {
    /// The time for which a passing state of this object is still held back; None when it is to be written now.
    pub fn hold(&self, key: &Key) -> Option<Duration> {
        let waited = self.0.lock().entry(key.clone()).or_insert_with(Instant::now).elapsed();
        DELAY.checked_sub(waited).filter(|rest| !rest.is_zero())
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
    async fn what_lasts_is_written_once_its_time_is_up() {
        let (debounce, key) = (StatusDebounce::default(), Key::cluster("a"));
        assert_eq!(debounce.hold(&key), Some(DELAY));
        tokio::time::advance(DELAY / 3).await;
        assert_eq!(debounce.hold(&key), Some(DELAY - DELAY / 3));
        tokio::time::advance(DELAY).await;
        assert_eq!(debounce.hold(&key), None);
        debounce.settled(&key);
        assert_eq!(debounce.hold(&key), Some(DELAY));
    }
}
