//! Logs go to standard error, one line each; `RUST_LOG` says how many.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Begins to log. `info` is said when the world changed; a settled cloud is silent.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,kube=warn"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
}
