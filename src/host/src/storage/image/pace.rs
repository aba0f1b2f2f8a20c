//! How fast a source has to be: one that trickles would hold its place for ever, and no silence ends it.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::source::Source;
use super::{ImportError, Progress};

/// The least pace of a source, whatever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Bytes a second, on the average of each window.
    pub rate: u64,
    pub window: Duration,
    /// The longest that all of it may take.
    pub deadline: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { rate: 64 << 10, window: Duration::from_secs(60), deadline: Duration::from_secs(6 * 60 * 60) }
    }
}

/// A source that did not keep the pace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooSlow {
    #[error(
        "the download of {name} is too slow: {bytes} bytes in {} s; at least {least} bytes a second are needed: offer it \
         from a faster place", window.as_secs_f32()
    )]
    Rate { name: String, bytes: u64, window: Duration, least: u64 },
    #[error(
        "the download of {name} is too slow: {bytes} bytes in {} s, which is all the time it has: offer it from a faster \
         place", deadline.as_secs_f32()
    )]
    Deadline { name: String, bytes: u64, deadline: Duration },
}

impl Pace {
    /// What comes of `receiving`, which tells `progress` of every byte; or that it was too slow, and then it is dropped.
    pub(super) async fn hold<T>(
        &self,
        source: &Source,
        progress: watch::Receiver<Progress>,
        receiving: impl Future<Output = Result<T, ImportError>>,
    ) -> Result<T, ImportError> {
        tokio::select! {
            biased;
            received = receiving => received,
            slow = self.watch(source, &progress) => Err(slow.into()),
        }
    }

    /// Ends when a window brought too little, or the time is up.
    async fn watch(&self, source: &Source, progress: &watch::Receiver<Progress>) -> TooSlow {
        let Self { rate, window, deadline } = *self;
        let (begun, mut before) = (Instant::now(), 0);
        let name = || source.shown();
        loop {
            let left = deadline.saturating_sub(begun.elapsed());
            sleep(left.min(window)).await;
            let bytes = received(progress);
            if begun.elapsed() >= deadline {
                return TooSlow::Deadline { name: name(), bytes, deadline };
            }
            let came = bytes.saturating_sub(before);
            if u128::from(came) * 1000 < u128::from(rate) * window.as_millis() {
                return TooSlow::Rate { name: name(), bytes: came, window, least: rate };
            }
            before = bytes;
        }
    }
}

fn received(progress: &watch::Receiver<Progress>) -> u64 {
    match *progress.borrow() {
        Progress::Downloading { done, .. } => done,
        Progress::Starting | Progress::Converting { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { rate: 1000, window: Duration::from_secs(60), deadline: Duration::from_secs(3600) };

    /// A source of `total` bytes that sends `piece` bytes every `every` seconds: what came of it, and when.
    async fn downloaded(piece: u64, every: u64, total: u64) -> (Result<(), ImportError>, Duration) {
        let (sender, begun) = (watch::Sender::default(), Instant::now());
        let source = Source::Http { url: "http://u:secret@images.example/disk".into() };
        let receiving = async {
            let mut done = 0;
            while done < total {
                sleep(Duration::from_secs(every)).await;
                done += piece;
                sender.send_replace(Progress::Downloading { done, total: None });
            }
            Ok(())
        };
        let ended = PACE.hold(&source, sender.subscribe(), receiving).await;
        (ended, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_ends_after_one_window_whatever_its_silences_are() {
        for (piece, every) in [(1, 5), (1, 1), (11, 59), (59_000, 60), (u64::MAX / 4, 4000)] {
            let (ended, took) = downloaded(piece, every, u64::MAX / 2).await;
            assert!(matches!(ended, Err(ImportError::TooSlow(TooSlow::Rate { .. }))), "{piece}/{every}: {ended:?}");
            assert_eq!(took, PACE.window, "{piece}/{every}");
        }
        let said = downloaded(1, 5, 100).await.0.unwrap_err().to_string();
        assert!(said.contains("@images.example/disk is too slow: 12 bytes in 60 s; at least 1000 bytes"), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_slows_down_ends_too() {
        let (sender, begun) = (watch::Sender::default(), Instant::now());
        let receiving = async {
            sender.send_replace(Progress::Downloading { done: 1 << 40, total: None });
            std::future::pending::<Result<(), _>>().await
        };
        let source = Source::File { path: "disk".into() };
        let ended = PACE.hold(&source, sender.subscribe(), receiving).await;
        assert!(matches!(ended, Err(ImportError::TooSlow(TooSlow::Rate { bytes: 0, .. }))), "{ended:?}");
        assert_eq!(begun.elapsed(), 2 * PACE.window);
    }

    #[tokio::test(start_paused = true)]
    async fn what_keeps_the_pace_is_received_within_the_deadline() {
        let (ended, took) = downloaded(5000, 5, 1_000_000).await;
        ended.unwrap();
        assert_eq!(took, Duration::from_secs(1000));
        let (ended, took) = downloaded(5000, 5, u64::MAX / 2).await;
        assert!(matches!(ended, Err(ImportError::TooSlow(TooSlow::Deadline { .. }))), "{ended:?}");
        assert_eq!(took, PACE.deadline);
    }
}
