//! How an agent starts: on a machine on which one has run before, or anew.
//!
//! A machine that was booted, or taken down by `nubium down`, runs nothing of what was last said of it; a heartbeat that
//! is only a few seconds old would have people believe it. So the host's Lease is given up before anything else, and a
//! mark is left where neither a boot nor `down` leaves it. An agent that is only restarted finds the mark.

use std::fs;
use std::path::PathBuf;

use kube::Client;

use nubium_process::{TRAVERSABLE_FOLDER, make_folder};

use crate::error::AgentError;
use crate::{Config, host};

/// How an agent starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The first since the machine was booted or taken down: what was said of it before counts for nothing.
    Anew,
    /// One has run here before, and its guests may run on.
    Again,
}

/// Comes before [`run`](crate::run), and before anybody asks what runs here: gives the Lease up where it has to. Tries until
/// the API server has taken that.
pub async fn begin(client: &Client, config: &Config) -> Result<Start, AgentError> {
    let mark = config.mark();
    let failed = |path: PathBuf| move |source| AgentError::Mark { path, source };
    if fs::exists(&mark).map_err(failed(mark.clone()))? {
        return Ok(Start::Again);
    }
    host::release(client.clone(), &config.host).await;
    make_folder(&config.run, TRAVERSABLE_FOLDER)
        .map_err(|source| AgentError::Folder { path: config.run.clone(), source })?;
    fs::write(&mark, "").map_err(failed(mark))?;
    Ok(Start::Anew)
}
