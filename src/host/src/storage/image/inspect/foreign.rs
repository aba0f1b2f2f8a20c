//! What is recognisably something other than a disk image that we read.
//!
//! Everything that does not begin with qcow2's magic would be taken for a raw disk. So that a compressed file or an error
//! page does not become one, the formats people really meet are known here by name, with what to do about each.

use crate::storage::Refused;

const MAGICS: &[(usize, &[u8], &str)] = &[
    (0, b"\x1f\x8b", "a gzip file: unpack it first"),
    (0, b"\xfd7zXZ\0", "an xz file: unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file: unpack it first"),
    (0, b"BZh", "a bzip2 file: unpack it first"),
    (0, b"\x04\x22\x4d\x18", "an lz4 file: unpack it first"),
    (0, b"PK\x03\x04", "a zip archive: unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it first"),
    (257, b"ustar", "a tar archive (an OVA is one): unpack it first"),
    (0, b"KDMV", "a VMDK image: convert it to qcow2 first"),
    (0, b"COWD", "a VMDK image: convert it to qcow2 first"),
    (0, b"# Disk DescriptorFile", "a VMDK descriptor: convert the image to qcow2 first"),
    (64, b"\x7f\x10\xda\xbe", "a VDI image: convert it to qcow2 first"),
    (0, b"vhdxfile", "a VHDX image: convert it to qcow2 first"),
    (0, b"conectix", "a VHD image: convert it to qcow2 first"),
    (0, b"QED\0", "a QED image: convert it to qcow2 first"),
    (0, b"WithoutFreeSpace", "a Parallels image: convert it to qcow2 first"),
    (0, b"WithouFreSpacExt", "a Parallels image: convert it to qcow2 first"),
    (0, b"Bochs Virtual HD Image", "a Bochs image: convert it to qcow2 first"),
    (0, b"LUKS\xba\xbe", "an encrypted disk: decrypt it first"),
    (0, b"\x7fELF", "a program"),
    (0, b"%PDF", "a PDF file"),
];

const VHD_FOOTER: &[u8] = b"conectix";
const DMG_FOOTER: &[u8] = b"koly";

/// Refuses what `head` (the first bytes) or `tail` (the last 512) show to be another format or plain text.
pub(super) fn refuse(head: &[u8], tail: &[u8]) -> Result<(), Refused> {
    for (at, magic, what) in MAGICS {
        if head.get(*at..).is_some_and(|rest| rest.starts_with(magic)) {
            return Err(Refused::NotADisk(what));
        }
    }
    if tail.starts_with(VHD_FOOTER) {
        return Err(Refused::NotADisk("a VHD image: convert it to qcow2 first"));
    }
    if tail.starts_with(DMG_FOOTER) {
        return Err(Refused::NotADisk("a DMG image: convert it to qcow2 first"));
    }
    if is_text(head.get(..512).unwrap_or(head)) {
        return Err(Refused::NotADisk("text, such as a web page"));
    }
    Ok(())
}

fn is_text(sector: &[u8]) -> bool {
    !sector.is_empty()
        && sector.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~' | 0x80..))
        && (std::str::from_utf8(sector).is_ok()
            || std::str::from_utf8(&sector[..sector.len().saturating_sub(3)]).is_ok())
}
