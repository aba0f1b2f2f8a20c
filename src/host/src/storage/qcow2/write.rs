//! Writing the smallest qcow2 file there is: a header, one refcount block and an empty L1 table.
//!
//! A clone is such a file whose header names its image, so cloning costs a few hundred bytes whatever the image's size,
//! and no `qemu-img` process. The L1 table takes whole clusters (the first alone describes 4 TiB), so that growing a disk
//! within them is a change of one number.
//!
//! ```text
//! cluster 0        1                 2                3 …
//! ┌────────┬────────────────┬────────────────┬─────────────────┐
//! │ header │ refcount table │ refcount block │ L1 table (zero) │
//! └────────┴────────────────┴────────────────┴─────────────────┘
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::header::MAGIC;

const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// What one L1 entry describes: an L2 table of one cluster, with 8 bytes a cluster.
const PER_L1_ENTRY: u64 = CLUSTER * (CLUSTER / 8);
const L1_ENTRIES_PER_CLUSTER: u64 = CLUSTER / 8;
const L1_OFFSET: u64 = 3 * CLUSTER;
const HEADER_LENGTH: u32 = 112;
const LONGEST_BACKING: usize = 1023;

/// The largest disk that [`write`] makes, in bytes: QEMU reads L1 tables of up to 32 MiB.
pub(crate) const LARGEST: u64 = (32 << 20) / 8 * PER_L1_ENTRY;

/// Writes an empty qcow2 disk of `size` bytes into a new file; with `backing`, a clone of that qcow2 file (a path relative
/// to the folder of the file). Not flushed.
pub(crate) fn write(file: &File, size: u64, backing: Option<&str>) -> io::Result<()> {
    let l1_clusters = size.div_ceil(PER_L1_ENTRY).div_ceil(L1_ENTRIES_PER_CLUSTER).max(1);
    if size > LARGEST || backing.is_some_and(|name| name.len() > LONGEST_BACKING) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    file.set_len(L1_OFFSET + l1_clusters * CLUSTER)?;
    file.write_all_at(&(2 * CLUSTER).to_be_bytes(), CLUSTER)?;
    let used = 3 + usize::try_from(l1_clusters).expect("at most 512 clusters");
    file.write_all_at(&[0, 1].repeat(used), 2 * CLUSTER)?;
    file.write_all_at(&header(size, l1_clusters * L1_ENTRIES_PER_CLUSTER, backing), 0)
}

fn header(size: u64, l1_entries: u64, backing: Option<&str>) -> Vec<u8> {
    let format: &[u8] = if backing.is_some() { b"\xe2\x79\x2a\xca\0\0\0\x05qcow2\0\0\0" } else { b"" };
    let name = backing.unwrap_or_default();
    let name_at = u64::from(HEADER_LENGTH) + format.len() as u64 + 8;
    let mut bytes = Vec::with_capacity(256);
    bytes.extend(MAGIC);
    bytes.extend(3u32.to_be_bytes());
    bytes.extend(if backing.is_some() { name_at } else { 0 }.to_be_bytes());
    bytes.extend((name.len() as u32).to_be_bytes());
    bytes.extend(CLUSTER_BITS.to_be_bytes());
    bytes.extend(size.to_be_bytes());
    bytes.extend(0u32.to_be_bytes()); // no encryption
    bytes.extend((l1_entries as u32).to_be_bytes());
    bytes.extend(L1_OFFSET.to_be_bytes());
    bytes.extend(CLUSTER.to_be_bytes()); // refcount table
    bytes.extend(1u32.to_be_bytes()); // of one cluster
    bytes.extend([0; 4 + 8]); // no snapshots
    bytes.extend([0; 3 * 8]); // no features
    bytes.extend(4u32.to_be_bytes()); // refcounts of 16 bits
    bytes.extend(HEADER_LENGTH.to_be_bytes());
    bytes.extend([0; 8]); // compression: zlib
    bytes.extend(format);
    bytes.extend([0; 8]); // end of the extensions
    bytes.extend(name.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::qcow2::Header;

    fn written(size: u64, backing: Option<&str>) -> (Header, u64) {
        let file = tempfile::tempfile().unwrap();
        write(&file, size, backing).unwrap();
        let mut head = vec![0; 1 << 16];
        file.read_exact_at(&mut head, 0).unwrap();
        (Header::parse(&head).unwrap().unwrap(), file.metadata().unwrap().len())
    }

    #[test]
    fn our_reader_reads_what_our_writer_writes() {
        for size in [512, 10 << 30, 4 << 40, (4 << 40) + 512, LARGEST] {
            let (header, length) = written(size, None);
            assert_eq!((header.size, header.backing.clone()), (size, None));
            assert_eq!(header.check(length), Ok(()), "{size}");
            assert!(u64::from(header.l1_entries) * PER_L1_ENTRY >= size);
        }
    }

    #[test]
    fn a_clone_names_its_image_and_the_format_of_it() {
        let (header, _) = written(1 << 30, Some("../../images/a/b.1.qcow2"));
        assert_eq!(header.backing.as_deref(), Some("../../images/a/b.1.qcow2"));
        assert_eq!(header.backing_format.as_deref(), Some("qcow2"));
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let file = tempfile::tempfile().unwrap();
        assert!(write(&file, LARGEST + 512, None).is_err());
        assert!(write(&file, 512, Some(&"x".repeat(1024))).is_err());
        assert_eq!(file.metadata().unwrap().len(), 0);
    }
}
