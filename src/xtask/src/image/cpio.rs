//! The archive that a Linux kernel unpacks as its first root ("newc" cpio), written from memory, so that an image's
//! owners, modes and device nodes need neither root nor a mount.

use std::collections::BTreeMap;

/// A root file system in memory, by path without a leading slash.
#[derive(Default)]
pub struct Archive {
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    mode: u32,
    content: Vec<u8>,
    device: (u32, u32),
}

impl Archive {
    pub fn folder(&mut self, path: &str, mode: u32) {
        self.put(path, 0o040_000 | mode, Vec::new(), (0, 0));
    }

    pub fn file(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) {
        self.put(path, 0o100_000 | mode, content.into(), (0, 0));
    }

    pub fn link(&mut self, path: &str, to: &str) {
        self.put(path, 0o120_777, to.into(), (0, 0));
    }

    pub fn character_device(&mut self, path: &str, mode: u32, device: (u32, u32)) {
        self.put(path, 0o020_000 | mode, Vec::new(), device);
    }

    /// The archive's bytes. Folders that were not named are made, with mode 0755.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (inode, (path, entry)) in (1u32..).zip(&self.entries) {
            record(&mut out, inode, path, entry);
        }
        let trailer = Entry { mode: 0, content: Vec::new(), device: (0, 0) };
        record(&mut out, 0, "TRAILER!!!", &trailer);
        out
    }

    fn put(&mut self, path: &str, mode: u32, content: Vec<u8>, device: (u32, u32)) {
        for (end, _) in path.match_indices('/') {
            let folder = Entry { mode: 0o040_755, content: Vec::new(), device: (0, 0) };
            self.entries.entry(path[..end].to_owned()).or_insert(folder);
        }
        self.entries.insert(path.to_owned(), Entry { mode, content, device });
    }
}

fn record(out: &mut Vec<u8>, inode: u32, path: &str, entry: &Entry) {
    let Entry { mode, content, device } = entry;
    let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
    let size = u32::try_from(content.len()).expect("no file of an image's root is near 4 GiB");
    let name = u32::try_from(path.len() + 1).expect("a path is short");
    let (owner, group, time, check) = (0, 0, 0, 0);
    let fields = [inode, *mode, owner, group, links, time, size, 0, 0, device.0, device.1, name, check];
    out.extend_from_slice(b"070701");
    for field in fields {
        out.extend_from_slice(format!("{field:08X}").as_bytes());
    }
    out.extend_from_slice(path.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(content);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn a_record_is_laid_out_as_the_kernel_reads_it() {
        let mut archive = Archive::default();
        archive.file("etc/motd", 0o644, "hi");
        let bytes = archive.bytes();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.starts_with("070701"), "{text}");
        // The folder comes first, then the file; every record begins at a multiple of four.
        let folder = text.find("etc\0").unwrap();
        let file = text.find("etc/motd\0").unwrap();
        assert!(folder < file);
        assert_eq!((file - 110) % 4, 0);
        assert_eq!(&bytes[file - 110..file - 104], b"070701");
        assert_eq!(&bytes[(file + 9).next_multiple_of(4)..][..2], b"hi");
        assert_eq!(bytes.len() % 4, 0);
    }
}
