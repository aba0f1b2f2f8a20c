//! What a Volume asks of this host. Pure.

use nubium_api::{DeletionPolicy, Image, Quantity, QuantityError, Volume};
use nubium_host::storage::{BadName, FileName};

use crate::image::file_of as image_file_of;

const SECTOR: u64 = 512;

/// What is to become of the volume's file here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Present,
    /// As it is: marked for deletion, and something may still use it.
    Keep,
    /// Let go, and removed unless it is to be retained. Only an object seen live with a deletion mark, and declared unused,
    /// asks for this.
    Gone {
        retain: bool,
    },
}

/// What the disk begins as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    Blank,
    /// The Image of that name; its file, if there is such an Image.
    Image {
        name: String,
        file: Option<FileName>,
    },
    /// The Image of that name, which is being deleted since before the Volume was made.
    TerminatingImage {
        name: String,
    },
}

/// The presence as a validated value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    pub presence: Presence,
    pub file: FileName,
    pub base: Base,
    /// In bytes, a whole number of sectors; the image's when `None`.
    pub size: Option<u64>,
    /// It was made before. A file that is missing then is lost, and is never made anew.
    pub made: bool,
}

/// A Volume that no host can make; the API refuses these, so only an older object is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error(transparent)]
    Name(#[from] BadName),
    #[error(transparent)]
    Size(#[from] QuantityError),
    #[error("a blank volume needs a size")]
    NoSize,
}

/// The file of a Volume in its pool.
pub fn file_of(volume: &Volume) -> Result<FileName, BadName> {
    let meta = &volume.metadata;
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    FileName::new(&part(&meta.namespace), &part(&meta.name), &part(&meta.uid))
}

/// `image` is the Image that the Volume names, if there is one.
pub(super) fn desired(volume: &Volume, presence: Presence, image: Option<&Image>) -> Result<Desired, Invalid> {
    let size = volume.spec.size.as_ref().map(Quantity::bytes).transpose()?;
    let base = match &volume.spec.image {
        Some(name) if image.is_some_and(|image| !image.serves(&volume.metadata)) => {
            Base::TerminatingImage { name: name.clone() }
        }
        Some(name) => Base::Image { name: name.clone(), file: image.and_then(|image| image_file_of(image).ok()) },
        None if size.is_none() => return Err(Invalid::NoSize),
        None => Base::Blank,
    };
    let made = volume.status.as_ref().is_some_and(|status| status.capacity.is_some());
    let size = size.map(|size| size.div_ceil(SECTOR).saturating_mul(SECTOR));
    Ok(Desired { presence, file: file_of(volume)?, base, size, made })
}

/// Whether the data stays when the Volume goes.
pub(super) fn retains(volume: &Volume) -> bool {
    volume.spec.deletion_policy.unwrap_or_default() == DeletionPolicy::Retain
}
