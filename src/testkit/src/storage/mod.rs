//! Pools without a disk: what an agent is tested against, and what a simulated host keeps.
//!
//! The rules are those of the directory pool (a clone needs its image and is never smaller; what is in use stays), so that
//! what holds here holds there; `nubium-host`'s own tests keep the two alike.

mod images;
mod state;
mod volumes;

use std::path::Path;

use nubium_host::storage::{FileName, Pool, PoolSpec, Pools, Space, VolumeError};

pub use images::{SimFetched, SimImages};
use state::{SharedState, SimVolume};
pub use state::{SimSource, Verb};
pub use volumes::SimVolumes;

/// One simulated pool, which every name opens. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct SimPools(SharedState);

impl SimPools {
    pub fn new() -> Self {
        Self::default()
    }

    /// The pool's volumes.
    pub fn volumes(&self) -> SimVolumes {
        SimVolumes(self.0.clone())
    }

    /// The pool's images.
    pub fn images(&self) -> SimImages {
        SimImages(self.0.clone())
    }

    /// Has the next call of that method fail, once.
    pub fn fail_next(&self, verb: Verb, error: VolumeError) {
        self.0.lock().failures.push_back((verb, error));
    }

    /// Puts an image there, of that virtual size in bytes.
    pub fn put_image(&self, image: FileName, virtual_size: u64) {
        self.0.lock().images.insert(image, virtual_size);
    }

    /// Puts a volume there.
    pub fn put_volume(&self, volume: FileName, size: u64, image: Option<FileName>) {
        self.0.lock().volumes.insert(volume, SimVolume { size, image, in_use: false });
    }

    /// Takes a volume's file away, as no agent would.
    pub fn lose_volume(&self, volume: &FileName) {
        self.0.lock().volumes.remove(volume);
    }

    /// Says whether a QEMU has a volume open.
    pub fn set_in_use(&self, volume: &FileName, in_use: bool) {
        if let Some(volume) = self.0.lock().volumes.get_mut(volume) {
            volume.in_use = in_use;
        }
    }

    pub fn set_space(&self, space: Space) {
        self.0.lock().space = Some(space);
    }

    /// Puts something under a path or an address; nothing is there before.
    pub fn put_source(&self, name: &str, source: SimSource) {
        self.0.lock().sources.insert(name.to_owned(), source);
    }

    /// Ends every slow download and conversion that is under way.
    pub fn arrive(&self) {
        self.0.arrived.notify_waiters();
    }

    /// Whether an image is in the pool.
    pub fn has_image(&self, image: &FileName) -> bool {
        self.0.lock().images.contains_key(image)
    }
}

impl Pools for SimPools {
    type Volumes = SimVolumes;
    type Images = SimImages;

    async fn open(&self, _: &PoolSpec) -> Result<Pool<SimVolumes, SimImages>, VolumeError> {
        Ok(Pool { volumes: self.volumes(), images: self.images() })
    }
}

/// A full pool, for [`SimPools::fail_next`].
pub fn full() -> VolumeError {
    VolumeError::NoSpace { pool: Path::new("/simulated").to_owned() }
}
