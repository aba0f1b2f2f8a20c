//! The pools of a host, by name: each opened once, when first needed.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::image::{Images, Importer, Rules};
use super::name::check;
use super::pool::directory::within_deadline;
use super::sandbox::{Sandbox, SandboxError};
use super::{DirectoryPool, FileOwner, VolumeError, Volumes};

/// One pool: its volumes and its images.
#[derive(Debug, Clone)]
pub struct Pool<V, I> {
    pub volumes: V,
    pub images: I,
}

/// Where a host's pools are found.
pub trait Pools: Send + Sync + 'static {
    type Volumes: Volumes + Clone + 'static;
    type Images: Images + Clone + 'static;
    /// The pool of that name, in `folder` or where this host keeps pools that name none.
    fn open(
        &self,
        name: &str,
        folder: Option<&Path>,
    ) -> impl Future<Output = Result<Pool<Self::Volumes, Self::Images>, VolumeError>> + Send;
}

/// The real pools: folders of the host.
#[derive(Debug)]
pub struct DirectoryPools {
    folder: PathBuf,
    owner: FileOwner,
    rules: Arc<Rules>,
    sandbox: Sandbox,
    open: Mutex<BTreeMap<PathBuf, DirectoryPool>>,
}

impl DirectoryPools {
    /// Pools that name no folder are kept below `folder`; `owner` is QEMU's user. Fails when the host has no `qemu-img`.
    pub fn new(folder: PathBuf, owner: FileOwner, rules: Rules) -> Result<Self, SandboxError> {
        let sandbox = Sandbox::qemu_img()?;
        Ok(Self { folder, owner, rules: Arc::new(rules), sandbox, open: Mutex::default() })
    }
}

impl Pools for DirectoryPools {
    type Volumes = DirectoryPool;
    type Images = Importer;

    async fn open(&self, name: &str, folder: Option<&Path>) -> Result<Pool<DirectoryPool, Importer>, VolumeError> {
        check("pool", name, true)?;
        let folder = folder.map_or_else(|| self.folder.join(name), Path::to_owned);
        let mut open = self.open.lock().await;
        let volumes = match open.get(&folder) {
            Some(pool) => pool.clone(),
            None => {
                let (root, owner) = (folder.clone(), self.owner);
                let opening = tokio::task::spawn_blocking(move || DirectoryPool::open(&root, owner));
                let pool = within_deadline(&folder, opening).await?;
                open.entry(folder).or_insert(pool).clone()
            }
        };
        let images = Importer::new(volumes.clone(), Arc::clone(&self.rules), self.sandbox.clone());
        Ok(Pool { volumes, images })
    }
}
