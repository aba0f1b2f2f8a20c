//! Accepts connections, checks who they are, and hands their requests on.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::{ADMINS, Lookup, answer};

/// A client that does not finish its handshake by then is let go.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>, lookup: Arc<Lookup>) {
    let acceptor = TlsAcceptor::from(tls);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (acceptor, lookup) = (acceptor.clone(), lookup.clone());
                tokio::spawn(async move {
                    if let Err(error) = connection(stream, acceptor, lookup).await {
                        debug!(%peer, error = &*error, "a connection to the endpoint ended");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: wait for some to come back.
                debug!(%error, "could not accept a connection to the endpoint");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    lookup: Arc<Lookup>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let allowed = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).is_some_and(|c| is_admin(c));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let lookup = lookup.clone();
        async move { Ok::<_, Infallible>(answer::answer(&lookup, allowed, request).await) }
    });
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await?;
    Ok(())
}

fn is_admin(certificate: &[u8]) -> bool {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(certificate) else { return false };
    certificate.subject().iter_organization().any(|group| group.as_str() == Ok(ADMINS))
}
