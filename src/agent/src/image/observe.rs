//! One look: the file in the pool, and what this process is doing about it.

use std::time::Duration;

use nubium_host::storage::VolumeError;
use nubium_host::storage::image::{ImageSeen, Images, Progress};

use super::desired::Desired;
use super::imports::Imports;

/// The pool and the imports as they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub file: Option<ImageSeen>,
    pub import: Import,
}

/// What this process does, or did last, to get the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Import {
    Idle,
    /// Under way; `last` says why the try before failed.
    Running {
        progress: Progress,
        last: Option<(&'static str, String)>,
    },
    /// It failed, and is tried again: now if `due`, else after `wait`.
    Failed {
        reason: &'static str,
        message: String,
        due: bool,
        wait: Duration,
    },
    /// The very bytes that the checksum asks for cannot be used.
    Unsafe {
        message: String,
    },
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
