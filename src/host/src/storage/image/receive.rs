//! From a source into a private file, through the checksum, never larger than allowed.
//!
//! Hashing and writing run on a thread of their own; the network is read beside it. Nothing is resumed: a download that
//! broke off begins again and hashes from the start.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::sync::{mpsc, watch};

use super::checksum::{Checksum, Hasher};
use super::source::file::{FileError, Version};
use super::source::http::Download;
use super::{ImportError, Progress};

const PIECE: usize = 1 << 20;
const PIECES_AHEAD: usize = 32;

/// What came: its digest (in the algorithm that was asked for, else sha256) and its length in bytes.
#[derive(Debug)]
pub(super) struct Received {
    pub digest: Checksum,
    pub length: u64,
}

struct Sink {
    file: File,
    hasher: Hasher,
    length: u64,
    limit: u64,
    total: Option<u64>,
    progress: watch::Sender<Progress>,
}

impl Sink {
    fn take(&mut self, piece: &[u8]) -> Result<(), ImportError> {
        self.length += piece.len() as u64;
        if self.length > self.limit {
            return Err(ImportError::TooLong { limit: self.limit });
        }
        self.hasher.update(piece);
        self.file.write_all(piece).map_err(ImportError::writing)?;
        self.progress.send_replace(Progress::Downloading { done: self.length, total: self.total });
        Ok(())
    }

    fn finish(self) -> Received {
        Received { digest: self.hasher.finish(), length: self.length }
    }
}

/// Where what is received goes.
pub(super) struct Destination<'a> {
    pub file: File,
    pub checksum: Option<&'a Checksum>,
    /// The most bytes taken.
    pub limit: u64,
    pub progress: &'a watch::Sender<Progress>,
}

impl Destination<'_> {
    fn sink(self, total: Option<u64>) -> Result<Sink, ImportError> {
        match total {
            Some(total) if total > self.limit => Err(ImportError::TooLong { limit: self.limit }),
            _ => Ok(Sink {
                file: self.file,
                hasher: Checksum::hasher(self.checksum),
                length: 0,
                limit: self.limit,
                total,
                progress: self.progress.clone(),
            }),
        }
    }
}

/// Receives a file of the host.
pub(super) async fn from_file(mut from: File, path: &str, into: Destination<'_>) -> Result<Received, ImportError> {
    let version = Version::of(&from).map_err(ImportError::reading)?;
    let total = from.metadata().map_err(ImportError::reading)?.len();
    let path = path.to_owned();
    let mut sink = into.sink(Some(total))?;
    let gone = Gone::default();
    let watched = Arc::clone(&gone.0);
    let copying = tokio::task::spawn_blocking(move || {
        let mut piece = vec![0; PIECE];
        while !watched.load(Ordering::Relaxed) {
            match from.read(&mut piece) {
                Ok(0) if version.still_of(&from).map_err(ImportError::reading)? => return Ok(sink.finish()),
                Ok(0) => return Err(FileError::Changed { path }.into()),
                Ok(length) => sink.take(&piece[..length])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ImportError::reading(error)),
            }
        }
        Err(ImportError::Stopped)
    });
    copying.await.unwrap_or(Err(ImportError::Stopped))
}

/// Receives a body.
pub(super) async fn from_http(mut from: Download, into: Destination<'_>) -> Result<Received, ImportError> {
    let mut sink = into.sink(from.total)?;
    let (pieces, mut coming) = mpsc::channel(PIECES_AHEAD);
    let (ended, end) = tokio::sync::oneshot::channel();
    thread::Builder::new()
        .name("image-receive".into())
        .spawn(move || {
            let receive = move || {
                while let Some(piece) = coming.blocking_recv() {
                    sink.take(AsRef::<[u8]>::as_ref(&piece))?;
                }
                Ok(sink.finish())
            };
            let _ = ended.send(receive()); // whoever waited may be gone
        })
        .map_err(ImportError::writing)?;
    while let Some(piece) = from.next().await? {
        if pieces.send(piece).await.is_err() {
            break; // the receiving side has failed, and says why
        }
    }
    drop(pieces);
    end.await.unwrap_or(Err(ImportError::Stopped))
}

/// Tells the copying thread that nobody waits for it any more.
#[derive(Default)]
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
