//! This host's entry in an Image's status. Pure.

use nubium_api::{DEFAULT_POOL, ImageHost, LONGEST_HOST_MESSAGE, at_most};
use nubium_host::storage::VolumeError;
use nubium_host::storage::image::Progress;
use nubium_runtime::Chain;

use super::desired::Desired;
use super::imports::{Import, Waits};
use super::observe::Seen;
use super::turns::Shares;
use crate::pool;
use crate::presence::Presence;

/// What one look, after the steps, showed; or why nobody could look or a step failed.
pub type Looked = Result<Seen, VolumeError>;

/// The entry's words on one pool; host, pool and generation are put in by who writes it.
pub fn entry(want: &Desired, looked: &Looked) -> ImageHost {
    let seen = match looked {
        Ok(seen) => seen,
        Err(error) => {
            let reason = match error {
                VolumeError::HasClones { .. } | VolumeError::InUse { .. } => "InUse",
                error => pool::reason(error).unwrap_or("PoolFailed"),
            };
            return said(None, reason, Chain(error).to_string());
        }
    };
    if let Some(file) = &seen.file {
        let size = i64::try_from(file.virtual_size).ok();
        let ready = said(Some(true), "Imported", format!("it is in the pool at {}", file.path.display()));
        return ImageHost { virtual_size: size, ..ready };
    }
    match (want.presence, &seen.import) {
        (Presence::Gone, Import::Idle | Import::Failed { .. } | Import::Unsafe { .. }) => {
            ImageHost { released: Some(true), ..said(Some(false), "Released", "nothing of it is left here".into()) }
        }
        (_, Import::Unsafe { message }) => said(Some(false), "UnsafeImage", message.clone()),
        (_, Import::Failed { reason, message, .. }) => said(Some(false), reason, message.clone()),
        (_, Import::Running { waits: Some(waits), last, .. }) => queued(*waits, last.as_ref()),
        (_, Import::Running { progress: Progress::Starting, last: Some((reason, message)), .. }) => {
            said(Some(false), reason, message.clone())
        }
        (_, Import::Running { progress, .. }) => running(*progress),
        (Presence::Keep, Import::Idle) => said(Some(false), "Deleting", "it is being deleted".into()),
        (Presence::Present, Import::Idle) => said(Some(false), "Downloading", "it is about to be fetched".into()),
    }
}

/// The entry while there is no pool to look in; then there is nothing to release either.
pub fn no_pool(presence: Presence) -> ImageHost {
    let released = (presence == Presence::Gone).then_some(true);
    let message = format!("there is no StoragePool {DEFAULT_POOL}; make one");
    ImageHost { released, ..said(Some(false), "PoolNotFound", message) }
}

pub(super) fn said(ready: Option<bool>, reason: &str, message: String) -> ImageHost {
    ImageHost {
        ready,
        reason: Some(reason.to_owned()),
        message: Some(at_most(LONGEST_HOST_MESSAGE, message)),
        ..ImageHost::default()
    }
}

fn queued(waits: Waits, last: Option<&(&'static str, String)>) -> ImageHost {
    let (turn, shares, verb) = match waits {
        Waits::Download(shares) => ("download", shares, "fetches"),
        Waits::Conversion(shares) => ("conversion", shares, "converts"),
    };
    let Shares { all, each } = shares;
    let mut message =
        format!("its {turn} waits: this host {verb} at most {all} images at a time, and {each} of one namespace");
    if let Some((_, failure)) = last {
        message = format!("{message}; the last try failed: {failure}");
    }
    said(Some(false), "Queued", message)
}

fn running(progress: Progress) -> ImageHost {
    match progress {
        Progress::Starting => said(Some(false), "Downloading", "it is about to be fetched".into()),
        Progress::Downloading { done, total } => {
            let bytes = |count: u64| i64::try_from(count).ok();
            let far = total.filter(|total| *total > 0).map(|total| done.saturating_mul(100) / total);
            let message =
                far.map_or_else(|| format!("{} MiB fetched", done >> 20), |percent| format!("{percent}% fetched"));
            let (fetched_bytes, total_bytes) = (bytes(done), total.and_then(bytes));
            ImageHost { fetched_bytes, total_bytes, ..said(Some(false), "Downloading", message) }
        }
        Progress::Converting { percent } => said(Some(false), "Converting", format!("{percent}% converted")),
    }
}
