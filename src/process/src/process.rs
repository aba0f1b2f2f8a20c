//! One process, held by a pidfd: it is never mistaken for another one that got its number later.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

pub use rustix::process::Signal;

/// A process that existed when this was made.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    fd: OwnedFd,
}

impl Process {
    /// The process that has this number now; `None` when there is none.
    ///
    /// # Errors
    /// When the kernel gives no descriptor (none is left).
    pub fn open(pid: u32) -> io::Result<Option<Self>> {
        let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        match pidfd_open(number, PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(Self { pid, fd })),
            // EINVAL: the number is a thread's, not a process's.
            Err(Errno::SRCH | Errno::INVAL) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Its number. Only to be shown: it may belong to another process by the time it is used.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether all its threads have ended; a zombie has.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn has_ended(&self) -> io::Result<bool> {
        self.wait(Some(Duration::ZERO))
    }

    /// Waits until it has ended, at most so long; `true` when it has.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn wait(&self, limit: Option<Duration>) -> io::Result<bool> {
        let begun = Instant::now();
        loop {
            let left = limit.map(|limit| limit.saturating_sub(begun.elapsed()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], left.as_ref()) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Sends a signal. `false`: it had ended.
    ///
    /// # Errors
    /// When it may not be signalled.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        match pidfd_send_signal(&self.fd, signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Asks it to end (SIGTERM), and kills it when it has not after `timeout`. Returns when it has ended.
    ///
    /// # Errors
    /// When it may not be signalled, or does not end within two seconds of being killed.
    pub fn end(&self, timeout: Duration) -> io::Result<()> {
        for (signal, limit) in [(Signal::TERM, timeout), (Signal::KILL, Duration::from_secs(2))] {
            if !self.signal(signal)? || self.wait(Some(limit))? {
                return Ok(());
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Whether `check`, which reads `/proc/PID`, is true of this process; `false` when it has ended.
    ///
    /// # Errors
    /// Those of `check`, and when the kernel cannot be asked.
    pub fn is(&self, check: impl FnOnce(&Path) -> io::Result<bool>) -> io::Result<bool> {
        let found = check(Path::new(&format!("/proc/{}", self.pid)));
        // Only while it lives is what stands there about it.
        if self.has_ended()? {
            return Ok(false);
        }
        found
    }

    /// Whether it holds a lock on this file (of either kind, `flock` or POSIX) for writing, by the kernel's word.
    ///
    /// # Errors
    /// When the file or the process's descriptors cannot be looked at.
    pub fn holds_lock(&self, path: &Path) -> io::Result<bool> {
        let file = fs::metadata(path)?;
        self.is(|proc| {
            for descriptor in fs::read_dir(proc.join("fd"))? {
                let descriptor = descriptor?;
                // A descriptor that is closed meanwhile holds nothing.
                let Ok(open) = fs::metadata(descriptor.path()) else { continue };
                if (open.dev(), open.ino()) != (file.dev(), file.ino()) {
                    continue;
                }
                let info = fs::read_to_string(proc.join("fdinfo").join(descriptor.file_name())).unwrap_or_default();
                if info.lines().any(is_write_lock) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }
}

/// Whether a line of `/proc/PID/fdinfo/N` is a lock for writing: `lock: 1: FLOCK  ADVISORY  WRITE 5342 …`.
fn is_write_lock(line: &str) -> bool {
    line.strip_prefix("lock:").is_some_and(|lock| lock.split_whitespace().nth(3) == Some("WRITE"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_held_until_it_has_ended() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::open(child.id()).unwrap().unwrap();
        assert!(!process.has_ended().unwrap());
        process.end(Duration::from_secs(5)).unwrap();
        assert!(process.has_ended().unwrap(), "also while nobody has reaped it");
        child.wait().unwrap();
        assert!(!process.signal(Signal::TERM).unwrap(), "whoever gets the number now is not signalled");
        assert!(!process.is(|_| Ok(true)).unwrap());
        assert!(Process::open(u32::MAX).unwrap().is_none());
        assert!(Process::open(0).unwrap().is_none());
    }

    #[test]
    fn a_process_that_ignores_the_request_is_killed() {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; echo; exec sleep 60"]);
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut ready = [0];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        Process::open(child.id()).unwrap().unwrap().end(Duration::from_millis(20)).unwrap();
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn only_locks_for_writing_count() {
        assert!(is_write_lock("lock:\t1: FLOCK  ADVISORY  WRITE 5342 fe:00:9986124 0 EOF"));
        assert!(is_write_lock("lock:\t1: POSIX  ADVISORY  WRITE 5342 fe:00:9986125 0 EOF"));
        assert!(!is_write_lock("lock:\t1: FLOCK  ADVISORY  READ 5342 fe:00:9986124 0 EOF"));
        assert!(!is_write_lock("flags:\t02100001"));
    }
}
