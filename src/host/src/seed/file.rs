//! Seeds as files: whole or not there, and readable by QEMU's user alone, for they may hold secrets.

use std::fs::{self, File, OpenOptions, Permissions};
use std::future::Future;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::{Seed, SeedError};

/// The seed files of a host.
pub trait Seeds: Send + Sync {
    /// Whether the file at `path` is exactly this seed's disk, and QEMU's user may read it.
    fn is(&self, path: &Path, seed: &Seed, owner: (u32, u32)) -> impl Future<Output = Result<bool, SeedError>> + Send;
    /// Puts the seed's disk there, whole, for `owner` (uid, gid) to read. Makes missing folders.
    fn put(&self, path: &Path, seed: &Seed, owner: (u32, u32)) -> impl Future<Output = Result<(), SeedError>> + Send;
    /// Removes what a Server's folder holds, and the folder; one that is not there is removed already.
    fn remove_folder(&self, folder: &Path) -> impl Future<Output = Result<(), SeedError>> + Send;
    /// Whether the folder is there.
    fn has_folder(&self, folder: &Path) -> impl Future<Output = Result<bool, SeedError>> + Send;
}

/// Seeds on this machine's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SeedFiles;

impl Seeds for SeedFiles {
    async fn is(&self, path: &Path, seed: &Seed, owner: (u32, u32)) -> Result<bool, SeedError> {
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(failed("read", path)(source)),
        };
        let owned = (meta.uid(), meta.gid()) == owner && meta.permissions().mode() & 0o777 == 0o400;
        if !owned {
            return Ok(false);
        }
        let image = seed.image()?;
        Ok(meta.len() == image.len() as u64 && fs::read(path).map_err(failed("read", path))? == image)
    }

    async fn put(&self, path: &Path, seed: &Seed, owner: (u32, u32)) -> Result<(), SeedError> {
        let image = seed.image()?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        make_folder(folder)?;
        let new = path.with_extension("new");
        let write = || -> io::Result<()> {
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(&new)?;
            file.write_all(&image)?;
            fchown(&file, Some(owner.0), Some(owner.1))?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(failed("write", path))
    }

    async fn remove_folder(&self, folder: &Path) -> Result<(), SeedError> {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", folder)(error)),
            _ => Ok(()),
        }
    }

    async fn has_folder(&self, folder: &Path) -> Result<bool, SeedError> {
        folder.try_exists().map_err(failed("look for", folder))
    }
}

/// Folders that QEMU's user can pass through and nobody else than root can list.
fn make_folder(folder: &Path) -> Result<(), SeedError> {
    let missing: Vec<PathBuf> = folder.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
    for path in missing.into_iter().rev() {
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed("make", &path)(error)),
            _ => {}
        }
        fs::set_permissions(&path, Permissions::from_mode(0o711)).map_err(failed("open up", &path))?;
    }
    Ok(())
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SeedError {
    let path = path.to_owned();
    move |source| SeedError::Disk { verb, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_put_is_there_and_only_its_owner_reads_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("servers/shop/web-1/seed.img");
        let meta = fs::metadata(root.path()).unwrap();
        let owner = (meta.uid(), meta.gid());
        let seed = |text: &str| Seed { meta_data: text.into(), ..Seed::default() };
        assert!(!SeedFiles.is(&path, &seed("one"), owner).await.unwrap());
        SeedFiles.put(&path, &seed("one"), owner).await.unwrap();
        SeedFiles.put(&path, &seed("two"), owner).await.unwrap();
        assert!(SeedFiles.is(&path, &seed("two"), owner).await.unwrap());
        assert!(!SeedFiles.is(&path, &seed("one"), owner).await.unwrap());
        assert!(!SeedFiles.is(&path, &seed("two"), (owner.0 + 1, owner.1)).await.unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        let folder = path.parent().unwrap();
        assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o711);
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "no temporary file is left");
        SeedFiles.remove_folder(folder).await.unwrap();
        SeedFiles.remove_folder(folder).await.unwrap();
        assert!(!SeedFiles.has_folder(folder).await.unwrap());
    }
}
