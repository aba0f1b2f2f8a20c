//! The status of a Volume on this host. Pure.

use nubium_api::{Condition, ConditionStatus, Quantity, VolumeStatus, contract};
use nubium_host::storage::VolumeError;
use nubium_runtime::Chain;

use super::desired::{Base, Desired, Presence};
use super::observe::Seen;
use crate::pool;

/// What one look, after the steps, showed; or why nobody could look or a step failed.
pub type Looked = Result<Seen, VolumeError>;

/// The recorded format of every volume of a directory pool.
const FORMAT: &str = "qcow2";

/// This host's part of the status. `before` is the status as it was: what it recorded stays while nobody can look.
pub fn status(want: &Desired, looked: &Looked, before: Option<&VolumeStatus>, generation: Option<i64>) -> VolumeStatus {
    let mut status = recorded(before);
    let (word, reason, message) = match looked {
        Ok(seen) => provisioned(want, seen),
        Err(error) => failed(error),
    };
    if let Ok(Seen { volume: Some(volume), .. }) = looked {
        status.capacity = Some(Quantity::from_bytes(volume.size));
        status.format = Some(FORMAT.to_owned());
        status.image_uid = volume.image.as_ref().map(|below| below.image.uid().to_owned());
    }
    status.conditions.push(Condition::new(contract::PROVISIONED, word, generation, reason, message));
    if let Presence::Gone { retain } = want.presence {
        status.conditions.push(released(retain, looked, generation));
    }
    status
}

/// The status of a Volume that was not even looked for. One that was never made is released all the same.
pub fn not_looked(
    presence: Presence,
    before: Option<&VolumeStatus>,
    reason: &str,
    message: String,
    generation: Option<i64>,
) -> VolumeStatus {
    let mut status = recorded(before);
    if let Presence::Gone { .. } = presence {
        let (word, reason, message) = match status.capacity {
            None => (ConditionStatus::True, "Released", "nothing of it was made here".to_owned()),
            Some(_) => (ConditionStatus::Unknown, reason, message.clone()),
        };
        status.conditions.push(Condition::new(contract::RELEASED, word, generation, reason, message));
    }
    status.conditions.push(Condition::new(contract::PROVISIONED, ConditionStatus::False, generation, reason, message));
    status
}

fn recorded(before: Option<&VolumeStatus>) -> VolumeStatus {
    let before = before.cloned().unwrap_or_default();
    VolumeStatus {
        capacity: before.capacity,
        format: before.format,
        image_uid: before.image_uid,
        ..VolumeStatus::default()
    }
}

fn provisioned(want: &Desired, seen: &Seen) -> (ConditionStatus, &'static str, String) {
    if let Some(volume) = &seen.volume {
        return (ConditionStatus::True, "Provisioned", format!("it is at {}", volume.path.display()));
    }
    let (reason, message) = match (&want.presence, &want.base) {
        (Presence::Gone { .. } | Presence::Keep, _) => ("Deleting", "it is being deleted".to_owned()),
        (Presence::Present, _) if want.made => {
            ("Lost", format!("its file {} is no longer in the pool; put it back, or make another Volume", want.file))
        }
        (Presence::Present, Base::Image { name, file: None }) => {
            ("ImageNotFound", format!("there is no Image {name}; make it"))
        }
        (Presence::Present, Base::TerminatingImage { name }) => {
            ("ImageTerminating", format!("Image {name} is being deleted, and no new disk is made from it"))
        }
        (Presence::Present, Base::Image { name, .. }) => {
            ("WaitingForImage", format!("waits for Image {name} to be in this host's pool"))
        }
        (Presence::Present, Base::Blank) => ("Pending", "it is about to be made".to_owned()),
    };
    (ConditionStatus::False, reason, message)
}

fn failed(error: &VolumeError) -> (ConditionStatus, &'static str, String) {
    let message = Chain(error).to_string();
    match error {
        VolumeError::NoSpace { .. } => (ConditionStatus::False, "NoSpace", message),
        VolumeError::SmallerThanImage { size, image } => {
            let [size, image] = [*size, *image].map(Quantity::from_bytes);
            let message = format!("a disk of {size} cannot hold its image of {image}: make one of at least {image}");
            (ConditionStatus::False, "SmallerThanImage", message)
        }
        VolumeError::Size { .. } => (ConditionStatus::False, "Invalid", message),
        VolumeError::NoImage { .. } => (ConditionStatus::False, "WaitingForImage", message),
        VolumeError::InUse { .. } => (ConditionStatus::True, "Provisioned", message),
        VolumeError::Different { .. } => (ConditionStatus::False, "NameTaken", message),
        _ => (ConditionStatus::Unknown, pool::reason(error).unwrap_or("PoolFailed"), message),
    }
}

fn released(retain: bool, looked: &Looked, generation: Option<i64>) -> Condition {
    use ConditionStatus::{False, True, Unknown};
    let (word, reason, message) = match looked {
        Ok(Seen { volume: None, .. }) => (True, "Released", "nothing of it is left here".to_owned()),
        Ok(Seen { volume: Some(volume), .. }) if volume.in_use => {
            (False, "InUse", format!("a running QEMU has {} open", volume.path.display()))
        }
        Ok(Seen { volume: Some(volume), .. }) if retain => {
            (True, "Retained", format!("its data stays at {}", volume.path.display()))
        }
        Ok(Seen { volume: Some(volume), .. }) => {
            (False, "Deleting", format!("{} is still there", volume.path.display()))
        }
        Err(error @ VolumeError::InUse { .. }) => (False, "InUse", Chain(error).to_string()),
        Err(error) => (Unknown, pool::reason(error).unwrap_or("PoolFailed"), Chain(error).to_string()),
    };
    Condition::new(contract::RELEASED, word, generation, reason, message)
}
