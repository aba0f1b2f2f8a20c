//! Processes that outlive the command that started them, and how they are found again: by a file that names each one's
//! id *and* the moment it started, so that a number that was given to another process since is never signalled.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The processes of one folder.
pub struct Started<'a> {
    folder: &'a Path,
    lines: String,
}

impl<'a> Started<'a> {
    pub fn new(folder: &'a Path) -> Self {
        Self { folder, lines: String::new() }
    }

    /// Starts a program in a session of its own, with `<its name>.log` as its output.
    pub fn start(&mut self, program: &Path, arguments: &[String]) -> Result<()> {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let path = self.folder.join(format!("{name}.log"));
        let log = File::create(&path).with_context(|| format!("create {}", path.display()))?;
        let errors = log.try_clone().context("share the log")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let child = command.spawn().with_context(|| format!("start {}", program.display()))?;
        let born = born(child.id()).with_context(|| format!("{name} ended at once, see {}", path.display()))?;
        self.lines += &format!("{} {born} {name}\n", child.id());
        fs::write(list(self.folder), &self.lines).context("write the list of processes")
    }
}

/// Stops what was started in this folder, the last first.
pub fn stop_all(folder: &Path) -> Result<()> {
    let list = list(folder);
    let Ok(text) = fs::read_to_string(&list) else { return Ok(()) };
    for line in text.lines().rev() {
        let mut words = line.split_whitespace();
        let (Some(id), Some(began), Some(name)) = (words.next(), words.next(), words.next()) else { continue };
        let (Ok(id), Ok(began)) = (id.parse::<u32>(), began.parse::<u64>()) else { continue };
        stop(id, began).with_context(|| format!("stop {name}"))?;
    }
    fs::remove_file(&list).with_context(|| format!("remove {}", list.display()))
}

fn stop(id: u32, began: u64) -> Result<()> {
    let runs = || born(id) == Some(began);
    let process = Pid::from_raw(i32::try_from(id).context("a process id is small")?);
    for (signal, patience) in [(Signal::SIGTERM, 10), (Signal::SIGKILL, 10)] {
        if !runs() {
            return Ok(());
        }
        // It may end by itself just now.
        let _ = kill(process, signal);
        let deadline = Instant::now() + Duration::from_secs(patience);
        while runs() && Instant::now() < deadline {
            sleep(Duration::from_millis(20));
        }
    }
    if runs() {
        bail!("process {id} does not end");
    }
    Ok(())
}

/// Asks again until the answer is yes.
pub fn until(what: &str, patience: Duration, mut yes: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + patience;
    while !yes() {
        if Instant::now() > deadline {
            bail!("{what} is not ready after {} s, see its log", patience.as_secs());
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

    use super::{Started, born, list, stop_all};

    #[test]
    fn what_was_started_is_stopped_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut started = Started::new(folder.path());
        started.start(Path::new("/bin/sleep"), &["60".to_owned()]).unwrap();
        let line = std::fs::read_to_string(list(folder.path())).unwrap();
        let id: u32 = line.split_whitespace().next().unwrap().parse().unwrap();
        let began = born(id).unwrap();

        // A number that belongs to somebody else now.
        std::fs::write(list(folder.path()), format!("{id} {} sleep\n", began + 1)).unwrap();
        stop_all(folder.path()).unwrap();
        assert_eq!(born(id), Some(began));

        std::fs::write(list(folder.path()), line).unwrap();
        stop_all(folder.path()).unwrap();
        assert_eq!(born(id), None);
        stop_all(folder.path()).unwrap();
    }
}
