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

/// The record for the Server's status: `disk-<name>` and `nic-<name>`, of what is wanted and of what the running guest
/// still has: a Volume or a Port is its guest's until that was seen without it.
#[must_use]
pub fn devices(want: &Desired, slots: &Slots, live: Option<&Facts>) -> Vec<Device> {
    let disks = want.disks.iter().map(|disk| (format!("disk-{}", disk.name), disk.uid));
    let nics = want.nics.iter().map(|nic| (format!("nic-{}", nic.name), nic.uid));
    let device = |(name, uid): (String, Uuid)| {
        let slot = i32::from(slots.get(&uid)?.index());
        Some(Device { name, slot, uid: uid.to_string() })
    };
    let mut devices: Vec<Device> = disks.chain(nics).filter_map(device).collect();
    let (disks, nics) = live.map_or((&[][..], &[][..]), |Facts { disks, nics, .. }| (disks, nics));
    let disks = disks.iter().map(|disk| ("disk", &disk.alias, disk.bus));
    for (kind, alias, bus) in disks.chain(nics.iter().map(|nic| ("nic", &nic.alias, nic.bus))) {
        let Some((uid, slot)) = place(alias, bus) else { continue };
        let uid = uid.to_string();
        if devices.iter().any(|device| device.uid == uid) {
            continue;
        }
        let known = want.recorded.iter().find(|device| device.uid == uid).map(|device| device.name.clone());
        let known = known.filter(|name| devices.iter().all(|device| device.name != *name));
        let name = known.unwrap_or_else(|| format!("{kind}-{uid}"));
        devices.push(Device { name, slot: i32::from(slot.index()), uid });
    }
    devices
}

fn place(alias: &str, bus: Option<u8>) -> Option<(Uuid, Slot)> {
    Some((alias.strip_prefix("ua-")?.parse().ok()?, Slot::new(bus?.checked_sub(1)?)?))
}

/// What is in the guest now, and what its next start has.
fn attached(seen: Option<&DomainSeen>) -> Slots {
    let mut slots = Slots::new();
    let Some(seen) = seen else { return slots };
    for facts in [Some(&seen.next), seen.live.as_ref()].into_iter().flatten() {
        let Facts { disks, nics, .. } = facts;
        let places =
            disks.iter().map(|disk| (&disk.alias, disk.bus)).chain(nics.iter().map(|nic| (&nic.alias, nic.bus)));
        slots.extend(places.filter_map(|(alias, bus)| place(alias, bus)));
    }
    slots
}

fn recorded(devices: &[Device], uid: Uuid) -> Option<Slot> {
    let device = devices.iter().find(|device| device.uid.parse() == Ok(uid))?;
    Slot::new(u8::try_from(device.slot).ok()?)
}
