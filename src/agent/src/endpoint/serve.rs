//! Accepts connections and passes their requests on with what the client's certificate allows.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::service::service_fn;
use nubium_listener::Limits;
use nubium_runtime::Chain;
use tokio::net::TcpListener;
use tracing::error;

use super::{ADMINS, Lookup, answer};

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>, lookup: Arc<Lookup>) {
    let served =
        nubium_listener::serve(listener, tls, Limits::of_this_process(), std::future::pending(), move |peer| {
            let allowed = peer.certificate.as_deref().is_some_and(is_admin);
            let lookup = lookup.clone();
            service_fn(move |request: hyper::Request<Incoming>| {
                let lookup = lookup.clone();
                async move { Ok::<_, Infallible>(answer::answer(&lookup, allowed, request).await) }
            })
        });
    if let Err(error) = served.await {
        error!(error = %Chain(&error), "the agent's endpoint cannot accept connections any more");
        // The agent's other work does not depend on it.
        std::future::pending::<()>().await;
    }
}

fn is_admin(certificate: &[u8]) -> bool {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(certificate) else { return false };
    certificate.subject().iter_organization().any(|group| group.as_str() == Ok(ADMINS))
}
