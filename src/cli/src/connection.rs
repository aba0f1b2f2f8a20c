//! Which cloud, and as whom: the kubeconfig, and a TLS identity for the agents' endpoints out of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use base64::Engine;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::Global;

/// Where `nubium up` leaves the admin's kubeconfig.
pub const ADMIN_KUBECONFIG: &str = "/var/lib/nubium/admin.kubeconfig";

/// A cloud that answers, and the identity we use there.
pub struct Connection {
    /// The API.
    pub client: kube::Client,
    /// The namespace commands work in.
    pub namespace: String,
    /// The kubeconfig that was used, for a command that we start ourselves.
    pub kubeconfig: Option<PathBuf>,
    config: kube::Config,
}

impl Connection {
    /// Reads the kubeconfig. Nothing is sent yet.
    pub async fn open(global: &Global) -> anyhow::Result<Self> {
        let admin = std::fs::File::open(ADMIN_KUBECONFIG);
        let path = global.kubeconfig.clone().or_else(|| admin.is_ok().then(|| PathBuf::from(ADMIN_KUBECONFIG)));
        let config = match &path {
            Some(path) => {
                let kubeconfig = Kubeconfig::read_from(path)
                    .with_context(|| format!("cannot read the kubeconfig {}", path.display()))?;
                kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
            }
            None => match (kube::Config::infer().await, admin) {
                (Ok(config), _) => config,
                (Err(_), Err(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                    bail!(
                        "this machine's cloud is its root's: run this as root, or name a kubeconfig with --kubeconfig"
                    )
                }
                (Err(error), _) if usual_kubeconfig().is_some_and(|file| file.exists()) => {
                    return Err(error).context("cannot use kubectl's kubeconfig");
                }
                (Err(_), _) => {
                    bail!("no cloud found: run `nubium up` on this machine, or name a kubeconfig with --kubeconfig")
                }
            },
        };
        let config = direct(config);
        let namespace = global.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = kube::Client::try_from(config.clone())?;
        Ok(Self { client, namespace, kubeconfig: path, config })
    }

    /// Where its API server is.
    pub fn cloud(&self) -> &http::Uri {
        &self.config.cluster_url
    }

    /// TLS towards the agents: they are known by the cloud's own CA, and know us by our client certificate.
    pub fn tls(&self) -> anyhow::Result<Arc<rustls::ClientConfig>> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in self.config.root_cert.iter().flatten() {
            roots.add(CertificateDer::from(certificate.clone()))?;
        }
        let auth = &self.config.auth_info;
        let certificates = pem(certificate_of(auth)?, "client certificate")?;
        let key = key_of(auth)?;
        let certificates = CertificateDer::pem_slice_iter(&certificates).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&key).context("the kubeconfig's client key is not PEM")?;
        let config = rustls::ClientConfig::builder().with_root_certificates(roots);
        Ok(Arc::new(config.with_client_auth_cert(certificates, key)?))
    }
}

/// A cloud on this very machine is never asked through a proxy, whatever the environment says: as kubectl has it.
#[must_use]
pub fn direct(mut config: kube::Config) -> kube::Config {
    let host = config.cluster_url.host().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    if here {
        config.proxy_url = None;
    }
    config
}

/// Where kubectl looks.
fn usual_kubeconfig() -> Option<PathBuf> {
    std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".kube/config"))
}

/// A certificate or key as text, or from a file.
enum Source<'a> {
    Data(&'a str),
    File(&'a str),
}

fn certificate_of(auth: &AuthInfo) -> anyhow::Result<Source<'_>> {
    match (&auth.client_certificate_data, &auth.client_certificate) {
        (Some(data), _) => Ok(Source::Data(data)),
        (None, Some(file)) => Ok(Source::File(file)),
        (None, None) => bail!("consoles, ssh and port-forward need a kubeconfig with a client certificate"),
    }
}

fn key_of(auth: &AuthInfo) -> anyhow::Result<Vec<u8>> {
    use secrecy::ExposeSecret;
    match (&auth.client_key_data, &auth.client_key) {
        (Some(data), _) => pem(Source::Data(data.expose_secret()), "client key"),
        (None, Some(file)) => pem(Source::File(file), "client key"),
        (None, None) => bail!("the kubeconfig has a client certificate and no client key"),
    }
}

fn pem(source: Source<'_>, what: &str) -> anyhow::Result<Vec<u8>> {
    match source {
        Source::Data(data) => base64::engine::general_purpose::STANDARD
            .decode(data.trim())
            .with_context(|| format!("the kubeconfig's {what} is not base64")),
        Source::File(file) => std::fs::read(Path::new(file)).with_context(|| format!("cannot read the {what} {file}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_machine_is_asked_through_a_proxy() {
        let asked_through = |cloud: &'static str| {
            let mut config = kube::Config::new(http::Uri::from_static(cloud));
            config.proxy_url = Some(http::Uri::from_static("http://proxy.example:3128"));
            direct(config).proxy_url.is_some()
        };
        assert!(asked_through("https://cloud.example:6443"));
        for here in ["https://127.0.0.1:6443", "https://localhost:6443", "https://[::1]:6443"] {
            assert!(!asked_through(here), "{here}");
        }
    }
}
