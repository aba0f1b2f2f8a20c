//! How much room each pool of this host has and has promised, for the Host's status.

use std::sync::Arc;

use futures::future::join_all;
use kube::ResourceExt;
use nubium_api::{
    DEFAULT_POOL, HostPool, LONGEST_HOST_MESSAGE, Quantity, StoragePool, UnavailablePool, Volume, at_most,
};
use nubium_host::storage::{Pools, Space, Volumes};
use nubium_runtime::Chain;

use crate::pool;

/// Room is reported in so many steps, none smaller than this many bytes, so that it is not written all the time: a host's own
/// logs take some, too.
const STEPS: u64 = 256;
const SMALLEST_STEP: u64 = 64 << 20;
/// More than any pool has, and a quantity that the schema takes.
const MOST_PROMISED: u64 = 512 << 50;

/// The pools of this host, each in one of the two lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Those that answer: only in these anything is placed.
    pub pools: Vec<HostPool>,
    pub unavailable: Vec<UnavailablePool>,
}

/// Looks at all pools at once: one that is slow to answer holds up no other. `volumes` are those of this host.
pub async fn report(pools: &[Arc<StoragePool>], volumes: &[Arc<Volume>], storage: &impl Pools) -> Room {
    let looks = pools.iter().map(|pool| async move { storage.open(&pool::spec(pool)).await?.volumes.space().await });
    let looked = join_all(looks).await;
    let mut room = Room { pools: Vec::new(), unavailable: Vec::new() };
    for (pool, space) in pools.iter().zip(looked) {
        let name = pool.name_any();
        match space {
            Ok(space) => room.pools.push(reported(space, promised(volumes, &name), name)),
            Err(error) => {
                let message = at_most(LONGEST_HOST_MESSAGE, Chain(&error).to_string());
                let reason = pool::reason(&error).unwrap_or("PoolFailed").to_owned();
                room.unavailable.push(UnavailablePool { name, reason, message });
            }
        }
    }
    room
}

/// The sizes of the Volumes in a pool that were made.
fn promised(volumes: &[Arc<Volume>], pool: &str) -> u64 {
    let inside = volumes.iter().filter(|volume| volume.spec.pool.as_deref().unwrap_or(DEFAULT_POOL) == pool);
    let sizes = inside.filter_map(|volume| volume.status.as_ref()?.capacity.as_ref()?.bytes().ok());
    // Rounded up, so that every sum can be written as a quantity.
    sizes.fold(0, u64::saturating_add).min(MOST_PROMISED).next_multiple_of(1 << 20)
}

fn reported(space: Space, promised: u64, name: String) -> HostPool {
    let step = (space.capacity / STEPS).next_power_of_two().max(SMALLEST_STEP);
    let free = space.available / step * step;
    let [capacity, free, promised] = [space.capacity, free, promised].map(Quantity::from_bytes);
    HostPool { name, capacity, free, promised: Some(promised) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_large_pool_loses_by_and_by_is_told_seldom_and_a_small_one_exactly() {
        let free =
            |capacity: u64, available| reported(Space { capacity, available }, 0, "p".into()).free.bytes().unwrap();
        assert_eq!(free(250 << 30, (100 << 30) + 1), 100 << 30);
        assert_eq!(free(250 << 30, (101 << 30) - 1), 100 << 30);
        assert_eq!(free(1 << 30, 200 << 20), 192 << 20);
    }
}
