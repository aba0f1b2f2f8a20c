//! The state folder: made, closed to others, and used by one process at a time.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nubium_process::{Lock, LockError, TRAVERSABLE_FOLDER, holder, make_folder, make_private};

/// Held by `nubium up` and `nubium agent` as long as they run, and by `nubium down` while it works.
const LOCK: &str = "up.lock";

/// Takes the state folder for this process: makes it where it lacks, takes away what an older release let others read
/// there, and locks it.
///
/// # Errors
/// When another process has it: the error says which.
pub fn hold(state: &Path, run: &Path) -> Result<Lock> {
    for folder in [state, run] {
        make_folder(folder, TRAVERSABLE_FOLDER).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    for folder in [state, run, &state.join("libvirt")] {
        make_private(folder).with_context(|| format!("cannot close {} to others", folder.display()))?;
    }
    let path = state.join(LOCK);
    Lock::take(&path).map_err(|error| match error {
        LockError::Taken(Some(process)) => {
            anyhow!("nubium runs with the state folder {} already, as process {}", state.display(), process.pid())
        }
        LockError::Taken(None) => anyhow!("{} is locked by a process that cannot be found", path.display()),
        LockError::File(source) => anyhow::Error::new(source).context(format!("cannot lock {}", path.display())),
    })
}

/// Ends the process that holds the state folder, if one does. True when there was one.
///
/// # Errors
/// When it cannot be found out, or the process does not end.
pub fn end_holder(state: &Path, timeout: Duration) -> Result<bool> {
    let path = state.join(LOCK);
    let Some(process) = holder(&path).with_context(|| format!("cannot find out who holds {}", path.display()))? else {
        return Ok(false);
    };
    process.end(timeout).with_context(|| format!("cannot end process {}", process.pid()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn one_process_at_a_time_and_what_was_readable_is_so_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let (state, run) = (folder.path().join("state"), folder.path().join("run"));
        make_folder(&state, 0o755).unwrap();
        for name in ["store.db", "store.db-wal", "nubium.log", "up.lock"] {
            fs::write(state.join(name), "").unwrap();
            fs::set_permissions(state.join(name), Permissions::from_mode(0o644)).unwrap();
        }
        let held = hold(&state, &run).unwrap();
        let open = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        for entry in fs::read_dir(&state).unwrap() {
            assert_eq!(open(&entry.unwrap().path()), 0o600);
        }
        assert_eq!([open(&state), open(&run)], [0o711; 2]);
        let refused = hold(&state, &run).unwrap_err().to_string();
        assert!(refused.contains(&format!("as process {}", std::process::id())), "{refused}");
        drop(held);
        hold(&state, &run).unwrap();
    }

    #[test]
    fn only_the_process_that_holds_the_lock_is_ended() {
        let state = tempfile::tempdir().unwrap();
        let lock = state.path().join(LOCK);
        let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
        fs::write(&lock, stranger.id().to_string()).unwrap();
        assert!(!end_holder(state.path(), Duration::ZERO).unwrap());
        assert!(stranger.try_wait().unwrap().is_none(), "it only has the number that a dead one had");
        stranger.kill().unwrap();
        stranger.wait().unwrap();

        // As an older release: the lock, and the number alone.
        let script = format!("exec 9<>{0} && flock 9 && echo $$ >&9 && echo locked && exec sleep 60", lock.display());
        let mut holder = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 6];
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut said).unwrap();
        assert!(end_holder(state.path(), Duration::from_secs(5)).unwrap());
        holder.wait().unwrap();
    }
}
