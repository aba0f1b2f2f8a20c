//! What an Image asks of this host. Pure.

use nubium_api::{Checksum as SpecChecksum, Image};
use nubium_host::storage::image::{BadChecksum, Checksum, Source};
use nubium_host::storage::{BadName, FileName};

use crate::presence::Presence;

/// The presence as a validated value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    pub presence: Presence,
    pub file: FileName,
    pub source: Source,
    /// Without one (a file of the host) the bytes are taken as they are.
    pub checksum: Option<Checksum>,
}

/// An Image that no host can serve; the API refuses these, so only an older object is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error(transparent)]
    Name(#[from] BadName),
    #[error(transparent)]
    Checksum(#[from] BadChecksum),
    #[error("the image needs exactly one source")]
    Source,
    #[error("the image needs exactly one checksum")]
    Checksums,
}

/// The file of an Image in any pool.
pub fn file_of(image: &Image) -> Result<FileName, BadName> {
    let meta = &image.metadata;
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    FileName::new(&part(&meta.namespace), &part(&meta.name), &part(&meta.uid))
}

pub(super) fn desired(image: &Image, presence: Presence) -> Result<Desired, Invalid> {
    let spec = &image.spec.source;
    let source = match (&spec.http, &spec.file) {
        (Some(http), None) => Source::Http { url: http.url.clone() },
        (None, Some(file)) => Source::File { path: file.path.clone() },
        _ => return Err(Invalid::Source),
    };
    let checksum = match &image.spec.checksum {
        None => None,
        Some(SpecChecksum { sha256: Some(hex), sha512: None }) => Some(Checksum::sha256(hex)?),
        Some(SpecChecksum { sha256: None, sha512: Some(hex) }) => Some(Checksum::sha512(hex)?),
        Some(_) => return Err(Invalid::Checksums),
    };
    Ok(Desired { presence, file: file_of(image)?, source, checksum })
}
