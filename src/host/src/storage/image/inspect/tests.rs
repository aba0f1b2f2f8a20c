//! Headers good and bad, and every other run of bytes.

use proptest::prelude::*;

use super::*;

const LIMIT: u64 = 16 << 40;
const LENGTH: u64 = 1 << 20;

/// A header as QEMU writes it for an empty disk of 1 GiB.
fn good() -> Vec<u8> {
    let mut head = vec![0; 64 << 10];
    put(&mut head, 0, b"QFI\xfb");
    put(&mut head, 4, &3u32.to_be_bytes());
    put(&mut head, 20, &16u32.to_be_bytes());
    put(&mut head, 24, &(1u64 << 30).to_be_bytes());
    put(&mut head, 36, &4u32.to_be_bytes());
    put(&mut head, 40, &0x30000u64.to_be_bytes());
    put(&mut head, 48, &0x10000u64.to_be_bytes());
    put(&mut head, 56, &1u32.to_be_bytes());
    put(&mut head, 96, &4u32.to_be_bytes());
    put(&mut head, 100, &112u32.to_be_bytes());
    head
}

fn put(head: &mut [u8], at: usize, bytes: &[u8]) {
    head[at..at + bytes.len()].copy_from_slice(bytes);
}

fn judged(head: &[u8]) -> Result<Inspected, Refused> {
    judge(head, &[0; 512], LENGTH, LIMIT)
}

/// The good header with something else at one place.
fn with(at: usize, bytes: &[u8]) -> Result<Inspected, Refused> {
    let mut head = good();
    put(&mut head, at, bytes);
    judged(&head)
}

#[test]
fn a_complete_qcow2_is_taken() {
    let taken = Ok(Inspected { format: Format::Qcow2, virtual_size: 1 << 30, dirty: false });
    assert_eq!(judged(&good()), taken);
    assert_eq!(with(4, &2u32.to_be_bytes()), taken, "version 2");
    assert!(with(79, &[1]).unwrap().dirty);
    assert_eq!(with(79, &[1 << 4]), taken, "extended L2");
    let mut zstd = good();
    put(&mut zstd, 79, &[1 << 3]);
    put(&mut zstd, 104, &[1]);
    assert_eq!(judged(&zstd), taken, "zstd");
    let mut bitmaps = good();
    put(&mut bitmaps, 112, b"\x23\x85\x28\x75\0\0\0\x18");
    assert_eq!(judged(&bitmaps), taken, "an extension that is only information");
}

#[test]
fn whatever_reaches_outside_the_file_is_refused() {
    let mut backing = good();
    put(&mut backing, 8, &200u64.to_be_bytes());
    put(&mut backing, 16, &11u32.to_be_bytes());
    put(&mut backing, 200, b"/etc/shadow");
    assert_eq!(judged(&backing), Err(Refused::BackingFile("/etc/shadow".into())));
    put(&mut backing, 4, &2u32.to_be_bytes());
    assert_eq!(judged(&backing), Err(Refused::BackingFile("/etc/shadow".into())), "version 2");

    assert_eq!(with(79, &[1 << 2]), Err(Refused::DataFile), "the feature bit");
    assert_eq!(with(112, b"DATA\0\0\0\x04/etc"), Err(Refused::DataFile), "the extension");
    assert_eq!(with(95, &[1 << 1]), Err(Refused::DataFile), "the autoclear bit");
}

#[test]
fn what_is_not_understood_is_refused() {
    assert_eq!(with(79, &[1 << 5]), Err(Refused::UnknownFeatures(1 << 5)));
    assert_eq!(with(72, &[0x80]), Err(Refused::UnknownFeatures(1 << 63)));
    assert_eq!(with(79, &[1 << 1]), Err(Refused::MarkedCorrupt));
    assert_eq!(with(35, &[1]), Err(Refused::Encrypted));
    assert_eq!(with(112, b"\x05\x37\xbe\x77\0\0\0\x10"), Err(Refused::Encrypted));
    assert_eq!(with(63, &[2]), Err(Refused::InternalSnapshots(2)));
    assert_eq!(with(104, &[1]), Err(Refused::Compression(1)), "zstd without its bit");
    assert_eq!(with(7, &[1]), Err(Refused::QcowVersion(1)));
    assert_eq!(with(7, &[4]), Err(Refused::QcowVersion(4)));
}

#[test]
fn tables_that_make_no_sense_are_refused() {
    let malformed: &[(usize, &[u8], &str)] = &[
        (23, &[8], "clusters of 256 bytes"),
        (23, &[22], "clusters of 4 MiB"),
        (20, &[0xff], "clusters of 2^4278190096 bytes"),
        (39, &[1], "an L1 table for half the disk"),
        (36, &[0xff], "an L1 table beyond the file"),
        (40, &[0xff; 8], "an L1 table beyond everything"),
        (47, &[1], "an L1 table off its cluster"),
        (40, &[0; 8], "an L1 table over the header"),
        (48, &[0; 8], "a refcount table over the header"),
        (56, &[0; 4], "no refcount table"),
        (57, &[1], "a refcount table of 4 GiB"),
        (99, &[7], "refcounts of 128 bits"),
        (103, &[64], "a header shorter than itself"),
        (103, &[113], "a header of odd length"),
        (112, b"\0\0\0\x01\xff\xff\xff\xff", "an extension beyond everything"),
        (16, b"\xff\xff\xff\xff", "a backing name beyond everything"),
        (24, &[0; 8], "a disk of no size"),
    ];
    for (at, bytes, what) in malformed {
        assert!(matches!(with(*at, bytes), Err(Refused::Malformed(_))), "{what}: {:?}", with(*at, bytes));
    }
    assert_eq!(with(31, &[1]), Err(Refused::NotSectors((1 << 30) + 1)));
    assert_eq!(judge(&good()[..60], &[], 60, LIMIT), Err(Refused::Truncated));
    assert_eq!(judge(&good(), &[0; 512], LENGTH, 1 << 20), Err(Refused::TooLarge { size: 1 << 30, limit: 1 << 20 }));
}

#[test]
fn what_has_no_magic_is_a_raw_disk() {
    let mut sector = vec![0; 1024];
    put(&mut sector, 510, b"\x55\xaa");
    assert_eq!(
        judge(&sector, &[0; 512], 1024, LIMIT),
        Ok(Inspected { format: Format::Raw, virtual_size: 1024, dirty: false })
    );
    assert_eq!(judge(&sector, &[0; 512], 1025, LIMIT), Err(Refused::NotSectors(1025)));
    assert_eq!(judge(&[], &[], 0, LIMIT), Err(Refused::Empty));
}

#[test]
fn what_people_mistake_for_a_disk_is_named() {
    let page = format!("<!doctype html><title>404</title>{}", " ".repeat(1024));
    let umlauts = "ä".repeat(512);
    let heads: &[(&[u8], &str)] = &[
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"\xfd7zXZ\0\0\x04", "xz"),
        (b"KDMV\x01\0\0\0", "VMDK"),
        (b"vhdxfile", "VHDX"),
        (page.as_bytes(), "text"),
        (umlauts.as_bytes(), "text"),
    ];
    for (head, name) in heads {
        let mut sector = head.to_vec();
        sector.resize(sector.len().max(512), 0);
        let refused = judge(&sector, &[0; 512], 1024, LIMIT).unwrap_err().to_string();
        assert!(refused.contains(name), "{refused}");
    }
    let mut footer = vec![0; 512];
    put(&mut footer, 0, b"conectix");
    assert!(matches!(judge(&[0; 512], &footer, 1024, LIMIT), Err(Refused::NotADisk(_))));
}

proptest! {
    #[test]
    fn no_bytes_panic(head in prop::collection::vec(any::<u8>(), 0..2048), length in any::<u64>(), limit in any::<u64>()) {
        let _ = judge(&head, &head[head.len().saturating_sub(512)..], length, limit);
        let mut magic = b"QFI\xfb\0\0\0\x03".to_vec();
        magic.extend(&head);
        let _ = judge(&magic, &[], length, limit);
    }

    /// However a good header is damaged: what is taken asks for nothing outside the file and lies within it.
    #[test]
    fn a_damaged_header_is_harmless_or_refused(
        damage in prop::collection::vec((0usize..160, any::<u8>()), 1..6),
        cut in 0usize..=64 << 10,
    ) {
        let mut head = good();
        damage.iter().for_each(|(at, byte)| head[*at] = *byte);
        head.truncate(cut.max(8));
        if let Ok(Inspected { format: Format::Qcow2, .. }) = judged(&head) {
            let header = Header::parse(&head).unwrap().unwrap();
            prop_assert_eq!(&header.backing, &None);
            prop_assert_eq!(u64::from_be_bytes(head[8..16].try_into().unwrap()), 0);
            prop_assert_eq!(header.incompatible & !0b11001, 0);
            prop_assert!(header.l1_offset + u64::from(header.l1_entries) * 8 <= LENGTH);
        }
    }
}
