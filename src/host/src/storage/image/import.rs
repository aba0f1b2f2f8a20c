//! The real images of a directory pool.

use std::fs;
use std::future::Future;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::inspect::{Format, InspectError, Inspected, inspect};
use super::pace::Pace;
use super::receive::{self, Destination};
use super::source::address_policy::AddressPolicy;
use super::source::file::Folders;
use super::source::http::Http;
use super::{Checksum, ImageSeen, Images, ImportError, Imported, Progress, Source, convert};
use crate::storage::pool::directory::{Staging, locked, names_below, open_existing, publish, read_header, sync_folder};
use crate::storage::sandbox::{Sandbox, SandboxError};
use crate::storage::{DirectoryPool, FileName, FileOwner, VolumeError, Volumes};

const IMAGE_MODE: u32 = 0o444;
/// How often it is looked whether others have taken the room that an import counted on.
const LOOK_AT_ROOM: Duration = Duration::from_millis(100);
const ROOT: FileOwner = FileOwner { uid: 0, gid: 0 };

/// What this host's admin lets tenants name as sources.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// `--image-dir`.
    pub folders: Folders,
    /// `--image-http-allow`.
    pub fence: AddressPolicy,
    pub limits: Limits,
}

/// The largest of everything, in bytes, the longest silence of a server, and the least pace of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of a source's bytes.
    pub source: u64,
    /// Of the disk in it.
    pub virtual_size: u64,
    /// Of the file in the pool.
    pub file: u64,
    pub idle: Duration,
    pub pace: Pace,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            source: 64 << 30,
            virtual_size: 16 << 40,
            file: 256 << 30,
            idle: Duration::from_secs(30),
            pace: Pace::default(),
        }
    }
}

/// A verified copy of a source, in a folder of its own in the pool.
#[derive(Debug)]
pub struct Fetched {
    staging: Staging,
    received: receive::Received,
    inspected: Inspected,
}

/// Fetches images into a directory pool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Importer {
    pool: DirectoryPool,
    rules: Arc<Rules>,
    sandbox: Sandbox,
}

impl Importer {
    /// An importer into one pool; what may be named as a source, and how to convert it.
    pub fn new(pool: DirectoryPool, rules: Arc<Rules>, sandbox: Sandbox) -> Self {
        Self { pool, rules, sandbox }
    }

    async fn copy(
        &self,
        staging: &Staging,
        source: &Source,
        checksum: Option<&Checksum>,
        progress: &watch::Sender<Progress>,
    ) -> Result<receive::Received, ImportError> {
        progress.send_replace(Progress::Starting);
        let file = staging.create("source").map_err(ImportError::writing)?;
        let (limit, room) = (self.rules.limits.source, self.room().await?);
        let into = Destination { file, checksum, limit: limit.min(room), progress };
        let receiving = self.receive(source, into);
        let received = self.rules.limits.pace.hold(source, progress.subscribe(), receiving).await;
        let received = received.map_err(|error| match error {
            ImportError::TooLong { limit: reached } if reached < limit => self.no_space(),
            other => other,
        })?;
        match checksum {
            Some(want) if *want != received.digest => {
                Err(ImportError::Checksum { want: want.to_string(), got: received.digest.to_string() })
            }
            _ => Ok(received),
        }
    }

    async fn receive(&self, source: &Source, into: Destination<'_>) -> Result<receive::Received, ImportError> {
        match source {
            Source::File { path } => {
                let (rules, named) = (Arc::clone(&self.rules), path.clone());
                let opened = tokio::task::spawn_blocking(move || rules.folders.open(&named)).await;
                receive::from_file(opened.map_err(|_| ImportError::Stopped)??, path, into).await
            }
            Source::Http { url } => {
                let http = Http { fence: self.rules.fence.clone(), idle: self.rules.limits.idle };
                receive::from_http(http.open(url).await?, into).await
            }
        }
    }

    /// What an import may fill, in bytes: running guests need the rest, and pause when a pool is full.
    async fn room(&self) -> Result<u64, ImportError> {
        Ok(self.pool.space().await?.for_images())
    }

    /// What comes of `importing`; or that there is no room left, since guests and other imports write at the same time.
    async fn within_room<T>(&self, importing: impl Future<Output = Result<T, ImportError>>) -> Result<T, ImportError> {
        let full = async {
            loop {
                tokio::time::sleep(LOOK_AT_ROOM).await;
                match self.room().await {
                    Ok(0) => return self.no_space(),
                    Ok(_) => {}
                    Err(error) => return error,
                }
            }
        };
        let done = tokio::select! {
            biased;
            done = importing => done,
            error = full => Err(error),
        };
        done.map_err(|error| error.at_pool(self.pool.root()))
    }

    fn no_space(&self) -> ImportError {
        ImportError::NoSpace { pool: self.pool.root().to_owned() }
    }

    async fn fetch_copy(
        &self,
        source: &Source,
        checksum: Option<&Checksum>,
        progress: &watch::Sender<Progress>,
    ) -> Result<Fetched, ImportError> {
        let staging = Staging::new(&self.pool).map_err(ImportError::writing)?;
        let received = self.copy(&staging, source, checksum, progress).await?;
        let copy = fs::File::open(staging.path("source")).map_err(ImportError::reading)?;
        let inspected = inspected(copy, self.rules.limits.virtual_size).await?;
        Ok(Fetched { staging, received, inspected })
    }

    async fn make(
        &self,
        image: &FileName,
        fetched: Fetched,
        progress: &watch::Sender<Progress>,
    ) -> Result<Imported, ImportError> {
        let Fetched { staging, received, inspected } = fetched;
        let limits = self.rules.limits;
        convert::check_source(&self.sandbox, &staging, inspected).await?;
        let room = self.room().await?;
        let converting = convert::to_qcow2(&self.sandbox, &staging, inspected, limits.file.min(room), progress);
        let file = converting.await.map_err(|error| match error {
            ImportError::Convert(SandboxError::FileSize { limit, .. }) if limit == room => self.no_space(),
            other => other,
        })?;
        let made = inspected_result(&file, limits.virtual_size).await?;
        if made != (Inspected { format: Format::Qcow2, dirty: false, ..inspected }) {
            return Err(ImportError::Result { want: inspected.virtual_size, got: made.virtual_size });
        }
        let (from, to) = (staging.path("image"), self.pool.image_path(image));
        let publishing = tokio::task::spawn_blocking(move || {
            // A name that is taken holds an earlier import of the same UID, whole and verified: it stays. The staging folder
            // stays behind with the waiting future: when that is dropped, there is nothing left to rename.
            publish(&file, &from, &to, ROOT, IMAGE_MODE).map(|_| ())
        });
        publishing.await.map_err(|_| ImportError::Stopped)?.map_err(ImportError::writing)?;
        let receive::Received { digest, length } = received;
        Ok(Imported { format: inspected.format, digest, length, virtual_size: inspected.virtual_size })
    }
}

/// What a private copy is, its tables read to the end.
async fn inspected(copy: fs::File, limit: u64) -> Result<Inspected, ImportError> {
    let inspecting = tokio::task::spawn_blocking(move || inspect(&copy, limit)).await;
    inspecting.map_err(|_| ImportError::Stopped)?.map_err(|error| match error {
        InspectError::Read(source) => ImportError::Read(source),
        InspectError::Refused(why) => ImportError::Refused(why),
    })
}

/// What `qemu-img` wrote: its exit code alone does not say that all of it is there.
async fn inspected_result(file: &fs::File, limit: u64) -> Result<Inspected, ImportError> {
    let file = file.try_clone().map_err(ImportError::writing)?;
    inspected(file, limit).await.map_err(|error| match error {
        ImportError::Refused(why) => ImportError::BadResult(why),
        other => other,
    })
}

impl Images for Importer {
    type Fetched = Fetched;

    async fn look(&self, image: &FileName) -> Result<Option<ImageSeen>, VolumeError> {
        let path = self.pool.image_path(image);
        let look = move |_: &DirectoryPool| {
            let Some(file) = open_existing(&path, false)? else { return Ok(None) };
            let virtual_size = read_header(&file, &path)?.size;
            let about =
                file.metadata().map_err(|source| VolumeError::File { verb: "look at", path: path.clone(), source })?;
            Ok(Some(ImageSeen { path, virtual_size, allocated: about.blocks() * 512 }))
        };
        self.pool.off_thread(look).await
    }

    async fn list(&self) -> Result<Vec<FileName>, VolumeError> {
        self.pool.off_thread(|pool| names_below(&pool.images())).await
    }

    async fn fetch(
        &self,
        source: &Source,
        checksum: Option<&Checksum>,
        progress: &watch::Sender<Progress>,
    ) -> Result<Fetched, ImportError> {
        self.within_room(self.fetch_copy(source, checksum, progress)).await
    }

    async fn convert(
        &self,
        image: &FileName,
        fetched: Fetched,
        progress: &watch::Sender<Progress>,
    ) -> Result<Imported, ImportError> {
        self.within_room(self.make(image, fetched, progress)).await
    }

    async fn delete(&self, image: &FileName) -> Result<(), VolumeError> {
        if let Some(clone) = self.pool.clones_of(image).await?.into_iter().next() {
            return Err(VolumeError::HasClones { image: image.to_string(), clone: clone.to_string() });
        }
        let path = self.pool.image_path(image);
        let remove = move |_: &DirectoryPool| {
            let Some(file) = open_existing(&path, false)? else { return Ok(()) };
            if locked(&file, &path)? {
                return Err(VolumeError::InUse { path });
            }
            let folder = path.parent().expect("an image is in a namespace's folder");
            let removed = fs::remove_file(&path).and_then(|()| sync_folder(folder));
            removed.map_err(|source| VolumeError::File { verb: "remove", path: path.clone(), source })?;
            let _ = fs::remove_dir(folder); // goes with the namespace's last image
            Ok(())
        };
        self.pool.off_thread(remove).await
    }
}
