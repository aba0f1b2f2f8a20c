//! libvirt: the one connection of this host, its domains, and a private libvirtd where the host runs none.
//!
//! Knows nothing of Servers but the record ([`DomainRecord`]) that ties a domain to one. Every verb is primitive, so that all
//! choices stay with the agent's plan; every look that fails is an error, so that "could not look" never becomes "is not
//! there".

mod choose;
mod connection;
mod domains;
mod domains_libvirt;
mod error;
mod events;
mod files;
mod parsed;
mod pool;
pub mod private;
mod record;
mod xml;

pub use choose::{ChoiceError, Libvirt};
pub use connection::Connection;
pub use domains::{DomainList, DomainSeen, DomainState, Domains, Off, Pause, Unreadable};
pub use error::LibvirtError;
pub use parsed::{DomainFacts, DomainXml, ParsedDomains};
pub use pool::{Pool, PoolError};
pub use record::{DomainRecord, METADATA_KEY, METADATA_URI, Stop, domain_name};
pub use xml::{
    Accelerator, DiskFacts, DiskFile, DiskFormat, DiskSpec, DomainSpec, Element, Facts, NicFacts, NicSpec, QemuIds,
    Slot, XmlError, alias, merge,
};
