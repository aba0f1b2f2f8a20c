//! The NoCloud seed: a small FAT disk labelled `CIDATA` that tells cloud-init who the guest is.
//!
//! A disk, and not a CD: cloud kernels have no driver for CD-ROM drives. The same input gives the same bytes, so that a
//! pass can tell whether the file that is there is the one that is wanted, without a record of its own.

mod file;

use std::io::{self, Cursor, Read, Write};

use fatfs::{Dir, FileSystem, FormatVolumeOptions, FsOptions, ReadWriteSeek};

pub use file::{SeedFiles, Seeds};

/// The whole content of a seed, byte for byte: user data may be compressed, or in any encoding. Files that are `None` are
/// left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seed {
    /// YAML or JSON with `instance-id` and `local-hostname`.
    pub meta_data: Vec<u8>,
    /// A `#cloud-config` document, a script, or any other of cloud-init's user data.
    pub user_data: Vec<u8>,
    /// cloud-init's network configuration, version 2.
    pub network_config: Option<Vec<u8>>,
}

/// The seed could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    #[error("cannot write {name} into the seed")]
    File { name: &'static str, source: io::Error },
    #[error("cannot make the seed's file system")]
    Format(#[source] io::Error),
    #[error("cannot {verb} {}", path.display())]
    Disk { verb: &'static str, path: std::path::PathBuf, source: io::Error },
}

/// What FAT, its root folder and its two tables take besides the files, generously.
const OVERHEAD: usize = 64 * 1024;
const CLUSTER: usize = 512;
const MEBIBYTE: usize = 1024 * 1024;

impl Seed {
    /// The disk, a whole number of MiB.
    ///
    /// # Errors
    /// When the file system cannot hold the files, which would be a bug: it is made as large as they need.
    pub fn image(&self) -> Result<Vec<u8>, SeedError> {
        let Seed { meta_data, user_data, network_config } = self;
        let files = [
            ("meta-data", Some(meta_data)),
            ("user-data", Some(user_data)),
            ("network-config", network_config.as_ref()),
        ];
        let content: usize = files.iter().filter_map(|(_, bytes)| bytes.map(|bytes| bytes.len() + CLUSTER)).sum();
        let size = (content + content / 128 + OVERHEAD).next_multiple_of(MEBIBYTE);
        let mut disk = Cursor::new(vec![0_u8; size]);
        let label = *b"CIDATA     ";
        let options = FormatVolumeOptions::new().volume_label(label).volume_id(0x4e55_4249);
        fatfs::format_volume(&mut disk, options).map_err(SeedError::Format)?;
        {
            let volume = FileSystem::new(&mut disk, FsOptions::new()).map_err(SeedError::Format)?;
            let root = volume.root_dir();
            for (name, bytes) in files {
                let Some(bytes) = bytes else { continue };
                add(&root, name, bytes).map_err(|source| SeedError::File { name, source })?;
            }
            drop(root);
            volume.unmount().map_err(SeedError::Format)?;
        }
        Ok(disk.into_inner())
    }

    /// Reads a disk that [`Seed::image`] made.
    ///
    /// # Errors
    /// When it is not one.
    pub fn read(image: &[u8]) -> Result<Self, SeedError> {
        let volume = FileSystem::new(Cursor::new(image.to_vec()), FsOptions::new()).map_err(SeedError::Format)?;
        let root = volume.root_dir();
        let get = |name: &'static str| {
            let mut bytes = Vec::new();
            root.open_file(name)?.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let need = |name| get(name).map_err(|source| SeedError::File { name, source });
        let network_config = match get("network-config") {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(SeedError::File { name: "network-config", source }),
        };
        Ok(Self { meta_data: need("meta-data")?, user_data: need("user-data")?, network_config })
    }
}

fn add<T: ReadWriteSeek>(root: &Dir<'_, T>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = root.create_file(name)?;
    file.truncate()?;
    file.write_all(bytes)?;
    file.flush() // dropping it would hide a failure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(length: usize) -> Seed {
        Seed {
            meta_data: "instance-id: 1\nlocal-hostname: web-1\n".into(),
            // The start of a gzip file, latin-1, and bytes that are no text at all.
            user_data: [&[0x1f, 0x8b, 0x08, 0, b'g', 0xfc, 0xff, 0xfe][..], &vec![0xe4; 2 * length]].concat(),
            network_config: Some("version: 2\n".into()),
        }
    }

    #[test]
    fn the_same_seed_is_the_same_bytes_and_reads_back() {
        for length in [0, 1000, 65_536, 3_000_000] {
            let seed = seed(length);
            let image = seed.image().unwrap();
            assert_eq!(image, seed.image().unwrap());
            assert_eq!(image.len() % MEBIBYTE, 0);
            assert_eq!(Seed::read(&image).unwrap(), seed);
        }
    }

    #[test]
    fn the_label_is_where_blkid_looks() {
        let image = seed(1).image().unwrap();
        assert_eq!(&image[0x2b..0x36], b"CIDATA     ", "the boot sector's label of FAT12 and FAT16");
        assert_eq!(&image[510..512], &[0x55, 0xaa]);
    }

    #[test]
    fn a_file_left_out_is_absent() {
        let seed = Seed { network_config: None, ..seed(5) };
        assert_eq!(Seed::read(&seed.image().unwrap()).unwrap(), seed);
    }
}
