//! Costly computations, away from the threads that answer requests.
//!
//! While a thread of the runtime parses, merges and validates a large object, everything else that it serves waits: other
//! requests, and in one process the controllers and the agent. What is large is worked on by threads of their own, few at
//! a time; what is small, at once and where it is.

use std::panic;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tracing::Span;

use crate::failure::Failure;

/// From how many bytes of JSON on a computation is costly: such an object takes a few milliseconds.
const COSTLY: usize = 256 << 10;
/// How many costly computations go on at a time.
const AT_A_TIME: usize = 2;
/// How much longer it takes to compile a schema than to work on another object of its size.
const COMPILING: usize = 16;
/// How much faster bytes are copied than worked on.
const COPYING: usize = 16;

/// Where computations are made. Cheap to clone; all clones share the permits.
#[derive(Debug, Clone)]
pub(crate) struct Computations {
    permits: Arc<Semaphore>,
}

impl Default for Computations {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(AT_A_TIME)) }
    }
}

/// Whether working on so many bytes of JSON would hold up others.
pub(crate) fn is_costly(bytes: usize) -> bool {
    bytes >= COSTLY
}

/// What compiling the schemas in so many bytes costs, in bytes of another object.
pub(crate) fn compiling(bytes: usize) -> usize {
    bytes.saturating_mul(COMPILING)
}

/// What copying so many bytes costs, in bytes worked on.
pub(crate) fn copying(bytes: usize) -> usize {
    bytes / COPYING
}

impl Computations {
    /// Makes a computation on so many bytes: at once if that is little, else when its turn comes. One that has begun is
    /// finished even if nobody waits for it any more, and takes up its place until then.
    ///
    /// # Errors
    /// What `work` answers, and that the server ends.
    pub async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        if is_costly(bytes) { self.elsewhere(work).await } else { work() }
    }

    /// Makes a costly computation on a thread of its own.
    ///
    /// # Errors
    /// As [`Computations::run`].
    pub async fn elsewhere<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let permit = self.permits.clone().acquire_owned().await.expect("nobody closes the semaphore");
        let span = Span::current();
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            span.in_scope(work)
        });
        match done.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(cause) => panic::resume_unwind(cause),
                Err(_) => Err(Failure::internal("the server is shutting down")),
            },
        }
    }
}

#[cfg(test)]
mod tests;
