//! Seeds without a disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nubium_host::seed::{Seed, SeedError, Seeds};

/// The seeds of a simulated host, by path. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct SimSeeds(Arc<Mutex<BTreeMap<PathBuf, Seed>>>);

impl SimSeeds {
    /// Where there are seeds.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Seed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seeds for SimSeeds {
    async fn is(&self, path: &Path, seed: &Seed, _: (u32, u32)) -> Result<bool, SeedError> {
        Ok(self.lock().get(path) == Some(seed))
    }

    async fn put(&self, path: &Path, seed: &Seed, _: (u32, u32)) -> Result<(), SeedError> {
        self.lock().insert(path.to_owned(), seed.clone());
        Ok(())
    }

    async fn remove_folder(&self, folder: &Path) -> Result<(), SeedError> {
        self.lock().retain(|path, _| !path.starts_with(folder));
        Ok(())
    }

    async fn has_folder(&self, folder: &Path) -> Result<bool, SeedError> {
        Ok(self.lock().keys().any(|path| path.starts_with(folder)))
    }
}
