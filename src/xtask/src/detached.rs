//! Processes that outlive the command that started them, and how they are found again: by a file that names each one's
//! id *and* the moment it started, so that a number that was given to another process since is never signalled.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nubium_process::{PRIVATE_FILE, Process};

/// The processes of one folder, as they are started.
pub struct Started<'a> {
    folder: &'a Path,
    lines: String,
}

impl<'a> Started<'a> {
    /// None yet. What the folder's list named before is forgotten with the first start: stop that before.
    pub fn new(folder: &'a Path) -> Self {
        Self { folder, lines: String::new() }
    }

    /// Starts a program in a session of its own, so that no terminal's end reaches it; its output is added to
    /// `<its name>.log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self, program: &Path, arguments: &[String]) -> Result<()> {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let path = self.folder.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).mode(PRIVATE_FILE).open(&path);
        let log = log.with_context(|| format!("open {}", path.display()))?;
        let errors = log.try_clone().context("share the log")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log).stderr(errors);
        // SAFETY: setsid is a bare system call, which is all that may run between fork and exec.
        unsafe {
            command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(Into::into));
        }
        let child = command.spawn().with_context(|| format!("start {}", program.display()))?;
        let born = born(child.id()).with_context(|| format!("{name} ended at once, see {}", path.display()))?;
        self.lines += &format!("{} {born} {name}\n", child.id());
        let list = File::options().create(true).write(true).truncate(true).mode(PRIVATE_FILE).open(list(self.folder));
        list.and_then(|mut list| list.write_all(self.lines.as_bytes())).context("write the list of processes")
    }
}

/// Those started in this folder that still run, as (name, process id).
pub fn running(folder: &Path) -> Vec<(String, u32)> {
    let listed = listed(folder).into_iter();
    listed.filter(|(_, id, began)| born(*id) == Some(*began)).map(|(name, id, _)| (name, id)).collect()
}

/// Stops what was started in this folder, the last first: asks each to end, and kills it after 10 seconds.
///
/// # Errors
/// When one does not end even so.
pub fn stop_all(folder: &Path) -> Result<()> {
    for (name, id, began) in listed(folder).into_iter().rev() {
        stop(id, began).with_context(|| format!("stop {name}"))?;
    }
    match fs::remove_file(list(folder)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("remove the list of processes"),
        _ => Ok(()),
    }
}

/// Name, process id, and when it started.
fn listed(folder: &Path) -> Vec<(String, u32, u64)> {
    let Ok(text) = fs::read_to_string(list(folder)) else { return Vec::new() };
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (id, began, name) = (words.next()?, words.next()?, words.next()?);
        Some((name.to_owned(), id.parse().ok()?, began.parse().ok()?))
    };
    text.lines().filter_map(entry).collect()
}

fn stop(id: u32, began: u64) -> Result<()> {
    let Some(process) = Process::open(id).context("open the process")? else { return Ok(()) };
    if process.is(|_| Ok(born(id) == Some(began))).context("look at the process")? {
        process.end(Duration::from_secs(10)).with_context(|| format!("end process {id}"))?;
    }
    Ok(())
}

/// Asks again until the answer is yes.
///
/// # Errors
/// When it is not yes in time.
pub fn until(what: &str, timeout: Duration, mut yes: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + timeout;
    while !yes() {
        if Instant::now() > deadline {
            bail!("{what} is not ready after {} s, see its log", timeout.as_secs());
        }
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// When a process started, in the kernel's ticks; none when it does not run, or has ended and nobody has looked.
fn born(id: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn list(folder: &Path) -> PathBuf {
    folder.join("processes")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Started, born, list, running, stop_all};

    #[test]
    fn what_was_started_is_stopped_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut started = Started::new(folder.path());
        started.start(Path::new("/bin/sleep"), &["60".to_owned()]).unwrap();
        let line = std::fs::read_to_string(list(folder.path())).unwrap();
        let id: u32 = line.split_whitespace().next().unwrap().parse().unwrap();
        let began = born(id).unwrap();
        assert_eq!(running(folder.path()), [("sleep".to_owned(), id)]);

        // A number that belongs to somebody else now.
        std::fs::write(list(folder.path()), format!("{id} {} sleep\n", began + 1)).unwrap();
        stop_all(folder.path()).unwrap();
        assert_eq!(born(id), Some(began));
        assert_eq!(running(folder.path()), []);

        std::fs::write(list(folder.path()), line).unwrap();
        stop_all(folder.path()).unwrap();
        assert_eq!(born(id), None);
        stop_all(folder.path()).unwrap();
    }
}
