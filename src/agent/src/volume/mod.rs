//! The Volumes of this host: files of its pools, cloned from an Image or blank.
//!
//! | presence | file | step |
//! |---|---|---|
//! | Present | no, never made | a blank one; or a clone, once the image is in the same pool |
//! | Present | no, but it was made | – (`Lost`: a disk is never silently replaced by an empty one) |
//! | Present, Keep | yes | – |
//! | Gone | yes, not retained | Delete |
//! | Gone | no, or retained | – (released) |

mod apply;
mod desired;
mod observe;
mod pass;
mod plan;
mod space;
mod status;
#[cfg(test)]
mod tests;

use nubium_host::storage::image::Images;
use nubium_host::storage::{Pool, Volumes};

pub use desired::{Base, Desired, Invalid, Presence, file_of};
pub use observe::Seen;
pub use pass::{BY_IMAGE, Context, image_of, run};
pub use plan::{Step, next};
pub use space::{Room, report};
pub use status::{Looked, status};

/// Brings the volume to the presence and looks again.
pub async fn converge(want: &Desired, pool: &Pool<impl Volumes, impl Images>) -> Looked {
    let seen = observe::observe(want, pool).await?;
    let Some(step) = next(want, &seen) else { return Ok(seen) };
    apply::apply(&step, want, &pool.volumes).await?;
    observe::observe(want, pool).await
}
