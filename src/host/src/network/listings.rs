//! What was read off the listings of nftables, for as long as the kernel counts no change of the rules.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{error::Result, generation::generation, names::Netns, nft};

/// The rules are listed that often whatever the kernel counts.
const LIST_AGAIN: Duration = Duration::from_secs(600);

/// By namespace; `None` is the host's own.
#[derive(Debug)]
pub(super) struct Listings<T>(Mutex<HashMap<Option<Netns>, Listed<T>>>);

#[derive(Debug)]
struct Listed<T> {
    /// The kernel's number of the namespace.
    inode: u64,
    generation: u32,
    at: Instant,
    read: T,
}

impl<T> Default for Listings<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Listings<T> {
    /// What `read` makes of the rules of the namespace that the calling thread is in, which is `place`.
    pub fn read(&self, place: Option<&Netns>, inode: u64, read: impl FnOnce(&[Value]) -> Result<T>) -> Result<T> {
        // Asked for first: a change while the rules are listed makes them be listed again. A kernel that does not answer has
        // its rules listed each time.
        let generation = generation().ok();
        let place = place.cloned();
        if let Some(found) = self.lock().get(&place)
            && (found.inode, Some(found.generation)) == (inode, generation)
            && found.at.elapsed() < LIST_AGAIN
        {
            return Ok(found.read.clone());
        }
        let read = read(&nft::list()?)?;
        let mut all = self.lock();
        all.retain(|_, listed| listed.at.elapsed() < LIST_AGAIN);
        if let Some(generation) = generation {
            all.insert(place, Listed { inode, generation, at: Instant::now(), read: read.clone() });
        }
        Ok(read)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Option<Netns>, Listed<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
