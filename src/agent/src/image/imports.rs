//! The imports of this process: each a task of its own, so that a long one blocks no other image and no pass.
//!
//! Downloads and conversions wait for turns of their own: a source that is slow keeps no processor waiting, and however many
//! images a namespace has, others' turns come.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use nubium_host::storage::image::{FileError, Format, HttpError, Images, ImportError, Progress};
use nubium_host::storage::{FileName, Refused};
use nubium_runtime::{Chain, Key, Queue};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{Instrument, info, warn};

use super::desired::Desired;
use super::turns::{Shares, Turns};

/// What this process does, or did last, to get the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Import {
    Idle,
    /// Under way; `last` says why the try before failed.
    Running {
        progress: Progress,
        waits: Option<Waits>,
        last: Option<(&'static str, String)>,
    },
    /// It failed, and is tried again: now if `due`, else after `wait`.
    Failed {
        reason: &'static str,
        message: String,
        due: bool,
        wait: Duration,
    },
    /// The very bytes that the checksum asks for cannot be used.
    Unsafe {
        message: String,
    },
}

/// Whose turn an import waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    Download(Shares),
    Conversion(Shares),
}

/// Progress is looked at, and so written, no more often than this.
pub(super) const PROGRESS_EVERY: Duration = Duration::from_secs(2);
/// Downloads cost little but room, which is looked at before each.
const DOWNLOADS: Shares = Shares { all: 8, each: 2 };
/// A conversion keeps a processor busy.
const CONVERSIONS: Shares = Shares { all: 2, each: 1 };
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

type Id = (String, FileName);
/// A reason and a message.
type Failure = (&'static str, String);

/// The imports by pool and file.
pub struct Imports {
    imports: Arc<parking_lot::Mutex<HashMap<Id, State>>>,
    downloads: Turns,
    conversions: Turns,
    wake: Queue<Key>,
}

enum State {
    Running {
        task: JoinHandle<()>,
        progress: watch::Receiver<Progress>,
        waits: watch::Receiver<Option<Waits>>,
        shown: (Progress, Option<Waits>),
        shown_at: Instant,
        last: Option<Failure>,
    },
    Done {
        format: Format,
    },
    Failed {
        reason: &'static str,
        message: String,
        failures: u32,
        retry_at: Instant,
    },
    Unsafe {
        message: String,
    },
}

impl Imports {
    /// `wake` gets the key of an image whose import ended.
    pub fn new(wake: Queue<Key>) -> Self {
        let (downloads, conversions) = (Turns::new(DOWNLOADS), Turns::new(CONVERSIONS));
        Self { imports: Arc::default(), downloads, conversions, wake }
    }

    pub(super) fn look(&self, pool: &str, file: &FileName) -> Import {
        let now = Instant::now();
        match self.imports.lock().get_mut(&(pool.to_owned(), file.clone())) {
            None | Some(State::Done { .. }) => Import::Idle,
            Some(State::Running { progress, waits, shown, shown_at, last, .. }) => {
                if now.duration_since(*shown_at) >= PROGRESS_EVERY {
                    (*shown, *shown_at) = ((*progress.borrow(), *waits.borrow()), now);
                }
                let (progress, waits) = *shown;
                Import::Running { progress, waits, last: last.clone() }
            }
            Some(State::Failed { reason, message, retry_at, .. }) => {
                let wait = retry_at.saturating_duration_since(now);
                Import::Failed { reason, message: message.clone(), due: wait.is_zero(), wait }
            }
            Some(State::Unsafe { message }) => Import::Unsafe { message: message.clone() },
        }
    }

    /// What the source turned out to be, if this process imported it.
    pub(super) fn format(&self, pool: &str, file: &FileName) -> Option<Format> {
        match self.imports.lock().get(&(pool.to_owned(), file.clone())) {
            Some(State::Done { format }) => Some(*format),
            _ => None,
        }
    }

    /// Begins one, unless it runs already.
    pub(super) fn start<I: Images + Clone + 'static>(&self, pool: &str, want: &Desired, images: I) {
        let id = (pool.to_owned(), want.file.clone());
        let mut imports = self.imports.lock();
        let (failures, last) = match imports.get(&id) {
            Some(State::Running { .. }) => return,
            Some(State::Failed { failures, reason, message, .. }) => (*failures, Some((*reason, message.clone()))),
            _ => (0, None),
        };
        let (sender, progress) = watch::channel(Progress::Starting);
        let (waiting, waits) = watch::channel(None);
        let (all, wake) = (Arc::clone(&self.imports), self.wake.clone());
        let (downloads, conversions) = (self.downloads.clone(), self.conversions.clone());
        let (want, done_id) = (want.clone(), id.clone());
        let work = async move {
            let import = async {
                waiting.send_replace(Some(Waits::Download(DOWNLOADS)));
                let turn = downloads.take(want.file.namespace()).await;
                waiting.send_replace(None);
                let fetched = images.fetch(&want.source, want.checksum.as_ref(), &sender).await?;
                drop(turn);
                waiting.send_replace(Some(Waits::Conversion(CONVERSIONS)));
                let _turn = conversions.take(want.file.namespace()).await;
                waiting.send_replace(None);
                images.convert(&want.file, fetched, &sender).await
            };
            let ended = match import.await {
                Ok(imported) => {
                    info!(image = %want.file, format = imported.format.as_str(), bytes = imported.length, "imported an image");
                    State::Done { format: imported.format }
                }
                Err(error) => judge(&error, want.checksum.is_some(), failures),
            };
            all.lock().insert(done_id, ended);
            wake.add(Key::new(want.file.namespace(), want.file.name()));
        };
        let task = tokio::spawn(work.in_current_span());
        let now = Instant::now();
        let shown = (Progress::Starting, None);
        imports.insert(id, State::Running { task, progress, waits, shown, shown_at: now, last });
    }

    /// Takes over a verdict that was recorded before this process began: source and checksum never change, and fetching
    /// the same bytes again at every start would tell nothing new.
    pub(super) fn recall_unsafe(&self, pool: &str, file: &FileName, message: String) {
        self.imports.lock().entry((pool.to_owned(), file.clone())).or_insert(State::Unsafe { message });
    }

    /// Stops one, waits until nothing of it can appear any more, and forgets how it went.
    pub(super) async fn stop(&self, pool: &str, file: &FileName) {
        let state = self.imports.lock().remove(&(pool.to_owned(), file.clone()));
        if let Some(State::Running { task, .. }) = state {
            task.abort();
            let _ = task.await; // says only that it was aborted, or had ended
        }
    }
}

impl Drop for Imports {
    fn drop(&mut self) {
        for state in self.imports.lock().values() {
            if let State::Running { task, .. } = state {
                task.abort();
            }
        }
    }
}

fn judge(error: &ImportError, verified: bool, failures: u32) -> State {
    let message = Chain(error).to_string();
    match error {
        ImportError::Refused(why) if verified && !matches!(why, Refused::TooLarge { .. }) => {
            warn!(error = message, "an image cannot be used");
            State::Unsafe { message }
        }
        _ => {
            if failures == 0 {
                warn!(error = message, "an import failed, trying again");
            }
            let retry_at = Instant::now() + FIRST_RETRY.saturating_mul(1 << failures.min(10)).min(LAST_RETRY);
            State::Failed { reason: reason(error), message, failures: failures.saturating_add(1), retry_at }
        }
    }
}

/// One word on what to do about a failure.
fn reason(error: &ImportError) -> &'static str {
    match error {
        ImportError::File(FileError::NotFound { .. }) => "NotFound",
        ImportError::File(FileError::BeingWritten { .. } | FileError::Changed { .. }) => "SourceChanging",
        ImportError::File(FileError::Open { .. }) => "DownloadFailed",
        ImportError::File(
            FileError::NoFolder | FileError::Outside { .. } | FileError::Link { .. } | FileError::NotRegular { .. },
        ) => "SourceRefused",
        ImportError::Http(HttpError::Status { status, .. }) if matches!(status.as_u16(), 404 | 410) => "NotFound",
        ImportError::Http(HttpError::Forbidden { .. } | HttpError::NotHttp { .. }) => "SourceRefused",
        ImportError::Http(_) => "DownloadFailed",
        ImportError::TooSlow(_) => "TooSlow",
        ImportError::TooLong { .. } | ImportError::Refused(Refused::TooLarge { .. }) => "SourceRefused",
        ImportError::Checksum { .. } => "ChecksumMismatch",
        ImportError::Refused(Refused::Truncated | Refused::Short { .. }) => "SourceTruncated",
        ImportError::Refused(Refused::Damaged(_)) => "SourceDamaged",
        ImportError::Refused(_) => "NotAnImage",
        ImportError::NoSpace { .. } => "NoSpace",
        ImportError::Read(_) => "DownloadFailed",
        ImportError::Write(_)
        | ImportError::Convert(_)
        | ImportError::BadResult(_)
        | ImportError::Result { .. }
        | ImportError::Pool(_)
        | ImportError::Stopped => "ImportFailed",
    }
}
