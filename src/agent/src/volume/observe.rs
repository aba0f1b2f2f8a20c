//! One look: the volume's file, and the image it is to be cloned from.

use nubium_host::storage::image::{ImageSeen, Images};
use nubium_host::storage::{Pool, VolumeError, VolumeSeen, Volumes};

use super::desired::{Base, Desired};

/// The pool as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub volume: Option<VolumeSeen>,
    /// The image's file in the same pool; looked for only while the volume is not there.
    pub image: Option<ImageSeen>,
}

pub(super) async fn observe(want: &Desired, pool: &Pool<impl Volumes, impl Images>) -> Result<Seen, VolumeError> {
    let volume = pool.volumes.look(&want.file).await?;
    let image = match &want.base {
        Base::Image { file: Some(image), .. } if volume.is_none() => pool.images.look(image).await?,
        _ => None,
    };
    Ok(Seen { volume, image })
}
