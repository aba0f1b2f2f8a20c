//! The Servers that were not reported yet since this agent started; until none is left, their statuses may be stale.

use std::collections::BTreeSet;
use std::sync::Arc;

use nubium_runtime::Key;
use tokio::sync::watch;

/// The Servers that were bound here when this agent began and had no complete pass since. Clones share it.
#[derive(Debug, Clone)]
pub struct StartupReports(Arc<watch::Sender<Option<BTreeSet<Key>>>>);

impl Default for StartupReports {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl StartupReports {
    /// These are all that there are.
    pub fn expect(&self, servers: impl IntoIterator<Item = Key>) {
        self.0.send_replace(Some(servers.into_iter().collect()));
    }

    /// A pass for this Server succeeded: its status is what was seen, or it is no more.
    pub fn reported(&self, server: &Key) {
        self.0.send_if_modified(|left| left.as_mut().is_some_and(|left| left.remove(server)));
    }

    /// How many are left; `None`: it is not known yet which there are.
    #[must_use]
    pub fn left(&self) -> Option<usize> {
        self.0.borrow().as_ref().map(BTreeSet::len)
    }

    /// Waits until none is left.
    pub async fn none_left(&self) {
        let mut left = self.0.subscribe();
        // The sender lives in self.
        let _ = left.wait_for(|left| left.as_ref().is_some_and(BTreeSet::is_empty)).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn all_are_reported_when_each_that_was_there_had_its_pass() {
        let (reports, web, db) = (StartupReports::default(), Key::new("shop", "web"), Key::new("shop", "db"));
        assert_eq!((reports.left(), reports.none_left().now_or_never()), (None, None), "nobody has listed them yet");
        reports.expect([web.clone(), db.clone()]);
        reports.reported(&web);
        reports.reported(&web);
        reports.reported(&Key::new("shop", "bound-later"));
        assert_eq!((reports.left(), reports.none_left().now_or_never()), (Some(1), None));
        reports.reported(&db);
        assert_eq!((reports.left(), reports.none_left().now_or_never()), (Some(0), Some(())));
    }

    #[tokio::test]
    async fn a_host_without_servers_has_reported_all_as_soon_as_that_is_known() {
        let reports = StartupReports::default();
        reports.expect([]);
        assert_eq!(reports.none_left().now_or_never(), Some(()));
    }
}
