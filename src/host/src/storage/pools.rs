//! The pools of a host, by name: each opened once, when first needed.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::image::{Images, Importer, Rules};
use super::name::check;
use super::pool::directory::within_deadline;
use super::sandbox::{Sandbox, SandboxError};
use super::{Claim, DirectoryPool, FileOwner, Mark, Records, VolumeError, Volumes};

/// One pool: its volumes and its images.
#[derive(Debug, Clone)]
pub struct Pool<V, I> {
    pub volumes: V,
    pub images: I,
}

/// A StoragePool, as this host opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSpec {
    pub name: String,
    pub uid: String,
    pub config: PoolConfig,
}

/// The driver of a pool and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolConfig {
    /// A folder; without one, a folder of the pool's name where this host keeps such pools.
    Directory { folder: Option<PathBuf> },
}

/// Where a host's pools are found.
pub trait Pools: Send + Sync + 'static {
    type Volumes: Volumes + Clone + 'static;
    type Images: Images + Clone + 'static;
    /// Opens a pool; it stays open.
    fn open(
        &self,
        pool: &PoolSpec,
    ) -> impl Future<Output = Result<Pool<Self::Volumes, Self::Images>, VolumeError>> + Send;
}

type Slot = Arc<Mutex<Option<(PoolSpec, DirectoryPool)>>>;

/// The real pools: folders of the host.
#[derive(Debug)]
pub struct DirectoryPools {
    folder: PathBuf,
    allowed: Vec<PathBuf>,
    owner: FileOwner,
    rules: Arc<Rules>,
    sandbox: Sandbox,
    /// By the pool's name; each has a lock of its own, so that one that hangs holds up no other.
    open: parking_lot::Mutex<BTreeMap<String, Slot>>,
}

impl DirectoryPools {
    /// Pools that name no folder are kept below `folder`, others below one of `allowed`; `owner` is QEMU's user. Fails when
    /// the host has no `qemu-img`.
    pub fn new(folder: PathBuf, allowed: Vec<PathBuf>, owner: FileOwner, rules: Rules) -> Result<Self, SandboxError> {
        let sandbox = Sandbox::qemu_img()?;
        Ok(Self { folder, allowed, owner, rules: Arc::new(rules), sandbox, open: parking_lot::Mutex::default() })
    }

    fn claim(&self, pool: &PoolSpec) -> Claim {
        let PoolConfig::Directory { folder } = &pool.config;
        let allowed = match folder {
            Some(_) => self.allowed.clone(),
            None => vec![self.folder.clone()],
        };
        Claim {
            mark: Mark { name: pool.name.clone(), uid: pool.uid.clone() },
            root: folder.clone().unwrap_or_else(|| self.folder.join(&pool.name)),
            allowed,
            // No pool has a name that begins with a dot.
            records: Records(self.folder.join(".marked")),
        }
    }
}

impl Pools for DirectoryPools {
    type Volumes = DirectoryPool;
    type Images = Importer;

    async fn open(&self, pool: &PoolSpec) -> Result<Pool<DirectoryPool, Importer>, VolumeError> {
        check("pool", &pool.name, true)?;
        check("uid", &pool.uid, false)?;
        let slot = Arc::clone(self.open.lock().entry(pool.name.clone()).or_default());
        let mut open = slot.lock().await;
        let before = open.take().filter(|(spec, _)| spec == pool).map(|(_, before)| before);
        let (claim, owner) = (self.claim(pool), self.owner);
        let root = claim.root.clone();
        let opening = tokio::task::spawn_blocking(move || match before {
            // The folder may have been unmounted since; then its place is judged anew.
            Some(before) if before.is_there().is_ok() => Ok(before),
            _ => DirectoryPool::open(&claim, owner),
        });
        let volumes = within_deadline(&root, opening).await?;
        *open = Some((pool.clone(), volumes.clone()));
        let images = Importer::new(volumes.clone(), Arc::clone(&self.rules), self.sandbox.clone());
        Ok(Pool { volumes, images })
    }
}
