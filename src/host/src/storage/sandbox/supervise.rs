//! The program's parent, outside its process namespace: it waits for it, ends it when nobody waits for it any more, and
//! ends as it did.
//!
//! ```text
//! agent ── pipe (standard input) ──▶ supervisor ── SIGKILL ──▶ program (process 1 of its namespace) ──▶ its children
//! ```
//! The agent holds the other end of the pipe. When that is closed, by the future that waits or by the agent's own end, the
//! supervisor kills the program; with process 1 the kernel kills all that is in its namespace.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;
use std::time::Duration;

/// The kernel limits CPU time by its ticks, and tells it more exactly.
const MEASURING_ERROR: Duration = Duration::from_millis(200);

/// The program's process, as its parent has it.
pub(super) struct Program {
    pid: libc::pid_t,
    pidfd: RawFd,
}

/// Splits this process: `None` in the program's, which is process 1 of a new namespace.
///
/// # Safety
/// Between fork and exec.
pub(super) unsafe fn split() -> io::Result<Option<Program>> {
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_NEWPID | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: as fork: no stack is given, and the kernel writes one descriptor to `pidfd`, in the parent.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, ptr::null::<()>(), &raw mut pidfd, 0, 0) };
    match libc::pid_t::try_from(pid) {
        Ok(0) => Ok(None),
        Ok(pid) if pid > 0 => Ok(Some(Program { pid, pidfd })),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Program {
    /// Waits for the program's end and ends in the same way. `cpu` is its limit in seconds.
    ///
    /// # Safety
    /// Between fork and exec: system calls only.
    pub(super) unsafe fn supervise(self, cpu: u64) -> ! {
        // SAFETY: every pointer is to a local value; nothing of the process is used afterwards.
        unsafe {
            // What the agent had open, and the pipe by which the program's `exec` is told: its own is enough.
            libc::dup2(self.pidfd, 3);
            libc::close_range(4, libc::c_uint::MAX, 0);
            libc::close(1);
            libc::close(2);
            let mut watched = [
                libc::pollfd { fd: 3, events: libc::POLLIN, revents: 0 },
                libc::pollfd { fd: 0, events: 0, revents: 0 },
            ];
            while libc::poll(watched.as_mut_ptr(), 2, -1) < 0 {}
            if watched[1].revents != 0 {
                libc::kill(self.pid, libc::SIGKILL);
            }
            let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
            while libc::wait4(self.pid, &raw mut status, 0, usage.as_mut_ptr()) < 0 {
                if io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
                    libc::_exit(1);
                }
            }
            if libc::WIFEXITED(status) {
                libc::_exit(libc::WEXITSTATUS(status));
            }
            // Process 1 of a namespace is not hurt by SIGXCPU; the kernel kills it then.
            let (usage, cpu) = (usage.assume_init(), Duration::from_secs(cpu));
            let over = libc::WTERMSIG(status) == libc::SIGKILL && used(&usage) + MEASURING_ERROR >= cpu;
            end_by(if over { libc::SIGXCPU } else { libc::WTERMSIG(status) })
        }
    }
}

fn used(usage: &libc::rusage) -> Duration {
    let time = |time: libc::timeval| {
        let (seconds, micros) = (time.tv_sec.cast_unsigned(), time.tv_usec.cast_unsigned());
        Duration::from_secs(seconds) + Duration::from_micros(micros)
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// # Safety
/// Between fork and exec.
unsafe fn end_by(signal: libc::c_int) -> ! {
    // SAFETY: plain system calls.
    unsafe {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        libc::signal(signal, libc::SIG_DFL);
        libc::kill(libc::getpid(), signal);
        libc::_exit(128 + signal)
    }
}
