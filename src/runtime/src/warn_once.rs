//! What fails again and again is a warning once.

use std::collections::HashMap;

use parking_lot::Mutex;
use tracing::{debug, warn};

use crate::Key;

/// The last trouble of each object whose last pass could not do what it had to. All of it can be lost.
#[derive(Debug, Default)]
pub struct WarnOnce(Mutex<HashMap<Key, String>>);

impl WarnOnce {
    /// Logs how the object's pass went: trouble as a warning where it is another than last time, else for who debugs.
    pub fn log(&self, key: &Key, trouble: Option<&str>) {
        match trouble {
            Some(error) if self.is_news(key, error) => warn!(error, "a step failed, trying again"),
            Some(error) => debug!(error, "a step failed again"),
            None => self.over(key),
        }
    }

    /// The object has no trouble any more, or is no more.
    pub fn over(&self, key: &Key) {
        self.0.lock().remove(key);
    }

    fn is_news(&self, key: &Key, trouble: &str) -> bool {
        self.0.lock().insert(key.clone(), trouble.to_owned()).is_none_or(|last| last != trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_news_once_until_it_is_over() {
        let (troubles, web, db) = (WarnOnce::default(), Key::new("shop", "web"), Key::new("shop", "db"));
        assert!(troubles.is_news(&web, "cannot start QEMU"));
        assert!(!troubles.is_news(&web, "cannot start QEMU"));
        assert!(troubles.is_news(&db, "cannot start QEMU"), "of another one");
        assert!(troubles.is_news(&web, "cannot make the tap"));
        troubles.log(&web, None);
        assert!(troubles.is_news(&web, "cannot make the tap"));
    }
}
