//! The volumes of a folder.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use super::in_use;
use super::publish::sync_folder;
use super::{DirectoryPool, Staging, names_below, open_existing, publish};
use crate::storage::pool::{BackingImage, Space, VolumeError, VolumeSeen, Volumes};
use crate::storage::qcow2::{Header, write as qcow2};
use crate::storage::{FileName, Refused};

const VOLUME_MODE: u32 = 0o600;
const SECTOR: u64 = 512;

impl Volumes for DirectoryPool {
    async fn look(&self, volume: &FileName) -> Result<Option<VolumeSeen>, VolumeError> {
        let volume = volume.clone();
        self.off_thread(move |pool| pool.look_now(&volume)).await
    }

    async fn list(&self) -> Result<Vec<FileName>, VolumeError> {
        self.off_thread(|pool| names_below(&pool.volumes())).await
    }

    async fn create_clone(&self, volume: &FileName, image: &FileName, size: u64) -> Result<(), VolumeError> {
        let (volume, image) = (volume.clone(), image.clone());
        self.off_thread(move |pool| pool.create_now(&volume, Some(&image), size)).await
    }

    async fn create_blank(&self, volume: &FileName, size: u64) -> Result<(), VolumeError> {
        let volume = volume.clone();
        self.off_thread(move |pool| pool.create_now(&volume, None, size)).await
    }

    async fn delete(&self, volume: &FileName) -> Result<(), VolumeError> {
        let volume = volume.clone();
        self.off_thread(move |pool| pool.delete_now(&volume)).await
    }

    async fn clones_of(&self, image: &FileName) -> Result<Vec<FileName>, VolumeError> {
        let image = image.clone();
        self.off_thread(move |pool| pool.clones_now(&image)).await
    }

    async fn space(&self) -> Result<Space, VolumeError> {
        self.off_thread(Self::space_now).await
    }
}

impl DirectoryPool {
    fn look_now(&self, volume: &FileName) -> Result<Option<VolumeSeen>, VolumeError> {
        let path = self.volume_path(volume);
        let Some(file) = open_existing(&path, false)? else { return Ok(None) };
        let header = read_header(&file, &path)?;
        let image = header.backing.as_deref().map(|name| self.backing(&path, name)).transpose()?;
        let about =
            file.metadata().map_err(|source| VolumeError::File { verb: "look at", path: path.clone(), source })?;
        let in_use = locked(&file, &path)?;
        Ok(Some(VolumeSeen { path, size: header.size, allocated: about.blocks() * SECTOR, image, in_use }))
    }

    /// The image that a volume's header names, checked to be one of this pool.
    fn backing(&self, path: &Path, name: &str) -> Result<BackingImage, VolumeError> {
        let foreign = || VolumeError::NotOurs { path: path.to_owned(), source: Refused::BackingFile(name.to_owned()) };
        let below = Path::new(name).strip_prefix(relative_images()).map_err(|_| foreign())?;
        let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        let image = FileName::from_relative(below).filter(|_| plain).ok_or_else(foreign)?;
        Ok(BackingImage { path: self.image_path(&image), image })
    }

    fn create_now(&self, volume: &FileName, image: Option<&FileName>, size: u64) -> Result<(), VolumeError> {
        if size == 0 || !size.is_multiple_of(SECTOR) || size > qcow2::LARGEST {
            return Err(VolumeError::Size { size, largest: qcow2::LARGEST });
        }
        if let Some(image) = image {
            let path = self.image_path(image);
            let file = open_existing(&path, false)?.ok_or_else(|| VolumeError::NoImage { image: image.clone() })?;
            let below = read_header(&file, &path)?.size;
            if size < below {
                return Err(VolumeError::SmallerThanImage { size, image: below });
            }
        }
        let path = self.volume_path(volume);
        // One that is there takes no more room.
        if open_existing(&path, false)?.is_none() && self.space_now()?.for_disks() == 0 {
            return Err(VolumeError::NoSpace { pool: self.root.clone() });
        }
        let backing = image.map(|image| relative_images().join(image.relative()));
        let backing = backing.as_ref().map(|path| path.to_str().expect("names are ASCII"));
        let make = || {
            let staging = Staging::new(self)?;
            let file = staging.create("volume")?;
            qcow2::write(&file, size, backing)?;
            publish(&file, &staging.path("volume"), &path, self.owner, VOLUME_MODE)
        };
        match make() {
            Ok(true) => Ok(()),
            Ok(false) => self.same(volume, image, size),
            Err(source) => Err(self.file_error("make", path, source)),
        }
    }

    /// A volume that is there already is the one asked for, or it is left alone.
    fn same(&self, volume: &FileName, image: Option<&FileName>, size: u64) -> Result<(), VolumeError> {
        let seen = self.look_now(volume)?.ok_or_else(|| VolumeError::NoVolume { volume: volume.clone() })?;
        let over = seen.image.as_ref().map(|below| &below.image);
        let what = if over != image {
            format!("it is over {over:?}, not {image:?}")
        } else if seen.size != size {
            format!("it has {} bytes, not {size}", seen.size)
        } else {
            return Ok(());
        };
        Err(VolumeError::Different { volume: volume.clone(), what })
    }

    fn delete_now(&self, volume: &FileName) -> Result<(), VolumeError> {
        let path = self.volume_path(volume);
        let Some(file) = open_existing(&path, false)? else { return Ok(()) };
        if locked(&file, &path)? {
            return Err(VolumeError::InUse { path });
        }
        let folder = path.parent().expect("a volume is in a namespace's folder");
        fs::remove_file(&path).and_then(|()| sync_folder(folder)).map_err(|source| VolumeError::File {
            verb: "remove",
            path: path.clone(),
            source,
        })?;
        let _ = fs::remove_dir(folder); // the namespace's last volume takes its folder along; any other keeps it
        Ok(())
    }

    fn clones_now(&self, image: &FileName) -> Result<Vec<FileName>, VolumeError> {
        let mut clones = Vec::new();
        for volume in names_below(&self.volumes())? {
            let over = self.look_now(&volume)?.and_then(|seen| seen.image);
            if over.is_some_and(|below| below.image == *image) {
                clones.push(volume);
            }
        }
        Ok(clones)
    }

    fn file_error(&self, verb: &'static str, path: PathBuf, source: io::Error) -> VolumeError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                VolumeError::NoSpace { pool: self.root.clone() }
            }
            _ => VolumeError::File { verb, path, source },
        }
    }
}

/// From a volume's folder to the images.
fn relative_images() -> PathBuf {
    PathBuf::from("../../images")
}

/// The header of one of the pool's own files, whose format is known from the record.
pub(crate) fn read_header(file: &File, path: &Path) -> Result<Header, VolumeError> {
    let failed = |source| VolumeError::File { verb: "read the header of", path: path.to_owned(), source };
    let length = file.metadata().map_err(failed)?.len().min(64 << 10);
    let mut head = vec![0; usize::try_from(length).expect("at most 64 KiB are read")];
    file.read_exact_at(&mut head, 0).map_err(failed)?;
    let header = Header::parse(&head).unwrap_or(Err(Refused::Malformed("no qcow2 magic")));
    header.map_err(|source| VolumeError::NotOurs { path: path.to_owned(), source })
}

pub(crate) fn locked(file: &File, path: &Path) -> Result<bool, VolumeError> {
    in_use::by_qemu(file).map_err(|source| VolumeError::File {
        verb: "ask for the locks of",
        path: path.to_owned(),
        source,
    })
}
