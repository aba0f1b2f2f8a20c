//! The signals that end a process of ours in an orderly way.

use tokio::signal::unix::{SignalKind, signal};

/// Returns when this process is asked to end: SIGTERM, or SIGINT from a terminal.
pub async fn until_asked_to_end() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
