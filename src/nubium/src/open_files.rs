//! The limit of open files: the soft one that processes start with (1,024) is too low for a server's connections.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

/// Enough for every connection limit; programs that close every possible descriptor after a fork stay quick.
const ENOUGH: u64 = 65_536;

/// Raises the soft limit as far as the hard limit allows. Children inherit it.
pub fn raise_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| match ENOUGH.min(hard) {
        wanted if wanted > soft => setrlimit(Resource::RLIMIT_NOFILE, wanted, hard),
        _ => Ok(()),
    });
    if let Err(error) = raised {
        warn!(%error, "cannot raise the limit of open files");
    }
}
