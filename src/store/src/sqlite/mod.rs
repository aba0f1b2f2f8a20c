//! A store in one SQLite file.
//!
//! ```text
//!  write ─▶ queue ─▶ committer (one thread): compare, group, COMMIT + sync ─▶ memory ─▶ answer
//!  get, list now ──────────────────────────────────────────────────────────▶ memory
//!  list at an old revision, watch from far back ──▶ log (a read connection)
//! ```
//! One thread writes, so a compare needs no lock and many waiting writes share one sync. The write-ahead log is synced
//! in full at every commit, so what was answered survives a power cut. A lock file keeps other processes out, because
//! they would not see this one's memory.

mod committer;
mod log;
mod options;
mod reader;
#[cfg(test)]
mod tests;
mod watch;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot, watch as notify};

use crate::memory::Memory;
use crate::{Error, Expect, Got, Outcome, Page, Range, Revision, Store, Watch};
use committer::{Command, Committer};
pub use options::Options;
use reader::Reader;

/// The embedded store. Clones share it; it closes with the last one.
#[derive(Clone)]
pub struct SqliteStore(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    commands: Option<mpsc::Sender<Command>>,
    committer: Mutex<Option<JoinHandle<()>>>,
    _lock: File,
}

/// What reads, watches and the committer have in common.
struct Shared {
    memory: RwLock<Memory>,
    compacted: AtomicU64,
    moved: notify::Sender<Revision>,
    reader: Reader,
    options: Options,
}

impl Shared {
    fn compacted(&self) -> Revision {
        self.compacted.load(Ordering::Acquire)
    }
}

impl SqliteStore {
    /// Opens the store in the file `path`, making it when it is not there.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it, [`Error::Format`] when it is newer than this program.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_with(path, Options::default())
    }

    /// As [`SqliteStore::open`], with bounds of one's own. Blocks while the live objects are read.
    pub fn open_with(path: &Path, options: Options) -> Result<Self, Error> {
        let lock = lock(path)?;
        let mut log = log::Log::open(path, options.first_revision)?;
        let state = log.load()?;
        let memory = Memory::new(state.live, state.current, options.recent());
        let (moved, _) = notify::channel(state.current);
        let shared = Arc::new(Shared {
            memory: RwLock::new(memory),
            compacted: AtomicU64::new(state.compacted),
            moved,
            reader: Reader::open(path)?,
            options,
        });
        let (sender, receiver) = mpsc::channel(1024);
        let committer = Committer::new(log, shared.clone(), receiver);
        let thread = std::thread::Builder::new()
            .name("store-committer".to_owned())
            .spawn(move || committer.run())
            .map_err(|source| Error::File { path: path.display().to_string(), source })?;
        Ok(Self(Arc::new(Inner { shared, commands: Some(sender), committer: Mutex::new(Some(thread)), _lock: lock })))
    }

    async fn send<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let commands = self.0.commands.as_ref().ok_or(Error::Closed)?;
        commands.send(command(answer)).await.map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)?
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.committer.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Store for SqliteStore {
    async fn get(&self, key: &str) -> Result<Got, Error> {
        let memory = self.0.shared.memory.read();
        Ok(Got { object: memory.get(key).cloned(), revision: memory.current() })
    }

    async fn range(&self, range: Range) -> Result<Page, Error> {
        let shared = &self.0.shared;
        let Some(at) = range.at else { return Ok(shared.memory.read().page(&range)) };
        {
            let memory = shared.memory.read();
            let (current, compacted) = (memory.current(), shared.compacted());
            if at > current {
                return Err(Error::Future { requested: at, current });
            }
            if at < compacted {
                return Err(Error::Compacted { requested: at, compacted });
            }
            if memory.unchanged_since(&range.prefix, at) == Some(true) {
                return Ok(Page { revision: at, ..memory.page(&range) });
            }
        }
        let shared = shared.clone();
        run_blocking(move || shared.reader.page(&range, at)).await
    }

    async fn write(&self, key: &str, expect: Expect, value: Option<Bytes>) -> Result<Outcome, Error> {
        let key: Arc<str> = key.into();
        self.send(|answer| Command::Write { key, expect, value, answer }).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        watch::start(self.0.shared.clone(), prefix.to_owned(), after)
    }

    async fn current(&self) -> Result<Revision, Error> {
        Ok(self.0.shared.memory.read().current())
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.send(|answer| Command::Compact { revision, answer }).await
    }
}

async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Closed)?
}

/// Takes the lock file beside the store, for as long as the file is open.
fn lock(path: &Path) -> Result<File, Error> {
    let name = path.with_extension("lock");
    let file = |source| Error::File { path: name.display().to_string(), source };
    let lock = File::options().create(true).truncate(false).write(true).open(&name).map_err(file)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked { path: path.display().to_string() }),
        Err(std::fs::TryLockError::Error(source)) => Err(file(source)),
    }
}
