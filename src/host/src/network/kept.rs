//! The last look at each place, for as long as the kernel notifies of no change there; and who waits for one is woken.
//!
//! What the kernel does not notify of is read again each time by whoever asks, and everything once in [`LOOK_AGAIN`].

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::AbortHandle,
};

use super::{
    error::Result,
    notices::{Notices, Sockets},
};

/// A place is looked at that often without any notification.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
pub(super) struct Kept<K, T> {
    /// Changes mostly come together: who waits is woken by the first, and once more by those of this time.
    pause: Duration,
    places: Mutex<HashMap<K, Place<T>>>,
    changed: UnboundedSender<K>,
    changes: tokio::sync::Mutex<UnboundedReceiver<K>>,
}

struct Place<T> {
    /// The kernel's number of the namespace.
    inode: u64,
    notices: Arc<Notices>,
    watch: AbortHandle,
    last: Option<(Instant, T)>,
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// What may be taken for a look.
pub(super) enum Found<T> {
    /// Nothing was changed since.
    Same(T),
    /// Look: the kernel notifies of changes from now on.
    Changed,
    /// Look, and listen there: see [`Kept::listen`].
    Unheard,
}

impl<K: Eq + Hash + Clone + Send + 'static, T: Clone> Kept<K, T> {
    pub fn new(pause: Duration) -> Self {
        let (changed, changes) = unbounded_channel();
        Self { pause, places: Mutex::default(), changed, changes: tokio::sync::Mutex::new(changes) }
    }

    /// Asked before a look.
    pub fn find(&self, key: &K, inode: u64) -> Found<T> {
        let mut places = self.lock();
        let Some(place) = places.get_mut(key).filter(|place| place.inode == inode) else {
            places.remove(key);
            return Found::Unheard;
        };
        if place.notices.take() {
            place.last = None;
        }
        match &place.last {
            Some((began, seen)) if began.elapsed() < LOOK_AGAIN => Found::Same(seen.clone()),
            _ => Found::Changed,
        }
    }

    /// Hears of changes from now on; what was there before is still to be looked at. Must be called within a tokio runtime.
    pub fn listen(&self, key: &K, inode: u64, sockets: Sockets) -> Result<()> {
        let notices = Arc::new(Notices::new(sockets)?);
        let (watched, changed, name, pause) = (Arc::clone(&notices), self.changed.clone(), key.clone(), self.pause);
        let watch = tokio::spawn(async move {
            while watched.wait().await.is_ok() && changed.send(name.clone()).is_ok() {
                tokio::time::sleep(pause).await;
            }
        });
        let place = Place { inode, notices, watch: watch.abort_handle(), last: None };
        self.lock().insert(key.clone(), place);
        Ok(())
    }

    /// Takes in a look that began then.
    pub fn keep(&self, key: &K, inode: u64, began: Instant, seen: T) {
        if let Some(place) = self.lock().get_mut(key).filter(|place| place.inode == inode) {
            place.last = Some((began, seen));
        }
    }

    /// The place is gone.
    pub fn forget(&self, key: &K) {
        self.lock().remove(key);
    }

    /// The next place that something is changed in.
    pub async fn changed(&self) -> K {
        match self.changes.lock().await.recv().await {
            Some(key) => key,
            // The other end is ours.
            None => std::future::pending().await,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, Place<T>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
