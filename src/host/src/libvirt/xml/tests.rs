//! The guest's ABI as a snapshot: a change here is a change of every guest's hardware.

use std::path::PathBuf;

use uuid::Uuid;

use super::*;
use crate::libvirt::DomainRecord;

fn spec() -> DomainSpec {
    let volume = |number: u128, slot: u8, backing: Vec<DiskFile>| DiskSpec {
        volume: Uuid::from_u128(number),
        slot: Slot::new(slot).unwrap(),
        file: DiskFile { path: format!("/pool/volumes/shop/{number}.qcow2").into(), format: DiskFormat::Qcow2 },
        backing,
    };
    let base = DiskFile { path: "/pool/images/debian.qcow2".into(), format: DiskFormat::Qcow2 };
    DomainSpec {
        owner: DomainRecord {
            namespace: "shop".into(),
            name: "web-1".into(),
            uid: Uuid::from_u128(0xaaaa_bbbb_cccc_dddd_eeee_ffff_0000_1111),
            generation: 2,
            restarted_at: None,
            stop: None,
            taps: [("nub00000000000".to_owned(), "nubium.shop.blue".to_owned())].into(),
        },
        accelerator: Accelerator::Kvm,
        vcpus: 2,
        memory_bytes: 2 << 30,
        disks: vec![volume(0x1111_2222_3333_4444_5555_6666_7777_8888, 0, vec![base]), volume(2, 2, vec![])],
        nics: vec![NicSpec {
            port: Uuid::from_u128(3),
            slot: Slot::new(1).unwrap(),
            mac: "52:54:00:00:00:01".into(),
            tap: "nub00000000000".into(),
            mtu: 1430,
        }],
        seed: Some(PathBuf::from("/var/lib/nubium/servers/shop/web-1/seed.img")),
        console_log: "/var/lib/nubium/servers/shop/web-1/console.log".into(),
        qemu: QemuIds { uid: 64055, gid: 107 },
    }
}

#[test]
fn a_first_definition() {
    insta::assert_snapshot!(merge(&spec(), None).to_xml());
}

#[test]
fn merging_the_same_spec_changes_nothing() {
    let first = merge(&spec(), None);
    assert_eq!(merge(&spec(), Some(&first)), first);
}

#[test]
fn what_is_not_ours_survives_and_the_machine_stays() {
    let mut there = merge(&spec(), None);
    there.entry("os").entry("type").set("machine", "pc-q35-7.2");
    let watchdog = Element::new("watchdog").with("model", "itco");
    let cdrom = Element::new("disk").with("type", "file").with("device", "cdrom");
    there.entry("devices").children.extend([watchdog.clone(), cdrom.clone()]);
    there.entry("metadata").children.push(Element::new("other:x").with("xmlns:other", "https://example.org"));
    let mut want = spec();
    want.vcpus = 4;
    let merged = merge(&want, Some(&there));
    assert_eq!(merged.at(&["os", "type"], "machine"), Some("pc-q35-7.2"));
    assert_eq!(merged.find("vcpu").unwrap().text, "4");
    let devices = merged.find("devices").unwrap();
    assert!(devices.children.contains(&watchdog) && devices.children.contains(&cdrom));
    assert!(merged.find("metadata").unwrap().find("other:x").is_some());
}

#[test]
fn removing_the_middle_device_leaves_the_others_where_they_are() {
    let there = merge(&spec(), None);
    let mut want = spec();
    want.nics.clear();
    let before = Facts::read(&there).unwrap();
    let after = Facts::read(&merge(&want, Some(&there))).unwrap();
    assert_eq!(after.disks, before.disks);
    assert_eq!((before.nics.len(), after.nics.len()), (1, 0));
}

#[test]
fn facts_say_what_a_running_domain_lacks() {
    let seen = Facts::read(&merge(&spec(), None)).unwrap();
    assert_eq!(seen.differences(&spec()), Vec::<String>::new());
    let mut want = spec();
    want.vcpus = 3;
    want.memory_bytes = 1 << 30;
    let gone = want.disks.pop().unwrap();
    want.nics[0].mtu = 9000;
    let said = seen.differences(&want);
    assert_eq!(said.len(), 4, "{said:?}");
    let left = said.iter().find(|text| text.ends_with("is still attached")).unwrap();
    assert!(left.starts_with("Volume ") && !left.contains(&gone.volume.to_string()), "{left}");
}

#[test]
fn a_disk_is_called_by_its_volume() {
    let mut want = spec();
    let disk = &mut want.disks[0];
    disk.file.path = format!("/pool/volumes/shop/web-1.data.{}.qcow2", disk.volume).into();
    let there = Facts::read(&merge(&want, None)).unwrap();
    let gone = want.disks.remove(0);
    assert_eq!(there.differences(&want), ["Volume web-1.data is still attached"]);
    let without = Facts::read(&merge(&want, None)).unwrap();
    want.disks.insert(0, gone);
    assert_eq!(without.differences(&want), ["Volume web-1.data is not attached"]);
}

#[test]
fn every_slot_has_a_bus_and_a_name_of_its_own() {
    let mut want = spec();
    want.nics.clear();
    want.disks = (0..Slot::COUNT)
        .map(|slot| DiskSpec {
            volume: Uuid::from_u128(u128::from(slot)),
            slot: Slot::new(slot).unwrap(),
            file: DiskFile { path: format!("/{slot}.qcow2").into(), format: DiskFormat::Qcow2 },
            backing: vec![],
        })
        .collect();
    let domain = merge(&want, None);
    let facts = Facts::read(&domain).unwrap();
    let buses: std::collections::BTreeSet<_> = facts.disks.iter().map(|disk| disk.bus).collect();
    assert_eq!(buses.len(), 28);
    let devices = domain.find("devices").unwrap();
    let names: std::collections::BTreeSet<_> = devices.all("disk").map(|disk| disk.at(&["target"], "dev")).collect();
    assert_eq!(names.len(), 28);
    assert!(Slot::new(Slot::COUNT).is_none());
}
