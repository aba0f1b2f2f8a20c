//! `qemu-img check` and `convert`, shut in.

use std::fs::File;
use std::time::Duration;

use tokio::sync::watch;

use super::inspect::{Format, Inspected};
use super::{ImportError, Progress};
use crate::storage::Refused;
use crate::storage::pool::directory::Staging;
use crate::storage::sandbox::{Job, Limits, Sandbox, SandboxError};

const MEMORY: u64 = 1 << 30;
const CPU: Duration = Duration::from_secs(30 * 60);
const DEADLINE: Duration = Duration::from_secs(60 * 60);
/// qcow2's tables for a full disk take about 1/8000 of it; this is generous.
const TABLES: u64 = 1000;
const TABLES_LEAST: u64 = 16 << 20;

/// What `qemu-img check` ends with when clusters are lost, which costs room and no data.
const LEAKS: i32 = 3;
const CORRUPT: i32 = 2;

/// Has the tables of a qcow2 `source` checked against each other: `convert` ends well although they are damaged.
pub(super) async fn check_source(sandbox: &Sandbox, staging: &Staging, from: Inspected) -> Result<(), ImportError> {
    // After a crash the counts of a dirty image are wrong by design, and its tables right.
    if from.format != Format::Qcow2 || from.dirty {
        return Ok(());
    }
    std::fs::create_dir(staging.path("check")).map_err(ImportError::writing)?;
    let job = Job {
        root: &staging.path("check"),
        reads: &[("source", staging.path("source"))],
        writes: &[],
        args: ["check", "-q", "-f", from.format.as_str(), "/work/source"].map(Into::into).to_vec(),
        limits: Limits { memory: MEMORY, cpu: CPU, file_size: 0, deadline: DEADLINE },
    };
    match sandbox.run(&job, |_| {}).await {
        Ok(()) => Ok(()),
        Err(SandboxError::Failed { status, .. }) if status.code() == Some(LEAKS) => Ok(()),
        Err(SandboxError::Failed { status, message, .. }) if status.code() == Some(CORRUPT) => {
            let first = message.lines().next().unwrap_or("qemu-img check found errors").to_owned();
            Err(ImportError::Refused(Refused::Damaged(first)))
        }
        Err(error) => Err(ImportError::Convert(error)),
    }
}

/// Converts `source` of a staging folder to a qcow2 file `image` of it, at most `largest` bytes long, and returns that.
/// Not flushed: `qemu-img` does not, and whoever publishes it does.
pub(super) async fn to_qcow2(
    sandbox: &Sandbox,
    staging: &Staging,
    from: Inspected,
    largest: u64,
    progress: &watch::Sender<Progress>,
) -> Result<File, ImportError> {
    let image = staging.create("image").map_err(ImportError::writing)?;
    std::fs::create_dir(staging.path("root")).map_err(ImportError::writing)?;
    let full = from.virtual_size + (from.virtual_size / TABLES).max(TABLES_LEAST);
    let job = Job {
        root: &staging.path("root"),
        reads: &[("source", staging.path("source"))],
        writes: &[("image", staging.path("image"))],
        args: [
            "convert",
            "-p",
            "-f",
            from.format.as_str(),
            "-O",
            "qcow2",
            "-o",
            "compat=1.1",
            "/work/source",
            "/work/image",
        ]
        .map(Into::into)
        .to_vec(),
        limits: Limits { memory: MEMORY, cpu: CPU, file_size: full.min(largest), deadline: DEADLINE },
    };
    progress.send_replace(Progress::Converting { percent: 0 });
    let mut line = Vec::new();
    let running = sandbox.run(&job, |piece| {
        line.extend_from_slice(piece);
        if let Some(percent) = percent(&line) {
            progress.send_if_modified(|now| std::mem::replace(now, Progress::Converting { percent }) != *now);
            line.clear();
        }
        line.truncate(64);
    });
    running.await.map_err(|error| match error {
        SandboxError::Failed { message, .. } if message.contains("No space left on device") => {
            ImportError::Write(std::io::ErrorKind::StorageFull.into())
        }
        other => ImportError::Convert(other),
    })?;
    Ok(image)
}

/// The number in the last whole `    (12.34/100%)` of a line that is rewritten in place.
fn percent(line: &[u8]) -> Option<u8> {
    let line = std::str::from_utf8(line).ok()?;
    let (before, _) = line.rsplit_once("/100%)")?;
    let (_, number) = before.rsplit_once('(')?;
    number.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_percentage_is_read_from_what_is_there_so_far() {
        assert_eq!(super::percent(b"    (0.00/100%)\r    (12.34/100%)\r    (13."), Some(12));
        assert_eq!(super::percent(b"    (0.0"), None);
        assert_eq!(super::percent(b"\xff(1/100%)"), None);
    }
}
