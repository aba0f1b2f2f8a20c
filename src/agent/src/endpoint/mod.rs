//! The agent's TLS endpoint: consoles and streams to guests, for holders of an admin's certificate.
//!
//! ```text
//!  nubium ssh ── TLS, client certificate ──▶ endpoint ── a socket in the Network's namespace ──▶ guest
//! ```
//! It goes through the Network's namespace, so it works with overlapping ranges, without `hostAccess`, and from
//! another machine than the host. What guests send is passed on unchanged and never interpreted.

mod answer;
mod serve;
mod target;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nubium_api::Server;
use nubium_runtime::Shared;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::measures;

pub use serve::serve;

/// The group whose members may use the endpoint.
const ADMINS: &str = "system:masters";

/// The agent's TLS identity, as PEM files.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The CA that signed it, and that clients must be signed by.
    pub ca: PathBuf,
    /// Its certificate: common name and alternative name are the Host's name.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why the endpoint cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("read {}", path.display())]
    Read { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("use the agent's certificate")]
    Certificate(#[source] rustls::Error),
    #[error("use the cloud's CA")]
    Authority(#[source] rustls::server::VerifierBuilderError),
    #[error("listen on {address}")]
    Listen { address: SocketAddr, source: std::io::Error },
}

/// What the endpoint looks things up in.
pub struct Lookup {
    /// The Servers of this host.
    pub servers: Shared<Server>,
    /// Where their console logs are.
    pub consoles: Consoles,
}

/// Where the console log of a Server is.
pub type Consoles = Arc<dyn Fn(&Server) -> PathBuf + Send + Sync>;

/// TLS that wants a client certificate of the cloud's CA.
pub fn tls(identity: &Identity) -> Result<Arc<rustls::ServerConfig>, EndpointError> {
    let read = |path: &Path| {
        let failed = |source| EndpointError::Read { path: path.to_owned(), source };
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in read(&identity.ca)? {
        measures::certificate("ca", &certificate);
        roots.add(certificate).map_err(EndpointError::Certificate)?;
    }
    let clients =
        rustls::server::WebPkiClientVerifier::builder(Arc::new(roots)).build().map_err(EndpointError::Authority)?;
    let key = PrivateKeyDer::from_pem_file(&identity.key)
        .map_err(|source| EndpointError::Read { path: identity.key.clone(), source })?;
    let chain = read(&identity.certificate)?;
    if let Some(own) = chain.first() {
        measures::certificate("agent", own);
    }
    let config = rustls::ServerConfig::builder()
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(EndpointError::Certificate)?;
    Ok(Arc::new(config))
}
