//! The server's own certificate authority: who is the server, who is an admin, who is a host.

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::access::Identity;

/// How long an authority lives.
const AUTHORITY_DAYS: i64 = 3650;
/// How long what it signs lives.
const CERTIFICATE_DAYS: i64 = 365;

/// Why a certificate could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("cannot make a certificate for {name}")]
    Sign { name: String, source: rcgen::Error },
    #[error("the authority's certificate or key cannot be read")]
    ReadAuthority { source: rcgen::Error },
    #[error("the PEM text of {what} cannot be read")]
    Pem { what: &'static str, source: rustls_pki_types::pem::Error },
    #[error("the certificates cannot be used for TLS")]
    Tls { source: rustls::Error },
    #[error("client certificates cannot be verified")]
    Verifier { source: rustls::server::VerifierBuilderError },
}

/// A certificate and its key, as PEM texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// A certificate authority.
pub struct Authority {
    pem: Pair,
}

impl Authority {
    /// Makes a new one.
    pub fn new(name: &str) -> Result<Self, PkiError> {
        let sign = |source| PkiError::Sign { name: name.to_owned(), source };
        let mut params = params(name, &[], AUTHORITY_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().map_err(sign)?).map_err(sign)?;
        Ok(Self { pem: Pair { certificate: issuer.pem(), key: issuer.key().serialize_pem() } })
    }

    /// Takes up one that was made before.
    pub fn load(pem: Pair) -> Result<Self, PkiError> {
        let authority = Self { pem };
        authority.issuer()?;
        Ok(authority)
    }

    /// Its own certificate and key, to keep.
    pub fn pem(&self) -> &Pair {
        &self.pem
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, PkiError> {
        let read = |source| PkiError::ReadAuthority { source };
        let key = KeyPair::from_pem(&self.pem.key).map_err(read)?;
        Issuer::from_ca_cert_pem(&self.pem.certificate, key).map_err(read)
    }

    /// A certificate for a server that is reached under `names`: DNS names and IP addresses.
    pub fn server(&self, names: &[String]) -> Result<Pair, PkiError> {
        let mut params = params("nubium-apiserver", &[], CERTIFICATE_DAYS);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let with_names = CertificateParams::new(names.to_vec())
            .map_err(|source| PkiError::Sign { name: names.join(", "), source })?;
        params.subject_alt_names = with_names.subject_alt_names;
        self.sign(params, "the server")
    }

    /// A certificate that proves an identity: its name, and its groups.
    pub fn client(&self, identity: &Identity) -> Result<Pair, PkiError> {
        let mut params = params(&identity.name, &identity.groups, CERTIFICATE_DAYS);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, &identity.name)
    }

    /// A certificate for a host's agent: it proves the host's identity, and serves the agent's own door under its name.
    pub fn host(&self, name: &str) -> Result<Pair, PkiError> {
        let Identity { name, groups } = Identity::host(name);
        let mut params = params(&name, &groups, CERTIFICATE_DAYS);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let with_name = CertificateParams::new(vec![name.clone()])
            .map_err(|source| PkiError::Sign { name: name.clone(), source })?;
        params.subject_alt_names = with_name.subject_alt_names;
        self.sign(params, &name)
    }

    fn sign(&self, mut params: CertificateParams, name: &str) -> Result<Pair, PkiError> {
        let sign = |source| PkiError::Sign { name: name.to_owned(), source };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(sign)?;
        let certificate = params.signed_by(&key, &self.issuer()?).map_err(sign)?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// TLS as `server`, for clients with a certificate of this authority or with none.
    pub fn server_config(&self, server: &Pair) -> Result<Arc<ServerConfig>, PkiError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.pem.certificate, "the authority")? {
            roots.add(certificate).map_err(|source| PkiError::Tls { source })?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(|source| PkiError::Verifier { source })?;
        let chain = certificates(&server.certificate, "the server's certificate")?;
        let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes())
            .map_err(|source| PkiError::Pem { what: "the server's key", source })?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_client_cert_verifier(verifier).with_single_cert(chain, key))
            .map_err(|source| PkiError::Tls { source })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|source| PkiError::Pem { what, source })
}

fn params(name: &str, groups: &[String], days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    for group in groups {
        subject.push(DnType::OrganizationName, group.as_str());
    }
    params.distinguished_name = subject;
    // A day back, for clocks that are a little behind.
    let ((year, month, day), (last_year, last_month, last_day)) = (date(-1), date(days));
    params.not_before = rcgen::date_time_ymd(year, month, day);
    params.not_after = rcgen::date_time_ymd(last_year, last_month, last_day);
    params
}

/// The year, month and day so many days from now.
fn date(days: i64) -> (i32, u8, u8) {
    let at = Timestamp::now().checked_add(SignedDuration::from_hours(24 * days)).unwrap_or(Timestamp::MAX);
    let day = at.to_zoned(TimeZone::UTC).date();
    (day.year().into(), day.month().unsigned_abs(), day.day().unsigned_abs())
}
