//! Work inside a network namespace: on a thread made for it, which enters, works and ends.
//!
//! `setns` moves one thread. A pooled thread that was moved would later serve somebody else, in the wrong
//! namespace; so every piece of work has a thread of its own (tens of microseconds), with a small runtime for
//! netlink. Programs run from it (`nft`) inherit its namespace, as does what it reads under `/proc/sys/net`.

use std::{future::Future, time::Duration};

use tokio::sync::oneshot;

use super::{
    error::{NetworkError, Result},
    names::Netns,
    netns,
};

/// No look and no change takes longer, or it counts as failed.
const DEADLINE: Duration = Duration::from_secs(15);
/// As errors call the namespace this process lives in.
const HOST: &str = "the host's network";

/// Runs `work` with a netlink handle, inside `place` (`None`: the namespace this process lives in).
pub(super) async fn inside<T, F, Fut>(place: Option<&Netns>, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(rtnetlink::Handle) -> Fut + Send + 'static,
    Fut: Future<Output = Result<T>>,
{
    let name = place.map_or_else(|| HOST.to_string(), Netns::to_string);
    let (answer, answered) = oneshot::channel();
    let place = place.cloned();
    std::thread::Builder::new()
        .name("netns".into())
        .spawn(move || {
            let entered = place.as_ref().map_or(Ok(()), netns::enter);
            let _ = answer.send(entered.and_then(|()| netlink(work)));
        })
        .map_err(NetworkError::Netlink)?;
    match tokio::time::timeout(DEADLINE, answered).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(NetworkError::ThreadLost { name }),
        Err(_) => Err(NetworkError::TimedOut { name, after: DEADLINE }),
    }
}

/// Runs `work` in the namespace this process lives in, without netlink: no thread of its own is needed.
pub(super) async fn on_host<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::time::timeout(DEADLINE, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(NetworkError::ThreadLost { name: HOST.to_string() }),
        Err(_) => Err(NetworkError::TimedOut { name: HOST.to_string(), after: DEADLINE }),
    }
}

fn netlink<T, F, Fut>(work: F) -> Result<T>
where
    F: FnOnce(rtnetlink::Handle) -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(NetworkError::Netlink)?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NetworkError::Netlink)?;
        tokio::spawn(connection);
        work(handle).await
    })
}
