//! Which slot of the guest each disk and NIC is in.
//!
//! A guest knows a device by its slot, so none ever moves: what the domain has counts first, then what is on record in
//! the Server's status, and only what is new gets the lowest slot that is free.

use std::collections::BTreeMap;

use nubium_api::Device;
use nubium_host::libvirt::{DomainSeen, Facts, Slot};
use uuid::Uuid;

use super::desired::Desired;

/// The slot of each wanted Volume and Port, by UID.
pub type Slots = BTreeMap<Uuid, Slot>;

/// Gives every disk and NIC its slot; those for which there is none left are missing in the answer.
#[must_use]
pub fn assign(want: &Desired, seen: Option<&DomainSeen>) -> Slots {
    let attached = attached(seen);
    let wanted: Vec<Uuid> = want.disks.iter().map(|disk| disk.uid).chain(want.nics.iter().map(|nic| nic.uid)).collect();
    let mut slots = Slots::new();
    for uid in &wanted {
        let known = attached.get(uid).copied().or_else(|| recorded(&want.recorded, *uid));
        // A record that is wrong must not put two devices into one slot.
        let taken = |slot: &Slot| {
            slots.values().any(|other| other == slot) || attached.iter().any(|(who, other)| who != uid && other == slot)
        };
        if let Some(slot) = known.filter(|slot| !taken(slot)) {
            slots.insert(*uid, slot);
        }
    }
    for uid in wanted {
        if slots.contains_key(&uid) {
            continue;
        }
        let taken = |slot: &Slot| slots.values().chain(attached.values()).any(|other| other == slot);
        if let Some(slot) = (0..Slot::COUNT).filter_map(Slot::new).find(|slot| !taken(slot)) {
            slots.insert(uid, slot);
        }
    }
    slots
}

/// The record for the Server's status: `disk-<name>` and `nic-<name>`.
#[must_use]
pub fn devices(want: &Desired, slots: &Slots) -> Vec<Device> {
    let disks = want.disks.iter().map(|disk| (format!("disk-{}", disk.name), disk.uid));
    let nics = want.nics.iter().map(|nic| (format!("nic-{}", nic.name), nic.uid));
    let device = |(name, uid): (String, Uuid)| {
        let slot = i32::from(slots.get(&uid)?.index());
        Some(Device { name, slot, uid: uid.to_string() })
    };
    disks.chain(nics).filter_map(device).collect()
}

/// What is in the guest now, and what its next start has.
fn attached(seen: Option<&DomainSeen>) -> Slots {
    let mut slots = Slots::new();
    let Some(seen) = seen else { return slots };
    for facts in [Some(&seen.next), seen.live.as_ref()].into_iter().flatten() {
        let Facts { disks, nics, .. } = facts;
        let places =
            disks.iter().map(|disk| (&disk.alias, disk.bus)).chain(nics.iter().map(|nic| (&nic.alias, nic.bus)));
        for (alias, bus) in places {
            let uid = alias.strip_prefix("ua-").and_then(|uid| uid.parse().ok());
            let slot = bus.and_then(|bus| bus.checked_sub(1)).and_then(Slot::new);
            if let (Some(uid), Some(slot)) = (uid, slot) {
                slots.insert(uid, slot);
            }
        }
    }
    slots
}

fn recorded(devices: &[Device], uid: Uuid) -> Option<Slot> {
    let device = devices.iter().find(|device| device.uid.parse() == Ok(uid))?;
    Slot::new(u8::try_from(device.slot).ok()?)
}
