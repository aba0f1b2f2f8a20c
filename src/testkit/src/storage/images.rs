//! Images without a network or a `qemu-img`: what a source holds is said in advance.

use nubium_host::storage::image::{
    Checksum, FileError, Format, ImageSeen, Images, ImportError, Imported, Progress, Source,
};
use nubium_host::storage::{FileName, VolumeError};
use tokio::sync::watch;

use super::state::{SharedState, SimSource, Verb, root};

/// What a simulated download brought.
#[derive(Debug)]
pub struct SimFetched {
    imported: Imported,
    slow_to_convert: bool,
}

/// The images of a [`super::SimPools`].
#[derive(Debug, Clone)]
pub struct SimImages(pub(super) SharedState);

impl Images for SimImages {
    type Fetched = SimFetched;

    async fn look(&self, image: &FileName) -> Result<Option<ImageSeen>, VolumeError> {
        let mut state = self.0.lock();
        state.fail(Verb::Look)?;
        let path = root().join("images").join(image.relative());
        Ok(state.images.get(image).map(|size| ImageSeen { path, virtual_size: *size, allocated: 0 }))
    }

    async fn list(&self) -> Result<Vec<FileName>, VolumeError> {
        Ok(self.0.lock().images.keys().cloned().collect())
    }

    async fn fetch(
        &self,
        source: &Source,
        checksum: Option<&Checksum>,
        progress: &watch::Sender<Progress>,
    ) -> Result<SimFetched, ImportError> {
        let (Source::File { path: name } | Source::Http { url: name }) = source;
        let found = {
            let mut state = self.0.lock();
            state.fail(Verb::Import)?;
            state.sources.get(name).cloned()
        };
        let slow_to_convert = matches!(found, Some(SimSource::SlowToConvert { .. }));
        let virtual_size = match found {
            None => return Err(FileError::NotFound { path: name.clone() }.into()),
            Some(SimSource::Refused(why)) => return Err(ImportError::Refused(why)),
            Some(SimSource::WrongChecksum) => {
                let want = checksum.map(Checksum::to_string).unwrap_or_default();
                return Err(ImportError::Checksum { want, got: Checksum::Sha256([0; 32]).to_string() });
            }
            Some(SimSource::Good { virtual_size } | SimSource::SlowToConvert { virtual_size }) => virtual_size,
            Some(SimSource::Slow { virtual_size }) => {
                let arrived = self.0.arrived.notified();
                progress.send_replace(Progress::Downloading { done: virtual_size / 2, total: Some(virtual_size) });
                arrived.await;
                virtual_size
            }
        };
        let digest = checksum.cloned().unwrap_or(Checksum::Sha256([0; 32]));
        let imported = Imported { format: Format::Raw, digest, length: virtual_size, virtual_size };
        Ok(SimFetched { imported, slow_to_convert })
    }

    async fn convert(
        &self,
        image: &FileName,
        fetched: SimFetched,
        progress: &watch::Sender<Progress>,
    ) -> Result<Imported, ImportError> {
        let SimFetched { imported, slow_to_convert } = fetched;
        if slow_to_convert {
            let arrived = self.0.arrived.notified();
            progress.send_replace(Progress::Converting { percent: 50 });
            arrived.await;
        }
        self.0.lock().images.insert(image.clone(), imported.virtual_size);
        Ok(imported)
    }

    async fn delete(&self, image: &FileName) -> Result<(), VolumeError> {
        let mut state = self.0.lock();
        state.fail(Verb::Delete)?;
        if let Some((clone, _)) = state.volumes.iter().find(|(_, seen)| seen.image.as_ref() == Some(image)) {
            return Err(VolumeError::HasClones { image: image.to_string(), clone: clone.to_string() });
        }
        state.images.remove(image);
        Ok(())
    }
}
