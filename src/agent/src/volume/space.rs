//! How much room each pool of this host has, for the Host's status.

use std::path::PathBuf;
use std::sync::Arc;

use kube::ResourceExt;
use nubium_api::{HostPool, Quantity, StoragePool};
use nubium_host::volume::{Pools, Space, Volumes};
use nubium_runtime::Chain;
use tracing::debug;

/// Room is told in steps of this many bytes, so that it is not written all the time.
const STEP: u64 = 64 << 20;

/// The room in every pool that answers; one that does not is left out, so that nothing is placed in it.
pub async fn report(pools: &[Arc<StoragePool>], storage: &impl Pools) -> Vec<HostPool> {
    let mut report = Vec::new();
    for pool in pools {
        let name = pool.name_any();
        let folder = pool.spec.directory.path.clone().map(PathBuf::from);
        let looked = async { storage.open(&name, folder.as_deref()).await?.volumes.space().await };
        match looked.await {
            Ok(space) => report.push(told(name, space)),
            Err(error) => debug!(pool = name, error = %Chain(&error), "could not look at a pool"),
        }
    }
    report
}

fn told(name: String, space: Space) -> HostPool {
    let free = space.available / STEP * STEP;
    HostPool { name, capacity: Quantity::from_bytes(space.capacity), free: Quantity::from_bytes(free) }
}
