//! What a simulated pool holds, and what its volumes and its images share.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nubium_host::storage::{FileName, Refused, Space, VolumeError};
use tokio::sync::Notify;

/// A method of a pool that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Look,
    Create,
    Delete,
    Import,
}

/// What an import of a source meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SimSource {
    /// A good image of that virtual size in bytes.
    Good { virtual_size: u64 },
    /// A download that is half done until [`super::SimPools::arrive`], and then good.
    Slow { virtual_size: u64 },
    /// A download that comes at once, and is half converted until [`super::SimPools::arrive`].
    SlowToConvert { virtual_size: u64 },
    /// Bytes that an inspection refuses.
    Refused(Refused),
    /// Bytes with another checksum than the one wanted.
    WrongChecksum,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimVolume {
    pub size: u64,
    pub image: Option<FileName>,
    pub in_use: bool,
}

#[derive(Debug, Default)]
pub struct State {
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

/// The state behind all views of one pool. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct SharedState {
    state: Arc<Mutex<State>>,
    /// Ends what a slow source keeps waiting.
    pub arrived: Arc<Notify>,
}

impl SharedState {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn root() -> PathBuf {
    PathBuf::from("/simulated")
}
