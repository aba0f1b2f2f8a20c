//! A few threads for calls that block, with a deadline for each call.
//!
//! A libvirt call cannot be cancelled. One that does not come back costs its thread until it does; the caller is told in
//! time, and told "could not look", which nobody may take for "is not there".

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PoolError {
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("too many calls are waiting")]
    Busy,
    #[error("the call panicked")]
    Panicked,
}

/// A bounded pool. Clones share it; its threads end with the last clone.
#[derive(Debug, Clone)]
pub struct Pool {
    jobs: SyncSender<Job>,
}

impl Pool {
    /// `threads` calls at once, `waiting` more in line.
    #[must_use]
    pub fn new(name: &str, threads: usize, waiting: usize) -> Self {
        let (jobs, queue) = sync_channel::<Job>(waiting);
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads {
            let queue = Arc::clone(&queue);
            let thread = thread::Builder::new().name(format!("{name}-{number}"));
            thread.spawn(move || work(&queue)).expect("a thread can be started when the program starts");
        }
        Self { jobs }
    }

    /// Runs `call` on one of the threads.
    ///
    /// # Errors
    /// When it has not ended after `limit` (it goes on, and its result is lost), or could not begin.
    pub async fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Nobody waits any more: do not act behind the caller's back.
            if !tell.is_closed() {
                tell.send(call()).ok();
            }
        });
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => PoolError::Busy,
        })?;
        match tokio::time::timeout(limit, told).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) => Err(PoolError::Panicked),
            Err(_) => Err(PoolError::Late(limit)),
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A panic drops the job's sender, which tells its caller.
        catch_unwind(AssertUnwindSafe(job)).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stuck_call_is_late_and_others_go_on() {
        let pool = Pool::new("test", 2, 4);
        let (release, stuck) = std::sync::mpsc::channel::<()>();
        let late = pool.run(Duration::from_millis(20), move || stuck.recv().ok()).await;
        assert_eq!(late, Err(PoolError::Late(Duration::from_millis(20))));
        assert_eq!(pool.run(Duration::from_secs(5), || 7).await, Ok(7));
        release.send(()).unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_thread_lives() {
        let pool = Pool::new("test", 1, 4);
        let panicked: Result<(), _> = pool.run(Duration::from_secs(5), || panic!("as the test wants")).await;
        assert_eq!(panicked, Err(PoolError::Panicked));
        assert_eq!(pool.run(Duration::from_secs(5), || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_full_line_is_busy() {
        let pool = Pool::new("test", 1, 4);
        let (release, stuck) = std::sync::mpsc::channel::<()>();
        let (begin, begun) = oneshot::channel();
        let first = tokio::spawn({
            let pool = pool.clone();
            let wait = move || {
                begin.send(()).unwrap();
                stuck.recv().ok()
            };
            async move { pool.run(Duration::from_secs(5), wait).await }
        });
        begun.await.unwrap();
        while pool.jobs.try_send(Box::new(|| ())).is_ok() {}
        assert_eq!(pool.run(Duration::from_secs(5), || 7).await, Err(PoolError::Busy));
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(Some(())));
    }
}
