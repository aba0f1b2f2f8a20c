//! What a pass asks of the host besides its domains: only the few verbs it uses, so that a test's host is small.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use nubium_host::network::{Netns, NetworkError, NetworkSeen, Networks, Tap};
use nubium_host::storage::{FileName, VolumeError, VolumeSeen, Volumes};

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
    /// `None` only when the pool answered and the file is not in it, or this host has no such pool.
    fn look(
        &self,
        pool: &str,
        volume: &FileName,
    ) -> impl Future<Output = Result<Option<VolumeSeen>, VolumeError>> + Send;
    /// Bytes that are free in a pool; `None` when this host has no such pool.
    fn available(&self, pool: &str) -> impl Future<Output = Result<Option<u64>, VolumeError>> + Send;
}

/// The pools of this host that are open, by the StoragePool's name.
#[derive(Debug, Clone)]
pub struct OpenPools<V>(pub BTreeMap<String, V>);

impl<V> Default for OpenPools<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<V: Volumes> Disks for OpenPools<V> {
    async fn look(&self, pool: &str, volume: &FileName) -> Result<Option<VolumeSeen>, VolumeError> {
        match self.0.get(pool) {
            Some(pool) => pool.look(volume).await,
            None => Ok(None),
        }
    }

    async fn available(&self, pool: &str) -> Result<Option<u64>, VolumeError> {
        match self.0.get(pool) {
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
