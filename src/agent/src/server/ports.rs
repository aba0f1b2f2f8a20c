//! What a pass asks of the host besides its domains: only the few verbs it uses, so that a test's host is small.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use nubium_host::network::{Netns, NetworkError, NetworkSeen, Networks, Tap};
use nubium_host::storage::{FileName, PoolSpec, Pools, VolumeError, VolumeSeen, Volumes};

use super::desired::Settings;

/// The taps of guests. Every [`Networks`] has them.
pub trait Taps: Send + Sync {
    fn look(&self, netns: &Netns) -> impl Future<Output = Result<Option<NetworkSeen>, NetworkError>> + Send;
    fn create(&self, tap: &Tap) -> impl Future<Output = Result<(), NetworkError>> + Send;
    fn move_in(&self, name: &str, netns: &Netns, mtu: u32) -> impl Future<Output = Result<(), NetworkError>> + Send;
    fn delete(&self, name: &str, netns: &Netns) -> impl Future<Output = Result<(), NetworkError>> + Send;
    /// The taps that QEMU processes of this host have open.
    fn held(&self) -> impl Future<Output = Result<BTreeSet<String>, NetworkError>> + Send;
}

impl<N: Networks> Taps for N {
    async fn look(&self, netns: &Netns) -> Result<Option<NetworkSeen>, NetworkError> {
        Networks::look(self, netns).await
    }

    async fn create(&self, tap: &Tap) -> Result<(), NetworkError> {
        self.create_tap(tap).await
    }

    async fn move_in(&self, name: &str, netns: &Netns, mtu: u32) -> Result<(), NetworkError> {
        self.move_tap(name, netns, mtu).await
    }

    async fn delete(&self, name: &str, netns: &Netns) -> Result<(), NetworkError> {
        self.delete_tap(name, netns).await
    }

    async fn held(&self) -> Result<BTreeSet<String>, NetworkError> {
        self.held_taps().await
    }
}

/// The files of Volumes, in whatever pool.
pub trait Disks: Send + Sync {
    /// `None` only when the pool answered and the file is not in it, or there is no such StoragePool.
    fn look(
        &self,
        pool: &str,
        volume: &FileName,
    ) -> impl Future<Output = Result<Option<VolumeSeen>, VolumeError>> + Send;
    /// Bytes that are free in a pool; `None` when there is no such StoragePool.
    fn available(&self, pool: &str) -> impl Future<Output = Result<Option<u64>, VolumeError>> + Send;
}

/// The pools of this host, each opened when something in it is looked at: one that cannot be opened is an error there, and
/// nobody else's.
#[derive(Debug)]
pub struct HostPools<'a, P> {
    pub storage: &'a P,
    /// By the StoragePool's name.
    pub specs: BTreeMap<String, PoolSpec>,
}

impl<P: Pools> HostPools<'_, P> {
    async fn open(&self, pool: &str) -> Result<Option<P::Volumes>, VolumeError> {
        match self.specs.get(pool) {
            Some(spec) => Ok(Some(self.storage.open(spec).await?.volumes)),
            None => Ok(None),
        }
    }
}

impl<P: Pools> Disks for HostPools<'_, P> {
    async fn look(&self, pool: &str, volume: &FileName) -> Result<Option<VolumeSeen>, VolumeError> {
        match self.open(pool).await? {
            Some(pool) => pool.look(volume).await,
            None => Ok(None),
        }
    }

    async fn available(&self, pool: &str) -> Result<Option<u64>, VolumeError> {
        match self.open(pool).await? {
            Some(pool) => pool.space().await.map(|space| Some(space.available)),
            None => Ok(None),
        }
    }
}

/// All that a pass works with.
#[derive(Debug)]
pub struct Machine<'a, D, T, V, S> {
    pub settings: &'a Settings,
    pub domains: &'a D,
    pub taps: &'a T,
    pub disks: &'a V,
    pub seeds: &'a S,
}

#[cfg(test)]
mod tests {
    use nubium_host::storage::image::Rules;
    use nubium_host::storage::{DirectoryPools, FileOwner, PoolConfig};

    use super::*;

    #[tokio::test]
    async fn a_pool_that_cannot_be_opened_is_an_error_and_never_an_absence() {
        let folder = tempfile::tempdir().unwrap();
        let foreign = folder.path().join("foreign");
        std::fs::create_dir(&foreign).unwrap();
        std::fs::write(foreign.join("somebody-else-s"), "").unwrap();
        let owner = FileOwner { uid: 64055, gid: 64055 };
        let allowed = vec![folder.path().to_owned()];
        let storage = DirectoryPools::new(folder.path().join("pools"), allowed, owner, Rules::default()).unwrap();
        let config = PoolConfig::Directory { folder: Some(foreign) };
        let spec = PoolSpec { name: "fast".into(), uid: "0d1e".into(), config };
        let pools = HostPools { storage: &storage, specs: [("fast".to_owned(), spec)].into() };
        let disk = FileName::new("shop", "web-1-root", "77aa").unwrap();
        let looked = pools.look("fast", &disk).await;
        assert!(matches!(looked, Err(VolumeError::NotEmpty { .. })), "{looked:?}");
        assert!(pools.available("fast").await.is_err());
        assert!(matches!(pools.look("no-such-pool", &disk).await, Ok(None)));
    }
}
