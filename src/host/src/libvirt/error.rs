//! What can go wrong between us and libvirt, one variant an operation.

use super::pool::PoolError;
use super::xml::XmlError;

/// Why libvirt could not be asked, or refused. None of these means "there is no such domain".
#[derive(Debug, thiserror::Error)]
pub enum LibvirtError {
    #[error("cannot connect to {uri}")]
    Open { uri: String, source: virt::error::Error },
    #[error("could not {what}")]
    NoAnswer { what: &'static str, source: PoolError },
    #[error("could not {what}")]
    Call { what: &'static str, source: virt::error::Error },
    #[error("cannot read what libvirt says of a domain")]
    Xml(#[source] XmlError),
    #[error("domain {uuid} is gone")]
    Gone { uuid: uuid::Uuid },
}
