//! The next step towards the presence. Pure.

use nubium_host::storage::FileName;

use super::desired::{Base, Desired, Presence};
use super::observe::Seen;

/// One step; each is idempotent. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    CreateBlank { size: u64 },
    CreateClone { image: FileName, size: u64 },
    Delete,
}

/// The table in the module's documentation.
pub fn next(want: &Desired, seen: &Seen) -> Option<Step> {
    let Desired { presence, file: _, base, size, made } = want;
    match (presence, &seen.volume) {
        (Presence::Present, None) if !made => match (base, &seen.image) {
            (Base::Blank, _) => size.map(|size| Step::CreateBlank { size }),
            (Base::Image { file: Some(image), .. }, Some(seen)) => {
                Some(Step::CreateClone { image: image.clone(), size: size.unwrap_or(seen.virtual_size) })
            }
            (Base::Image { .. } | Base::TerminatingImage { .. }, _) => None,
        },
        (Presence::Present, None) | (Presence::Present, Some(_)) | (Presence::Keep, _) => None,
        (Presence::Gone { retain: false }, Some(_)) => Some(Step::Delete),
        (Presence::Gone { .. }, _) => None,
    }
}
