//! The caller's name and groups, from a client certificate or given by the process that embeds the server.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The group of those who may do everything.
pub const ADMINS: &str = "system:masters";
/// The group of the hosts' agents.
pub const HOSTS: &str = "nubium:hosts";

/// A caller. Put it into a request's extensions to say who asks; a request without one is anonymous.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    pub groups: Vec<String>,
}

impl Identity {
    pub fn new(name: impl Into<String>, groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { name: name.into(), groups: groups.into_iter().map(Into::into).collect() }
    }

    /// One who may do everything, under this name.
    pub fn admin(name: impl Into<String>) -> Self {
        Self::new(name, [ADMINS])
    }

    /// The agent of a host.
    pub fn host(name: impl Into<String>) -> Self {
        Self::new(name, [HOSTS])
    }

    /// Somebody without a certificate.
    pub fn anonymous() -> Self {
        Self::new("system:anonymous", ["system:unauthenticated"])
    }

    /// The subject of a verified certificate: the common name is the user, the organizations are its groups.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let subject = parsed.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let groups = subject.iter_organization().filter_map(|group| group.as_str().ok());
        let groups = groups.map(str::to_owned).chain(["system:authenticated".to_owned()]).collect();
        Some(Self { name, groups })
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        self.groups.iter().any(|group| group == "system:unauthenticated")
    }

    pub(crate) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|member_of| member_of == group)
    }
}
