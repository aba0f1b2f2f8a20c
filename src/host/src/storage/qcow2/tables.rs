//! How far into the file the tables of a qcow2 image reach.
//!
//! A file that was cut off, as one that is still being copied, has good tables at its start that name clusters beyond its
//! end. QEMU reads those as zeros and `qemu-img convert` ends with 0, so the end is looked for here. Tables are read once
//! and within the file's length, whatever a tenant wrote into them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::Header;
use super::header::EXTENDED_L2;
use crate::storage::Refused;

/// Where an L1, an L2 or a refcount table's entry points to.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
/// The cluster reads as zeros, whatever is at its offset.
const ZERO: u64 = 1;
const SECTOR: u64 = 512;
const SUBCLUSTERS: u64 = 32;

/// Refuses an image whose tables name anything beyond the end of its file. The header has passed its check. Blocking.
pub(crate) fn check(file: &File, header: &Header) -> io::Result<Result<(), Refused>> {
    let length = file.metadata()?.len();
    let image = Image { file, header, cluster: 1 << header.cluster_bits, length };
    let end = match image.end()? {
        Ok(end) => end,
        Err(why) => return Ok(Err(why)),
    };
    Ok(if end > length { Err(Refused::Short { needed: end, length }) } else { Ok(()) })
}

struct Image<'a> {
    file: &'a File,
    header: &'a Header,
    cluster: u64,
    length: u64,
}

impl Image<'_> {
    /// The end of the last thing that a table names; it may be beyond the file's.
    fn end(&self) -> io::Result<Result<u64, Refused>> {
        let refcounts = u64::from(self.header.refcount_clusters) * self.cluster;
        let refcount_end = self.header.refcount_offset + refcounts;
        if refcount_end > self.length {
            return Ok(Ok(refcount_end));
        }
        let mut end = 0;
        for block in self.table(self.header.refcount_offset, refcounts)? {
            if block & OFFSET != 0 {
                end = end.max((block & OFFSET) + self.cluster);
            }
        }
        let l1 = self.table(self.header.l1_offset, u64::from(self.header.l1_entries) * 8)?;
        let tables = l1.iter().filter(|entry| **entry & OFFSET != 0).count() as u64;
        if tables.saturating_mul(self.cluster) > self.length.next_multiple_of(self.cluster) {
            // Without snapshots no two entries share a table.
            return Ok(Err(Refused::Malformed("more L2 tables than fit into it")));
        }
        let entry_bytes = if self.extended() { 16 } else { 8 };
        let per_table = self.cluster / entry_bytes;
        for (at, entry) in l1.iter().enumerate() {
            let offset = entry & OFFSET;
            let first = (at as u64).saturating_mul(per_table).saturating_mul(self.cluster);
            if offset == 0 || first >= self.header.size {
                continue;
            }
            end = end.max(offset + self.cluster);
            if offset + self.cluster <= self.length {
                end = end.max(self.l2_end(offset, first)?);
            }
        }
        Ok(Ok(end))
    }

    /// The end of what one L2 table names; it describes the disk from `first` on.
    fn l2_end(&self, offset: u64, first: u64) -> io::Result<u64> {
        let table = self.table(offset, self.cluster)?;
        let step = if self.extended() { 2 } else { 1 };
        let ends = table.chunks_exact(step).enumerate().filter_map(|(at, entry)| {
            let left = self.header.size.checked_sub(first + at as u64 * self.cluster).filter(|left| *left > 0)?;
            self.data_end(entry[0], entry.get(1).copied(), left.min(self.cluster))
        });
        Ok(ends.max().unwrap_or(0))
    }

    /// The end of the bytes in the file of one cluster, of which the disk has `used` bytes; `None` when it has none there.
    fn data_end(&self, entry: u64, subclusters: Option<u64>, used: u64) -> Option<u64> {
        if entry & COMPRESSED != 0 {
            let bits = 62 - (self.header.cluster_bits - 8);
            let offset = entry & ((1 << bits) - 1);
            let more = (entry & (COMPRESSED - 1)) >> bits;
            // The last sector need not be whole; its data says itself where it ends, and cannot be read when it is cut.
            let end = (offset & !(SECTOR - 1)) + (more + 1) * SECTOR;
            return Some(if end <= self.length.next_multiple_of(SECTOR) { 0 } else { end });
        }
        let offset = Some(entry & OFFSET).filter(|offset| *offset != 0)?;
        match subclusters {
            None if entry & ZERO != 0 => None,
            None => Some(offset + used),
            Some(bitmap) => {
                let allocated = bitmap as u32;
                let last = u64::from(32 - allocated.leading_zeros());
                (last > 0).then(|| offset + used.min(last * (self.cluster / SUBCLUSTERS)))
            }
        }
    }

    fn extended(&self) -> bool {
        self.header.incompatible & EXTENDED_L2 != 0
    }

    fn table(&self, offset: u64, bytes: u64) -> io::Result<Vec<u64>> {
        let mut table = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut table, offset)?;
        Ok(table.as_chunks().0.iter().map(|entry| u64::from_be_bytes(*entry)).collect())
    }
}
