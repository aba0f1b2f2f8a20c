//! Reads at a revision: which one a client asks for, and waiting until the store has come so far.

use std::time::Duration;

use nubium_schema::FieldError;
use nubium_store::{AnyStore, Revision};
use tokio::time::Instant;

use crate::failure::Failure;

/// How long a read waits for a revision that has not come, as kube-apiserver's.
const LONGEST_WAIT: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A resourceVersion; `None` when it is empty.
pub(super) fn parse_revision(text: &str) -> Result<Option<Revision>, FieldError> {
    if text.is_empty() {
        return Ok(None);
    }
    let error = |_| {
        let why = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
        FieldError::invalid("resourceVersion", text, why)
    };
    text.parse().map(Some).map_err(error)
}

/// Waits until the store is at least at this revision; refuses a read of one that does not come.
pub(super) async fn at_least(store: &AnyStore, wanted: Option<Revision>) -> Result<(), Failure> {
    let Some(wanted) = wanted.filter(|wanted| *wanted > 0) else { return Ok(()) };
    let end = Instant::now() + LONGEST_WAIT;
    loop {
        let current = store.current().await?;
        if wanted <= current {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(Failure::revision_too_large(wanted, current));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
