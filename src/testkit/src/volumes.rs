//! Volumes and pools without a disk: what an agent is tested against, and what a simulated host keeps.
//!
//! The rules are those of the directory pool (a clone needs its image and is never smaller; what is in use stays), so that
//! what holds here holds there; `nubium-host`'s own tests keep the two alike.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use nubium_host::storage::{BackingImage, FileName, Pool, PoolSpec, Pools, Space, VolumeError, VolumeSeen, Volumes};
use tokio::sync::Notify;

use crate::images::{SimImages, SimSource};

/// A method of a pool that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Look,
    Create,
    Delete,
    Import,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SimVolume {
    pub size: u64,
    pub image: Option<FileName>,
    pub in_use: bool,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Every image's virtual size.
    pub images: BTreeMap<FileName, u64>,
    pub volumes: BTreeMap<FileName, SimVolume>,
    /// What is found under a path or an address.
    pub sources: BTreeMap<String, SimSource>,
    pub failures: VecDeque<(Verb, VolumeError)>,
    pub space: Option<Space>,
}

impl State {
    pub fn fail(&mut self, verb: Verb) -> Result<(), VolumeError> {
        match self.failures.iter().position(|(failing, _)| *failing == verb).and_then(|at| self.failures.remove(at)) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }
}

/// One simulated pool, which every name opens. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct SimPools {
    pub(crate) state: Arc<std::sync::Mutex<State>>,
    pub(crate) arrived: Arc<Notify>,
}

impl SimPools {
    pub fn new() -> Self {
        Self::default()
    }

    /// The pool's volumes.
    pub fn volumes(&self) -> SimVolumes {
        SimVolumes(self.clone())
    }

    /// The pool's images.
    pub fn images(&self) -> SimImages {
        SimImages(self.clone())
    }

    /// Has the next call of that method fail, once.
    pub fn fail_next(&self, verb: Verb, error: VolumeError) {
        self.lock().failures.push_back((verb, error));
    }

    /// Puts an image there, of that virtual size in bytes.
    pub fn put_image(&self, image: FileName, virtual_size: u64) {
        self.lock().images.insert(image, virtual_size);
    }

    /// Puts a volume there.
    pub fn put_volume(&self, volume: FileName, size: u64, image: Option<FileName>) {
        self.lock().volumes.insert(volume, SimVolume { size, image, in_use: false });
    }

    /// Takes a volume's file away, as no agent would.
    pub fn lose_volume(&self, volume: &FileName) {
        self.lock().volumes.remove(volume);
    }

    /// Says whether a QEMU has a volume open.
    pub fn set_in_use(&self, volume: &FileName, in_use: bool) {
        if let Some(volume) = self.lock().volumes.get_mut(volume) {
            volume.in_use = in_use;
        }
    }

    pub fn set_space(&self, space: Space) {
        self.lock().space = Some(space);
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Pools for SimPools {
    type Volumes = SimVolumes;
    type Images = SimImages;

    async fn open(&self, _: &PoolSpec) -> Result<Pool<SimVolumes, SimImages>, VolumeError> {
        Ok(Pool { volumes: self.volumes(), images: self.images() })
    }
}

/// The volumes of a [`SimPools`].
#[derive(Debug, Clone)]
pub struct SimVolumes(SimPools);

pub(crate) fn root() -> PathBuf {
    PathBuf::from("/simulated")
}

impl Volumes for SimVolumes {
    async fn look(&self, volume: &FileName) -> Result<Option<VolumeSeen>, VolumeError> {
        let mut state = self.0.lock();
        state.fail(Verb::Look)?;
        Ok(state.volumes.get(volume).map(|seen| VolumeSeen {
            path: root().join("volumes").join(volume.relative()),
            size: seen.size,
            allocated: 0,
            image: seen
                .image
                .clone()
                .map(|image| BackingImage { path: root().join("images").join(image.relative()), image }),
            in_use: seen.in_use,
        }))
    }

    async fn list(&self) -> Result<Vec<FileName>, VolumeError> {
        Ok(self.0.lock().volumes.keys().cloned().collect())
    }

    async fn create_clone(&self, volume: &FileName, image: &FileName, size: u64) -> Result<(), VolumeError> {
        let mut state = self.0.lock();
        state.fail(Verb::Create)?;
        let below = *state.images.get(image).ok_or_else(|| VolumeError::NoImage { image: image.clone() })?;
        if size < below {
            return Err(VolumeError::SmallerThanImage { size, image: below });
        }
        make(&mut state, volume, Some(image), size)
    }

    async fn create_blank(&self, volume: &FileName, size: u64) -> Result<(), VolumeError> {
        let mut state = self.0.lock();
        state.fail(Verb::Create)?;
        make(&mut state, volume, None, size)
    }

    async fn delete(&self, volume: &FileName) -> Result<(), VolumeError> {
        let mut state = self.0.lock();
        state.fail(Verb::Delete)?;
        if state.volumes.get(volume).is_some_and(|seen| seen.in_use) {
            return Err(VolumeError::InUse { path: volume.relative() });
        }
        state.volumes.remove(volume);
        Ok(())
    }

    async fn clones_of(&self, image: &FileName) -> Result<Vec<FileName>, VolumeError> {
        let state = self.0.lock();
        let clones = state.volumes.iter().filter(|(_, seen)| seen.image.as_ref() == Some(image));
        Ok(clones.map(|(name, _)| name.clone()).collect())
    }

    async fn space(&self) -> Result<Space, VolumeError> {
        Ok(self.0.lock().space.unwrap_or(Space { capacity: 1 << 40, available: 1 << 39 }))
    }
}

fn make(state: &mut State, volume: &FileName, image: Option<&FileName>, size: u64) -> Result<(), VolumeError> {
    let made = SimVolume { size, image: image.cloned(), in_use: false };
    let there = state.volumes.entry(volume.clone()).or_insert_with(|| made.clone());
    if there.size == made.size && there.image == made.image {
        Ok(())
    } else {
        Err(VolumeError::Different { volume: volume.clone(), what: format!("it is {there:?}") })
    }
}
