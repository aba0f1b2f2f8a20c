//! How much room each pool of this host has, for the Host's status.

use std::sync::Arc;

use kube::ResourceExt;
use nubium_api::{HostPool, Quantity, StoragePool};
use nubium_host::storage::{Pools, Space, Volumes};
use nubium_runtime::Chain;
use tracing::debug;

use crate::pool;

/// Room is told in so many steps, none smaller than this many bytes, so that it is not written all the time: a host's own
/// logs take some, too.
const STEPS: u64 = 256;
const SMALLEST_STEP: u64 = 64 << 20;

/// The room in every pool that answers; one that does not is left out, so that nothing is placed in it.
pub async fn report(pools: &[Arc<StoragePool>], storage: &impl Pools) -> Vec<HostPool> {
    let mut report = Vec::new();
    for pool in pools {
        let name = pool.name_any();
        let looked = async { storage.open(&pool::spec(pool)).await?.volumes.space().await };
        match looked.await {
            Ok(space) => report.push(told(name, space)),
            Err(error) => debug!(pool = name, error = %Chain(&error), "could not look at a pool"),
        }
    }
    report
}

fn told(name: String, space: Space) -> HostPool {
    let step = (space.capacity / STEPS).next_power_of_two().max(SMALLEST_STEP);
    let free = space.available / step * step;
    HostPool { name, capacity: Quantity::from_bytes(space.capacity), free: Quantity::from_bytes(free) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_large_pool_loses_by_and_by_is_told_seldom_and_a_small_one_exactly() {
        let free = |capacity: u64, available| told("p".into(), Space { capacity, available }).free.bytes().unwrap();
        assert_eq!(free(250 << 30, (100 << 30) + 1), 100 << 30);
        assert_eq!(free(250 << 30, (101 << 30) - 1), 100 << 30);
        assert_eq!(free(1 << 30, 200 << 20), 192 << 20);
    }
}
