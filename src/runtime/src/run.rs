//! The one way to run a reconciler: keys in, passes out, a bounded number at a time.

use std::{
    collections::HashMap,
    error::Error,
    fmt::{Debug, Display},
    future::Future,
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tracing::{Instrument, debug, info_span, warn};

use crate::{
    Chain, Queue, conflict,
    errors::{already_exists, not_found},
    measures::{self, Ended},
    queue::Ticket,
};

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// After a conflict the next event wakes the key; this is for the case that none comes.
const CONFLICT_SAFETY: Duration = Duration::from_secs(5);

/// What a pass that went well asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Wait for events (and the periodic pass, where there is one).
    Settled,
    /// Look again after this time, or at an event if one comes sooner.
    After(Duration),
    /// The object is no more: forget the key.
    Gone,
}

/// What a pass that failed waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The next event: we acted on an old picture, and the new one is on its way.
    Event,
    /// A while, longer each time.
    Backoff,
}

/// An error of a pass.
pub trait PassError: Error + Send + 'static {
    /// What to wait for before the next pass.
    fn wait(&self) -> Wait;
}

impl PassError for kube::Error {
    fn wait(&self) -> Wait {
        if conflict(self) || already_exists(self) || not_found(self) { Wait::Event } else { Wait::Backoff }
    }
}

/// How a reconciler runs.
#[derive(Debug, Clone, Copy)]
pub struct Loop {
    /// For logs and metrics.
    pub name: &'static str,
    /// How many passes run at a time, each for another key.
    pub workers: usize,
    /// A pass for every key at least this often (a fifth more or less), for what events miss.
    pub resync: Option<Duration>,
}

/// Runs passes for the keys of `queue` for ever. Dropping the future stops it, passes included.
pub async fn run<T, F, Fut, E>(settings: Loop, queue: Queue<T>, pass: F)
where
    T: Clone + Eq + Hash + Display + Debug + Send + 'static,
    F: Fn(T) -> Fut,
    Fut: Future<Output = Result<Next, E>> + Send + 'static,
    E: PassError,
{
    queue.measure(settings.name);
    let failures = Arc::new(Mutex::new(HashMap::<T, u32>::new()));
    let mut passes = JoinSet::new();
    loop {
        while passes.len() >= settings.workers.max(1) {
            passes.join_next().await;
        }
        let ticket = tokio::select! {
            ticket = queue.next() => ticket,
            Some(_) = passes.join_next() => continue,
        };
        let span = info_span!("pass", of = settings.name, key = %ticket.key);
        let work = pass(ticket.key.clone());
        let watched = one_pass(settings, queue.clone(), ticket, work, failures.clone());
        passes.spawn(watched.instrument(span));
    }
}

async fn one_pass<T, E>(
    settings: Loop,
    queue: Queue<T>,
    ticket: Ticket<T>,
    work: impl Future<Output = Result<Next, E>> + Send + 'static,
    failures: Arc<Mutex<HashMap<T, u32>>>,
) where
    T: Clone + Eq + Hash + Display + Debug + Send + 'static,
    E: PassError,
{
    let key = ticket.key.clone();
    let measured = measures::Pass::begin(settings.name);
    // A task of its own, so that a panic in it is a failure of this key and not the end of the loop.
    let mut task = JoinSet::new();
    task.spawn(work.in_current_span());
    let done = task.join_next().await.expect("one task was spawned");
    let (ended, next) = match done {
        Ok(Ok(next)) => {
            failures.lock().remove(&key);
            match next {
                Next::Settled => (Ended::Success, settings.resync.map(jittered)),
                Next::After(delay) => (Ended::RequeueAfter, Some(delay)),
                Next::Gone => (Ended::Success, None),
            }
        }
        Ok(Err(error)) if error.wait() == Wait::Event => {
            debug!(error = %Chain(&error), "stale cache (409 or 404), waiting for the next watch event");
            (Ended::Requeue, Some(CONFLICT_SAFETY))
        }
        Ok(Err(error)) => (Ended::Error, Some(failed(&key, &failures, &Chain(&error)))),
        Err(panic) => (Ended::Error, Some(failed(&key, &failures, &panic))),
    };
    measured.end(ended);
    if let Some(delay) = next {
        queue.add_after(key, delay);
    }
    drop(ticket);
}

/// Counts a failure, says so the first time, and gives the time to wait.
fn failed<T: Clone + Eq + Hash>(key: &T, failures: &Mutex<HashMap<T, u32>>, error: &dyn Display) -> Duration {
    let mut failures = failures.lock();
    let count = failures.entry(key.clone()).or_insert(0);
    let delay = backoff(*count);
    if *count == 0 {
        warn!(%error, "a pass failed, trying again");
    } else {
        debug!(%error, failures = *count + 1, "a pass failed again");
    }
    *count = count.saturating_add(1);
    delay
}

fn backoff(failures: u32) -> Duration {
    jittered(FIRST_BACKOFF.saturating_mul(1 << failures.min(16)).min(LONGEST_BACKOFF))
}

/// A fifth more or less, so that many keys do not come back at once.
fn jittered(time: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 401;
    time.mul_f64(0.8 + random as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::Instant;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no")]
    struct No(Wait);

    impl PassError for No {
        fn wait(&self) -> Wait {
            self.0
        }
    }

    /// Runs the loop for `seconds` of paused time; gives when each pass began, in milliseconds.
    async fn starts(
        seconds: u64,
        resync: Option<Duration>,
        outcome: impl Fn(u32) -> Result<Next, No> + Clone + Send + Sync + 'static,
    ) -> Vec<u128> {
        let queue = Queue::new();
        queue.add("a");
        let begun = Arc::new(Mutex::new(Vec::new()));
        let start = Instant::now();
        let log = begun.clone();
        let running = run(Loop { name: "test", workers: 2, resync }, queue, move |_| {
            let (log, outcome) = (log.clone(), outcome.clone());
            async move {
                let count = {
                    let mut log = log.lock();
                    log.push(start.elapsed().as_millis());
                    log.len() as u32
                };
                outcome(count)
            }
        });
        let _ = tokio::time::timeout(Duration::from_secs(seconds), running).await;
        let begun = begun.lock();
        begun.clone()
    }

    #[tokio::test(start_paused = true)]
    async fn failures_come_back_later_each_time_and_a_success_starts_afresh() {
        let begun = starts(60, None, |count| if count <= 4 { Err(No(Wait::Backoff)) } else { Ok(Next::Settled) }).await;
        assert_eq!(begun.len(), 5);
        for (step, expected) in begun.windows(2).zip([50.0, 100.0, 200.0, 400.0]) {
            let pause = (step[1] - step[0]) as f64;
            assert!((expected * 0.79..=expected * 1.21 + 2.0).contains(&pause), "{begun:?}");
        }
        assert!(backoff(60) <= LONGEST_BACKOFF.mul_f64(1.2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_conflict_waits_for_an_event_and_only_in_the_end_for_the_clock() {
        let begun = starts(6, None, |count| if count == 1 { Err(No(Wait::Event)) } else { Ok(Next::Settled) }).await;
        assert_eq!(begun.len(), 2);
        assert!(begun[1] >= 5000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_a_failure_of_that_key_only() {
        let begun = starts(1, None, |count| if count == 1 { panic!("on purpose") } else { Ok(Next::Settled) }).await;
        assert_eq!(begun.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn settled_keys_are_looked_at_periodically_and_gone_ones_are_not() {
        let every = Some(Duration::from_secs(10));
        assert!(starts(60, every, |_| Ok(Next::Settled)).await.len() >= 5);
        assert_eq!(starts(60, every, |_| Ok(Next::Gone)).await.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_passes_run_at_a_time_than_there_are_workers() {
        let queue = Queue::new();
        (0..10).for_each(|key| queue.add(key));
        let (now, most, done) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (n, m, d) = (now.clone(), most.clone(), done.clone());
        let running = run(Loop { name: "test", workers: 3, resync: None }, queue, move |_| {
            let (n, m, d) = (n.clone(), m.clone(), d.clone());
            async move {
                m.fetch_max(n.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(10)).await;
                n.fetch_sub(1, Ordering::SeqCst);
                d.fetch_add(1, Ordering::SeqCst);
                Ok::<_, No>(Next::Settled)
            }
        });
        let _ = tokio::time::timeout(Duration::from_secs(1), running).await;
        assert_eq!((most.load(Ordering::SeqCst), done.load(Ordering::SeqCst)), (3, 10));
    }
}
