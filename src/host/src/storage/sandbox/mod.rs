//! `qemu-img`, shut in: the bytes it reads were chosen by a tenant.
//!
//! It runs as a user that owns nothing else on the host and that no other run has, in a network namespace without links, a
//! process namespace of its own and a mount namespace whose root holds the system's programs and libraries (read-only),
//! `/dev/null` and the files named for the job: no host file, no socket, no other device, no other process. It can make the
//! system calls of files, memory and threads. Memory, CPU time, the size of what it writes and its time on the clock are
//! limited. It dies with the future that waits for it, and with it all that it started.
//!
//! No user namespace is needed: whoever calls is root. A piece that the machine does not have is an error that names it.

mod enter;
mod filter;
mod supervise;
#[cfg(test)]
mod tests;
mod user;

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::fs::lchown;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use enter::Cell;
pub use enter::Step;
use user::User;

const SHOWN_OF_STDERR: usize = 2048;

/// What one run may use. Sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub memory: u64,
    pub cpu: Duration,
    pub file_size: u64,
    pub deadline: Duration,
}

/// One run of a program in the sandbox.
#[derive(Debug)]
pub struct Job<'a> {
    /// An empty folder that becomes the root of the run.
    pub root: &'a Path,
    /// Files it reads, seen as `/work/<name>`; they are given to its user.
    pub reads: &'a [(&'static str, PathBuf)],
    /// Files it writes, seen as `/work/<name>`; they are given to its user.
    pub writes: &'a [(&'static str, PathBuf)],
    pub args: Vec<OsString>,
    pub limits: Limits,
}

/// Why a run did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("{program} is not installed")]
    NotInstalled { program: String },
    #[error("prepare the sandbox of {}", program.display())]
    Prepare {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("start {} in its sandbox: it did not get {}", program.display(), step.need())]
    Start {
        program: PathBuf,
        step: Step,
        #[source]
        source: io::Error,
    },
    #[error("wait for {}", program.display())]
    Wait {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} failed ({status}): {message}", program.display())]
    Failed { program: PathBuf, status: ExitStatus, message: String },
    #[error("{} would have written more than {limit} bytes", program.display())]
    FileSize { program: PathBuf, limit: u64 },
    #[error("{} used more than {limit:?} of CPU time", program.display())]
    Cpu { program: PathBuf, limit: Duration },
    #[error("{} was not done after {limit:?}", program.display())]
    Deadline { program: PathBuf, limit: Duration },
}

/// A program that runs shut in.
#[derive(Debug, Clone)]
pub struct Sandbox {
    program: PathBuf,
}

impl Sandbox {
    /// Finds `qemu-img` on the host's `PATH`.
    pub fn qemu_img() -> Result<Self, SandboxError> {
        Self::find("qemu-img")
    }

    fn find(program: &str) -> Result<Self, SandboxError> {
        let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
        let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file());
        let found = found.and_then(|path| path.canonicalize().ok());
        found.map(|program| Self { program }).ok_or_else(|| SandboxError::NotInstalled { program: program.to_owned() })
    }

    /// Runs a job to its end; `on_output` sees every piece of standard output. Has to run within a Tokio runtime.
    pub async fn run(&self, job: &Job<'_>, mut on_output: impl FnMut(&[u8]) + Send) -> Result<(), SandboxError> {
        let program = || self.program.clone();
        let prepare = |source| SandboxError::Prepare { program: program(), source };
        let user = User::take();
        for (_, path) in job.reads.iter().chain(job.writes) {
            lchown(path, Some(user.id()), Some(user.id())).map_err(prepare)?;
        }
        let (mut failed, tell_failed) = io::pipe().map_err(prepare)?;
        let cell = Cell::new(job, user.id(), tell_failed.into()).map_err(prepare)?;
        let mut command = Command::new(&self.program);
        command.args(&job.args).env_clear().env("LC_ALL", "C").current_dir("/");
        // Else each of its threads reserves 64 MiB of addresses or more, and a busy qemu-img meets its limit.
        command.env("MALLOC_ARENA_MAX", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: between fork and exec `enter` makes system calls on values prepared before; it neither allocates nor locks.
        unsafe { command.pre_exec(move || cell.enter()) };
        let spawned = command.spawn();
        drop(command); // and with it this process' end of the pipe
        let mut child = spawned.map_err(|source| {
            let mut byte = [0];
            let step = Step::told(failed.read_exact(&mut byte).is_ok().then_some(byte[0]));
            SandboxError::Start { program: program(), step, source }
        })?;
        // While it is held, the supervisor lets the program run.
        let leash = child.stdin.take();
        let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let mut message = Vec::new();
        let ending = async {
            let out = drain(stdout, &mut on_output);
            let err =
                drain(stderr, |piece| message.extend(piece.iter().take(SHOWN_OF_STDERR.saturating_sub(message.len()))));
            let (out, err) = tokio::join!(out, err);
            out.and(err)?;
            child.wait().await
        };
        let status = match tokio::time::timeout(job.limits.deadline, ending).await {
            Ok(ended) => ended.map_err(|source| SandboxError::Wait { program: program(), source })?,
            Err(_) => {
                drop(leash);
                let _ = child.wait().await; // its end is all that is wanted
                return Err(SandboxError::Deadline { program: program(), limit: job.limits.deadline });
            }
        };
        match status.signal() {
            _ if status.success() => Ok(()),
            Some(libc::SIGXFSZ) => Err(SandboxError::FileSize { program: program(), limit: job.limits.file_size }),
            Some(libc::SIGXCPU) => Err(SandboxError::Cpu { program: program(), limit: job.limits.cpu }),
            _ => {
                let message = String::from_utf8_lossy(&message).trim().to_owned();
                // Process 1 of a namespace is not hurt by SIGXFSZ, and its write fails.
                if message.contains("File too large") {
                    return Err(SandboxError::FileSize { program: program(), limit: job.limits.file_size });
                }
                Err(SandboxError::Failed { program: program(), status, message })
            }
        }
    }
}

async fn drain(mut from: impl AsyncRead + Unpin, mut on_piece: impl FnMut(&[u8])) -> io::Result<()> {
    let mut piece = [0; 512];
    loop {
        match from.read(&mut piece).await? {
            0 => return Ok(()),
            length => on_piece(&piece[..length]),
        }
    }
}
