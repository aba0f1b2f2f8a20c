//! Volumes without a disk.

use nubium_host::storage::{BackingImage, FileName, Space, VolumeError, VolumeSeen, Volumes};

use super::state::{SharedState, SimVolume, State, Verb, root};

/// The volumes of a [`super::SimPools`].
#[derive(Debug, Clone)]
pub struct SimVolumes(pub(super) SharedState);

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
