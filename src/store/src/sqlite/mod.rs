//! A log in one SQLite file, and the store over it.
//!
//! ```text
//!  append ─▶ queue ─▶ committer (one thread): compare, group, COMMIT + sync ─▶ tail ─▶ answer
//!  page, events ─────────────────────────────────────────────────────────▶ a read connection
//! ```
//! One thread writes, so a compare needs no lock and many waiting writes share one sync. The write-ahead log is synced
//! in full at every commit, so what was answered survives a power cut. A lock file keeps other processes out, because
//! they would not see this one's memory. Every row has a checksum, and a [small file](newest) beside the store holds the
//! newest revision: what is damaged or missing is found at start, and named.

mod committer;
mod newest;
mod options;
mod reader;
mod room;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_damage;
mod wal;

use std::fs::File;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::cached::CachedStore;
use crate::{Error, Expect, Guard, Loaded, Log, Outcome, Past, Revision, Tail};
use committer::{Command, Committer};
use newest::Newest;
pub use options::Options;
use reader::Reader;
use room::Room;
use table::Table;

/// The embedded store.
pub type SqliteStore = CachedStore<SqliteLog>;

/// A log in one local file; it closes when it is dropped.
pub struct SqliteLog {
    commands: Option<mpsc::Sender<Command>>,
    committer: Mutex<Option<JoinHandle<()>>>,
    tail: Arc<Mutex<Option<Box<dyn Tail>>>>,
    reader: Reader,
    _lock: File,
}

impl SqliteStore {
    /// Opens the store in the file `path`, making it when it is not there.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it, [`Error::Format`] when it is newer than this program,
    /// [`Error::Damaged`] and [`Error::DamagedObjects`] when it is not as it was written.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_with(path, Options::default())
    }

    /// As [`SqliteStore::open`], with bounds of one's own. Blocks while the live objects are read.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn open_with(path: &Path, options: Options) -> Result<Self, Error> {
        let cache = options.cache();
        let (log, loaded) = SqliteLog::open(path, options)?;
        Ok(Self::new(log, loaded, cache))
    }
}

impl SqliteLog {
    fn open(path: &Path, options: Options) -> Result<(Self, Loaded), Error> {
        let file = |source| Error::File { path: path.display().to_string(), source };
        let lock = lock(path)?;
        let mut room = Room::open(path, options.headroom, options.reserve);
        make_private(path).map_err(file)?;
        let newest = Newest::open(path).map_err(file)?;
        let mut table = Table::open(path, options.first_revision)?;
        let mut loaded = table.load(options.drop_damaged)?;
        let answered = newest.read().map_err(file)?;
        if let Some(answered) = answered.filter(|_| table.is_new()) {
            tracing::error!(
                path = %path.display(),
                answered,
                "the store was removed, or lost with its write-ahead log: it begins empty, apply your objects again"
            );
        }
        if let Some(answered) = answered.filter(|answered| *answered > loaded.current) {
            tracing::error!(
                path = %path.display(),
                newest = loaded.current,
                answered,
                lost = answered - loaded.current,
                "writes that were answered are missing from the store: its write-ahead log was damaged, or it is an older \
                 copy; apply again what was changed last"
            );
            table.skip_to(answered)?;
            (loaded.current, loaded.compacted) = (answered, answered);
        }
        newest.write(loaded.current).map_err(file)?;
        if !room.look()
            && let Err(error) = wal::lengthen(path)
        {
            tracing::debug!(%error, "the write-ahead log grows with each commit, which is slower");
        }
        let reader = Reader::open(path)?;
        let (sender, receiver) = mpsc::channel(1024);
        let tail = Arc::new(Mutex::new(None));
        let committer = Committer::new(table, newest, room, &loaded, options, tail.clone(), receiver);
        let thread = std::thread::Builder::new()
            .name("store-committer".to_owned())
            .spawn(move || committer.run())
            .map_err(file)?;
        let log = Self { commands: Some(sender), committer: Mutex::new(Some(thread)), tail, reader, _lock: lock };
        Ok((log, loaded))
    }

    async fn send<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let commands = self.commands.as_ref().ok_or(Error::Closed)?;
        commands.send(command(answer)).await.map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)?
    }
}

impl Log for SqliteLog {
    fn follow(&self, tail: Box<dyn Tail>) {
        *self.tail.lock() = Some(tail);
    }

    async fn append(
        &self,
        key: &str,
        expect: Expect,
        value: Option<Bytes>,
        guard: Option<Guard>,
    ) -> Result<Outcome, Error> {
        let key: Arc<str> = key.into();
        self.send(|answer| Command::Write { key, expect, value, guard, answer }).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.send(|answer| Command::Compact { revision, answer }).await
    }

    fn past(&self) -> Arc<dyn Past> {
        Arc::new(self.reader.clone())
    }
}

impl Drop for SqliteLog {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.committer.lock().take() {
            let _ = thread.join();
        }
    }
}

/// Takes the lock file beside the store, for as long as the file is open.
fn lock(path: &Path) -> Result<File, Error> {
    let name = path.with_extension("lock");
    let file = |source| Error::File { path: name.display().to_string(), source };
    let lock = File::options().create(true).truncate(false).write(true).mode(0o600).open(&name).map_err(file)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked { path: path.display().to_string() }),
        Err(std::fs::TryLockError::Error(source)) => Err(file(source)),
    }
}

/// The database is its owner's alone, whatever the umask; SQLite gives its other files the same mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    let private = || std::fs::Permissions::from_mode(0o600);
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::set_permissions(name, private()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::set_permissions(path.with_extension("lock"), private())
}
