//! The accept loop.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use crate::Limits;
use crate::connection::{Peer, Shared, connection};
use crate::pool::Pools;

/// How long to wait when the process has no descriptor left for a connection.
const NO_DESCRIPTORS: Duration = Duration::from_millis(50);

/// Serves HTTP/1.1, and HTTP/2 if the TLS configuration offers it, until `stop` completes; then open requests have
/// [`Limits::drain`] to finish. Dropping the future closes everything at once. `service` makes the service of one
/// connection.
///
/// # Errors
/// When the listener itself fails. A failure of one connection ends that connection only.
pub async fn serve<S, B>(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    limits: Limits,
    stop: impl Future<Output = ()>,
    service: impl Fn(&Peer) -> S + Send + Sync + 'static,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (draining, drain) = watch::channel(false);
    let acceptor = TlsAcceptor::from(tls);
    let shared = Arc::new(Shared { acceptor, limits, pools: Pools::new(&limits), drain, service });
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let place = shared.pools.handshakes.enter();
                connections.spawn(connection(shared.clone(), stream, address, place));
            }
            Err(error) if is_passing(&error) => {
                debug!(%error, "cannot accept a connection");
                tokio::time::sleep(NO_DESCRIPTORS).await;
            }
            Err(error) => return Err(error),
        }
    }
    drop(listener);
    let _ = draining.send(true);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain, all).await.is_err() {
        debug!("connections were closed with requests under way");
    }
    Ok(())
}

/// Out of descriptors, or a client that has gone already: neither is the listener's own failure.
fn is_passing(error: &io::Error) -> bool {
    use nix::errno::Errno;
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
        || matches!(
            error.raw_os_error().map(Errno::from_raw),
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)
        )
}
