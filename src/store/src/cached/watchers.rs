//! Who is woken by a change: the watches whose prefix the key has, and nobody else.
//!
//! All other watches learn at intervals that the revision has moved on, so that they can say so.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch as notify;

/// The prefixes that are watched.
pub(super) struct Watchers {
    groups: Mutex<Groups>,
    /// How often all are told that the revision has moved.
    interval: Duration,
}

#[derive(Default)]
struct Groups {
    by_prefix: HashMap<Arc<str>, notify::Sender<()>>,
    /// How many prefixes have each length: only these are looked up.
    lengths: BTreeMap<usize, usize>,
    last_moved: Option<Instant>,
}

/// One watch's place among them; it goes when this is dropped.
pub(super) struct Subscription {
    watchers: Arc<Watchers>,
    prefix: Arc<str>,
    changed: Option<notify::Receiver<()>>,
}

impl Watchers {
    pub fn new(interval: Duration) -> Self {
        Self { groups: Mutex::default(), interval }
    }

    pub fn subscribe(self: &Arc<Self>, prefix: &str) -> Subscription {
        let mut groups = self.groups.lock();
        let (prefix, changed) = match groups.by_prefix.get_key_value(prefix) {
            Some((prefix, group)) => (prefix.clone(), group.subscribe()),
            None => {
                let (group, changed) = notify::channel(());
                let prefix: Arc<str> = prefix.into();
                groups.by_prefix.insert(prefix.clone(), group);
                *groups.lengths.entry(prefix.len()).or_default() += 1;
                (prefix, changed)
            }
        };
        Subscription { watchers: self.clone(), prefix, changed: Some(changed) }
    }

    /// Wakes those that watch one of these keys; and all others when that was not done for an interval.
    pub fn wake(&self, keys: &[Arc<str>]) {
        let mut groups = self.groups.lock();
        for key in keys {
            for length in groups.lengths.range(..=key.len()).map(|(length, _)| *length) {
                if let Some(group) = key.get(..length).and_then(|prefix| groups.by_prefix.get(prefix)) {
                    group.send_replace(());
                }
            }
        }
        let now = Instant::now();
        if groups.last_moved.is_none_or(|last| now.duration_since(last) >= self.interval) {
            groups.last_moved = Some(now);
            for group in groups.by_prefix.values() {
                group.send_replace(());
            }
        }
    }
}

impl Subscription {
    /// Returns when a key under the prefix has changed since the last call, or it is time to say that others have.
    pub async fn woken(&mut self) {
        if let Some(changed) = self.changed.as_mut() {
            // The sender stays for as long as anybody is subscribed.
            let _ = changed.changed().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut groups = self.watchers.groups.lock();
        self.changed = None;
        if groups.by_prefix.get(&self.prefix).is_some_and(|group| group.receiver_count() == 0) {
            groups.by_prefix.remove(&self.prefix);
            let length = self.prefix.len();
            if let Some(count) = groups.lengths.get_mut(&length) {
                *count -= 1;
                if *count == 0 {
                    groups.lengths.remove(&length);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn keys(keys: &[&str]) -> Vec<Arc<str>> {
        keys.iter().map(|key| (*key).into()).collect()
    }

    #[test]
    fn only_those_under_the_prefix_are_woken() {
        let watchers = Arc::new(Watchers::new(Duration::from_secs(3600)));
        watchers.wake(&keys(&["/first"]));
        let mut pods = watchers.subscribe("/pods/");
        let mut again = watchers.subscribe("/pods/");
        let mut shop = watchers.subscribe("/pods/shop/");
        let mut umlaut = watchers.subscribe("/pods/\u{fc}");
        let mut all = watchers.subscribe("");
        watchers.wake(&keys(&["/pods/blue/web", "/pods/\u{fd}"]));
        assert!(pods.woken().now_or_never().is_some() && again.woken().now_or_never().is_some());
        assert!(all.woken().now_or_never().is_some());
        assert!(shop.woken().now_or_never().is_none() && umlaut.woken().now_or_never().is_none());
        assert!(pods.woken().now_or_never().is_none(), "once");
        watchers.wake(&keys(&["/pods/shop/web", "/pod"]));
        assert!(shop.woken().now_or_never().is_some());
    }

    #[test]
    fn others_hear_that_the_revision_moves() {
        let watchers = Arc::new(Watchers::new(Duration::ZERO));
        let mut pods = watchers.subscribe("/pods/");
        watchers.wake(&keys(&["/secrets/a"]));
        assert!(pods.woken().now_or_never().is_some());
    }

    #[test]
    fn nothing_is_kept_of_those_who_went() {
        let watchers = Arc::new(Watchers::new(Duration::ZERO));
        let (one, two) = (watchers.subscribe("/pods/"), watchers.subscribe("/pods/"));
        drop(one);
        assert_eq!(watchers.groups.lock().by_prefix.len(), 1);
        drop(two);
        let groups = watchers.groups.lock();
        assert!(groups.by_prefix.is_empty() && groups.lengths.is_empty());
    }
}
