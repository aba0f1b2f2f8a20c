//! One snapshot: the domain, the files under it, the networks around it.

use std::collections::{BTreeMap, BTreeSet};

use nubium_host::libvirt::{DomainSeen, DomainState, Domains, LibvirtError, Pause};
use nubium_host::network::{Netns, NetworkError, NetworkSeen};
use nubium_host::seed::{SeedError, Seeds};
use nubium_host::storage::{VolumeError, VolumeSeen};
use uuid::Uuid;

use super::desired::{Desired, Presence};
use super::ports::{Disks, Machine, Taps};

/// A guest that a full pool has paused goes on when there is this much: with less it would stop again at once.
const ROOM: u64 = 16 << 20;

/// What was seen in one pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub domain: Option<DomainSeen>,
    /// Who else has the domain's name, where there is no domain of our UUID.
    pub name_held_by: Option<Uuid>,
    /// By the disk's name; those that are missing have no file.
    pub volumes: BTreeMap<String, VolumeSeen>,
    /// Those that are missing have no namespace here.
    pub networks: BTreeMap<Netns, NetworkSeen>,
    /// Of the taps that this Server names or had, those that a process has open although its own guest does not run.
    pub held_taps: BTreeSet<String>,
    /// Whether the seed on disk is the one that is wanted, or there is one at all where none is; true of a guest that runs.
    pub seed_is_there: bool,
    /// Whether the Server's folder is there.
    pub folder: bool,
    /// The pools of its disks that have next to no room. Looked for only when a disk of the guest could not be written.
    pub full_pools: BTreeSet<String>,
    /// Seconds since the machine was booted.
    pub now: i64,
}

/// A look that failed. It says nothing about what is there.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error("cannot look at the domain")]
    Domain(#[from] LibvirtError),
    #[error("cannot look at a volume")]
    Volume(#[from] VolumeError),
    #[error("cannot look at a network")]
    Network(#[from] NetworkError),
    #[error("cannot look at the seed")]
    Seed(#[from] SeedError),
}

/// Looks at everything that the plan decides by. `now` is drawn by the caller.
///
/// # Errors
/// When any of it could not be looked at.
pub async fn observe<D: Domains, T: Taps, V: Disks, S: Seeds>(
    want: &Desired,
    host: &Machine<'_, D, T, V, S>,
    now: i64,
) -> Result<Seen, LookError> {
    let domain = host.domains.look(want.uid).await?;
    let name_held_by = match &domain {
        Some(_) => None,
        None => host.domains.named(want.domain_name()).await?.filter(|other| *other != want.uid),
    };
    let folder = want.folder(host.settings);
    let mut seen = Seen {
        domain,
        name_held_by,
        volumes: BTreeMap::new(),
        networks: BTreeMap::new(),
        held_taps: BTreeSet::new(),
        seed_is_there: false,
        folder: host.seeds.has_folder(&folder).await?,
        full_pools: BTreeSet::new(),
        now,
    };
    if seen.domain.as_ref().is_some_and(|domain| domain.state == DomainState::Paused(Pause::IoError)) {
        for pool in want.disks.iter().map(|disk| &disk.pool).collect::<BTreeSet<_>>() {
            if host.disks.available(pool).await?.is_some_and(|bytes| bytes < ROOM) {
                seen.full_pools.insert(pool.clone());
            }
        }
    }
    if want.presence == Presence::Present {
        for disk in &want.disks {
            if let Some(volume) = host.disks.look(&disk.pool, &disk.file).await? {
                seen.volumes.insert(disk.name.clone(), volume);
            }
        }
        let path = Desired::seed_path(&folder);
        let active = seen.domain.as_ref().is_some_and(|domain| domain.live.is_some());
        seen.seed_is_there = match &want.seed {
            _ if active => true, // what a guest was started with is not looked at again
            Some(seed) => {
                let owner = (host.settings.qemu.uid, host.settings.qemu.gid);
                host.seeds.is(&path, seed, owner).await?
            }
            None => host.seeds.has_folder(&path).await?,
        };
    }
    let recorded = seen.domain.iter().filter_map(|domain| domain.owner.as_ref());
    let recorded: Vec<Netns> =
        recorded.flat_map(|owner| owner.taps.values()).filter_map(|name| Netns::parse(name)).collect();
    for netns in want.nics.iter().map(|nic| nic.netns.clone()).chain(recorded) {
        if seen.networks.contains_key(&netns) {
            continue;
        }
        if let Some(network) = host.taps.look(&netns).await? {
            seen.networks.insert(netns, network);
        }
    }
    let is_off = seen.domain.as_ref().is_none_or(|domain| domain.live.is_none());
    let record = seen.domain.iter().filter_map(|domain| domain.owner.as_ref());
    let names: BTreeSet<&String> =
        want.nics.iter().map(|nic| &nic.tap).chain(record.flat_map(|owner| owner.taps.keys())).collect();
    // Looked for only where there is a tap at all: it asks every process of the host.
    if is_off && seen.networks.values().any(|network| names.iter().any(|name| network.taps.contains_key(*name))) {
        let mut held = host.taps.held().await?;
        held.retain(|name| names.contains(name));
        seen.held_taps = held;
    }
    Ok(seen)
}
