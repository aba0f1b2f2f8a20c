//! A disk that a BIOS boots, made as a file and without mounting:
//! ```text
//! sector 0       1 MiB                    boot ends
//! | MBR: syslinux' boot code, two entries | FAT: syslinux, kernel, initrd | ext4: the rest |
//! ```
//! The ext4 partition is last, so that it can grow with the disk.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command;

const MIB: u64 = 1 << 20;
const SECTOR: u64 = 512;
const BOOT_START: u64 = MIB;
const BOOT_CODE: &str = "/usr/lib/syslinux/mbr/mbr.bin";

/// What goes onto the disk.
pub struct Disk<'a> {
    /// Size of the whole disk, in MiB.
    pub size: u64,
    /// Size of the FAT partition, in MiB.
    pub boot_size: u64,
    /// Files of the FAT partition; one is `syslinux.cfg`.
    pub boot_files: &'a [(PathBuf, &'a str)],
    /// The ext4 partition's label.
    pub label: &'a str,
    /// The folder whose content the ext4 partition gets, owners and modes included.
    pub root: &'a Path,
}

impl Disk<'_> {
    /// Writes the disk as a raw, sparse file.
    pub fn write(&self, raw: &Path) -> Result<()> {
        let Disk { size, boot_size, boot_files, label, root } = *self;
        let file = File::create(raw).with_context(|| format!("create {}", raw.display()))?;
        file.set_len(size * MIB).context("set the disk's size")?;
        drop(file);

        let boot = format!("{}@@{BOOT_START}", raw.display());
        let sectors = (boot_size * MIB / SECTOR).to_string();
        let (heads, per_track) = ("64", "32");
        let mut format = Command::new("mformat");
        format.args(["-i", &boot, "-T", &sectors, "-h", heads, "-s", per_track]);
        // The BIOS reads partitions by their place on the disk, which FAT repeats.
        format.args(["-H", &(BOOT_START / SECTOR).to_string(), "-v", "BOOT", "::"]);
        command::output(&mut format)?;
        for (from, to) in boot_files {
            command::output(Command::new("mcopy").args(["-i", &boot]).arg(from).arg(format!("::{to}")))?;
        }
        let offset = BOOT_START.to_string();
        command::output(Command::new("syslinux").args(["--install", "--offset", &offset]).arg(raw))?;

        let root_start = BOOT_START + boot_size * MIB;
        let blocks = (size * MIB - root_start) / 1024;
        let mut make = Command::new("mke2fs");
        make.args(["-q", "-F", "-t", "ext4", "-L", label, "-E", &format!("offset={root_start}"), "-d"]);
        make.arg(root).arg(raw).arg(format!("{blocks}k"));
        command::output(&mut make)?;
        write_mbr(raw, boot_size * MIB, size * MIB)
    }
}

fn write_mbr(raw: &Path, boot_size: u64, size: u64) -> Result<()> {
    let code = fs::read(BOOT_CODE).with_context(|| format!("read {BOOT_CODE}"))?;
    if code.len() > 440 {
        bail!("{BOOT_CODE} is larger than an MBR's code");
    }
    let mut sector = [0u8; 512];
    sector[..code.len()].copy_from_slice(&code);
    sector[440..444].copy_from_slice(b"nubm");
    let root_start = BOOT_START + boot_size;
    entry(&mut sector[446..462], true, 0x0c, BOOT_START, boot_size);
    entry(&mut sector[462..478], false, 0x83, root_start, size - root_start);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    let file = OpenOptions::new().write(true).open(raw).with_context(|| format!("open {}", raw.display()))?;
    file.write_all_at(&sector, 0).context("write the MBR")
}

/// One partition of an MBR, by sector number only: the old cylinder fields say "look at the other ones".
fn entry(bytes: &mut [u8], active: bool, kind: u8, start: u64, size: u64) {
    let sectors = |bytes: u64| u32::try_from(bytes / SECTOR).expect("our disks are far below 2 TiB").to_le_bytes();
    bytes[0] = if active { 0x80 } else { 0 };
    bytes[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]);
    bytes[4] = kind;
    bytes[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
    bytes[8..12].copy_from_slice(&sectors(start));
    bytes[12..16].copy_from_slice(&sectors(size));
}

/// Puts the raw disk into its place as a qcow2, whole or not at all. Compressed it is a third of the size, and a BIOS,
/// which reads in small pieces, takes twice as long to start from it.
pub fn publish(raw: &Path, image: &Path, compress: bool) -> Result<()> {
    let new = raw.with_extension("qcow2");
    let mut convert = Command::new("qemu-img");
    convert.args(["convert", "-f", "raw", "-O", "qcow2"]);
    if compress {
        convert.arg("-c");
    }
    command::output(convert.arg(raw).arg(&new))?;
    fs::rename(&new, image).with_context(|| format!("rename to {}", image.display()))
}

#[cfg(test)]
mod tests {
    use super::entry;

    #[test]
    fn a_partition_is_given_in_sectors() {
        let mut bytes = [0; 16];
        entry(&mut bytes, true, 0x0c, 1 << 20, 2 << 20);
        assert_eq!(bytes, [0x80, 0xfe, 0xff, 0xff, 0x0c, 0xfe, 0xff, 0xff, 0, 8, 0, 0, 0, 16, 0, 0]);
    }
}
