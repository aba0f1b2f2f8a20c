//! The API on a TLS port.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use nubium_listener::Limits;
use rustls::ServerConfig;
use tokio::net::TcpListener;

use crate::access::Identity;
use crate::server::ApiServer;

impl ApiServer {
    /// Serves the API on `listener` until `stop` completes; then watches end and open requests finish. Dropping the future
    /// closes every connection at once.
    ///
    /// # Errors
    /// When the listener itself fails; a failure of one connection ends that connection only.
    pub async fn serve_tls(
        &self,
        listener: TcpListener,
        tls: Arc<ServerConfig>,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let server = self.clone();
        let stop = async {
            stop.await;
            self.0.stopping.send_replace(true);
        };
        nubium_listener::serve(listener, tls, Limits::of_this_process(), stop, move |peer| {
            let identity = peer.certificate.as_ref().and_then(Identity::from_certificate);
            let identity = identity.unwrap_or_else(Identity::anonymous);
            let server = server.clone();
            service_fn(move |mut request: Request<Incoming>| {
                let server = server.clone();
                request.extensions_mut().insert(identity.clone());
                async move { Ok::<_, Infallible>(server.handle(request).await) }
            })
        })
        .await
    }
}
