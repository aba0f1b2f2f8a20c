//! What fails again and again is a warning once.

use std::collections::HashMap;

use parking_lot::Mutex;
use tracing::{debug, warn};

use crate::Key;

/// The last failure of each object whose last pass could not do what it had to. All of it can be lost.
#[derive(Debug, Default)]
pub struct WarnOnce(Mutex<HashMap<Key, String>>);

impl WarnOnce {
    /// Logs how the object's pass went: a failure as a warning where it is another than last time, else as debug output.
    pub fn log(&self, key: &Key, failure: Option<&str>) {
        match failure {
            Some(error) if self.is_news(key, error) => warn!(error, "a step failed, trying again"),
            Some(error) => debug!(error, "a step failed again"),
            None => self.over(key),
        }
    }

    /// The object's pass does not fail any more, or the object is gone.
    pub fn over(&self, key: &Key) {
        self.0.lock().remove(key);
    }

    fn is_news(&self, key: &Key, failure: &str) -> bool {
        self.0.lock().insert(key.clone(), failure.to_owned()).is_none_or(|last| last != failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_failure_is_news_once_until_it_is_over() {
        let (warnings, web, db) = (WarnOnce::default(), Key::new("shop", "web"), Key::new("shop", "db"));
        assert!(warnings.is_news(&web, "cannot start QEMU"));
        assert!(!warnings.is_news(&web, "cannot start QEMU"));
        assert!(warnings.is_news(&db, "cannot start QEMU"), "of another one");
        assert!(warnings.is_news(&web, "cannot make the tap"));
        warnings.log(&web, None);
        assert!(warnings.is_news(&web, "cannot make the tap"));
    }
}
