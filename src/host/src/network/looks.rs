//! Looks that several passes ask for at once are taken once.
//!
//! A look is shared while it is fresh and nothing was changed by us since it began. What somebody else changes is seen
//! by the next look after that.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex as Std, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

/// Counts our own changes; a look from before one of them is not shared.
#[derive(Debug, Default)]
pub(super) struct Changes(AtomicU64);

impl Changes {
    /// A change that goes on until what is returned is dropped.
    pub fn begin(&self) -> Changing<'_> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Changing(self)
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub(super) struct Changing<'a>(&'a Changes);

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The last look by what was looked at.
#[derive(Debug)]
pub(super) struct Looks<K, T> {
    fresh_for: Duration,
    last: Std<HashMap<K, Place<T>>>,
}

type Place<T> = Arc<Mutex<Option<Look<T>>>>;

#[derive(Debug)]
struct Look<T> {
    began: Instant,
    changes: u64,
    seen: T,
}

impl<K: Eq + Hash + Clone, T: Clone> Looks<K, T> {
    pub fn new(fresh_for: Duration) -> Self {
        Self { fresh_for, last: Std::default() }
    }

    /// A look that is fresh, or the one that `look` takes. Whoever asks meanwhile waits for that one.
    pub async fn share<E>(&self, key: K, changes: &Changes, look: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let place = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody waits for and that are over.
            let fresh_for = self.fresh_for;
            let stale = |place: &Place<T>| {
                Arc::strong_count(place) == 1
                    && place.try_lock().is_ok_and(|it| it.as_ref().is_none_or(|it| it.began.elapsed() >= fresh_for))
            };
            last.retain(|other, place| *other == key || !stale(place));
            Arc::clone(last.entry(key).or_default())
        };
        let mut place = place.lock().await;
        if let Some(last) = place.as_ref()
            && last.began.elapsed() < self.fresh_for
            && last.changes == changes.count()
        {
            return Ok(last.seen.clone());
        }
        let (began, count) = (Instant::now(), changes.count());
        let seen = look.await?;
        *place = Some(Look { began, changes: count, seen: seen.clone() });
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::atomic::AtomicUsize};

    use super::*;

    #[tokio::test]
    async fn a_look_is_shared_until_something_changes() {
        let (looks, changes) = (Looks::new(Duration::from_secs(3600)), Changes::default());
        let taken = AtomicUsize::new(0);
        let look = async || Ok::<_, Infallible>(taken.fetch_add(1, Ordering::SeqCst));
        let ask = async |key: u8| looks.share(key, &changes, look()).await.unwrap();
        assert_eq!((ask(1).await, ask(1).await), (0, 0));
        assert_eq!((ask(2).await, ask(1).await), (1, 0), "each of its own");
        let changing = changes.begin();
        assert_eq!(ask(1).await, 2);
        assert_eq!(ask(1).await, 2, "no other change began");
        drop(changing);
        assert_eq!(ask(1).await, 3, "a look from within a change does not count after it");
    }

    #[tokio::test]
    async fn a_failed_look_is_not_shared_and_an_old_one_is_taken_again() {
        let changes = Changes::default();
        let looks = Looks::new(Duration::from_secs(3600));
        assert_eq!(looks.share((), &changes, async { Err::<u8, _>("blind") }).await, Err("blind"));
        assert_eq!(looks.share((), &changes, async { Ok::<_, &str>(1) }).await, Ok(1));
        let never = Looks::new(Duration::ZERO);
        assert_eq!(never.share((), &changes, async { Ok::<_, &str>(1) }).await, Ok(1));
        assert_eq!(never.share((), &changes, async { Ok::<_, &str>(2) }).await, Ok(2));
    }

    #[tokio::test]
    async fn who_asks_meanwhile_waits_for_the_same_look() {
        let (looks, changes) = (Looks::new(Duration::from_secs(3600)), Changes::default());
        let taken = AtomicUsize::new(0);
        let look = || async {
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(taken.fetch_add(1, Ordering::SeqCst))
        };
        let (a, b) = tokio::join!(looks.share((), &changes, look()), looks.share((), &changes, look()));
        assert_eq!((a, b), (Ok(0), Ok(0)));
    }
}
