//! One connection, from its handshake to its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use crate::Limits;
use crate::activity::{Activity, Counted};
use crate::pool::{Held, Place, Pools};

/// Requests at a time on one HTTP/2 connection, with and without a client certificate.
const STREAMS: u32 = 1000;
const ANONYMOUS_STREAMS: u32 = 16;
/// How long a client may take to close an idle connection after it was asked to.
const GOODBYE: Duration = Duration::from_secs(2);

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    /// Its verified client certificate.
    pub certificate: Option<CertificateDer<'static>>,
}

/// What all connections of a listener share.
pub(crate) struct Shared<F> {
    pub acceptor: TlsAcceptor,
    pub limits: Limits,
    pub pools: Pools,
    pub drain: watch::Receiver<bool>,
    pub service: F,
}

pub(crate) async fn connection<F, S, B>(shared: Arc<Shared<F>>, stream: TcpStream, address: SocketAddr, place: Place)
where
    F: Fn(&Peer) -> S,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%address, %error, "cannot set TCP_NODELAY");
    }
    let stream = tokio::select! {
        () = place.evicted() => return debug!(%address, "too many unfinished TLS handshakes, closing the oldest"),
        accepted = tokio::time::timeout(shared.limits.handshake, shared.acceptor.accept(stream)) => match accepted {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return debug!(%address, %error, "a TLS handshake failed"),
            Err(_) => return debug!(%address, "a TLS handshake took too long"),
        },
    };
    let certificate =
        stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map(|first| first.clone().into_owned());
    let peer = Peer { address, certificate };
    let Some(held) = shared.pools.admit(peer.certificate.as_deref()) else {
        return debug!(%address, "too many connections, closing a new one");
    };
    drop(place);
    let service = (shared.service)(&peer);
    requests(&shared.limits, stream, &peer, held, service, shared.drain.clone()).await;
}

async fn requests<S, B>(
    limits: &Limits,
    stream: TlsStream<TcpStream>,
    peer: &Peer,
    held: Held,
    service: S,
    mut drain: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let activity = Activity::new();
    let service = Counted { service, activity: activity.clone(), held: held.clone() };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let anonymous = peer.certificate.is_none();
    let idle = if anonymous { limits.anonymous_idle } else { limits.idle };
    let builder = builder(limits, http2, if anonymous { ANONYMOUS_STREAMS } else { STREAMS }, idle);
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let grace = tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                debug!(address = %peer.address, %error, "a connection ended");
            }
            return;
        }
        () = held.evicted() => return debug!(address = %peer.address, "too many anonymous connections, closing the oldest"),
        () = activity.idle_for(idle) => GOODBYE,
        _ = drain.wait_for(|draining| *draining) => limits.drain,
    };
    connection.as_mut().graceful_shutdown();
    if tokio::time::timeout(grace, connection).await.is_err() {
        debug!(address = %peer.address, "a connection was closed by this end");
    }
}

fn builder(limits: &Limits, http2: bool, streams: u32, idle: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(idle);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(8 << 20)
        .keep_alive_interval(Some(limits.ping))
        .keep_alive_timeout(limits.ping);
    if http2 { builder.http2_only() } else { builder.http1_only() }
}
