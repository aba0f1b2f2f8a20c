//! One look: the file in the pool, and what this process is doing about it.

use nubium_host::storage::VolumeError;
use nubium_host::storage::image::{ImageSeen, Images};

use super::desired::Desired;
use super::imports::{Import, Imports};

/// The pool and the imports as they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub file: Option<ImageSeen>,
    pub import: Import,
}

pub(super) async fn observe(
    want: &Desired,
    pool: &str,
    images: &impl Images,
    imports: &Imports,
) -> Result<Seen, VolumeError> {
    // The import first: one that ends between the two looks has its file by the second.
    let import = imports.look(pool, &want.file);
    Ok(Seen { file: images.look(&want.file).await?, import })
}
