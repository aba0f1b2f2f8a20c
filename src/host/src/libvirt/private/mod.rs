//! A libvirt of our own, for machines that run none: libvirtd and virtlogd in a mount namespace of their own, kept by a
//! small process (the *reaper*) that outlives the agent.
//!
//! ```text
//!  agent ──starts, detached──▶ reaper ──keeps──▶ virtlogd   (console logs, bounded)
//!    │                           ▲      └keeps──▶ libvirtd
//!    │                           │ adopts            │ starts
//!    └──── libvirt-sock ─────────┼───────────────────┘
//!                                └── QEMU, QEMU, …      (none of them dies with any of the others)
//! ```
//!
//! Why a reaper: libvirt starts QEMU as an orphan and asks for its pid's disappearance when it stops one; under a PID 1
//! that reaps late, every probe and every stop takes seconds more. The reaper is the orphans' nearest parent, so it waits
//! for them at once. It also starts libvirtd again when that dies.
//!
//! Why a mount namespace: libvirt's paths are compiled in, and a second libvirtd that only listens elsewhere fails on the
//! first one's pid files.

mod config;
mod error;
mod layout;
mod mounts;
mod reaper;
mod service;

use std::ffi::OsString;
use std::fs;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub use config::{CONSOLE_LOG_BYTES, QemuUser};
pub use error::PrivateError;
pub use layout::Layout;
pub use reaper::reaper_main;
use service::is_running;

/// The hidden subcommand by which the `nubium` binary becomes the reaper: `nubium libvirt-reaper FOLDER`.
pub const REAPER_COMMAND: &str = "libvirt-reaper";

/// How long libvirtd may take until its socket answers.
const START_DEADLINE: Duration = Duration::from_secs(20);
const STOP_DEADLINE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(20);

/// The private libvirt of this host. All methods block.
#[derive(Debug, Clone)]
pub struct PrivateLibvirt {
    layout: Layout,
    /// The program that becomes the reaper when called with [`REAPER_COMMAND`] and the folder.
    program: PathBuf,
}

impl PrivateLibvirt {
    #[must_use]
    pub fn new(layout: Layout, program: impl Into<PathBuf>) -> Self {
        Self { layout, program: program.into() }
    }

    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Makes sure that it runs and answers; does nothing where it does.
    ///
    /// # Errors
    /// When it cannot be started, or does not answer in time (the error names the log to read).
    pub fn ensure(&self) -> Result<(), PrivateError> {
        let reaped = reaper::holder(&self.layout)?.is_some();
        if reaped && self.answers() {
            return Ok(());
        }
        config::write(&self.layout, &QemuUser::find()?)?;
        if !reaped {
            self.start_reaper()?;
        }
        let started = Instant::now();
        while started.elapsed() < START_DEADLINE {
            if self.answers() && reaper::holder(&self.layout)?.is_some() {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        let log = self.layout.log().join("libvirtd.log");
        Err(PrivateError::Silent { socket: self.layout.socket(), log, waited: START_DEADLINE })
    }

    /// Whether something accepts connections on the socket.
    #[must_use]
    pub fn answers(&self) -> bool {
        UnixStream::connect(self.layout.socket()).is_ok()
    }

    /// Stops libvirtd, virtlogd and the reaper. Guests that still run go on; stop them first. Idempotent.
    ///
    /// # Errors
    /// When the reaper may not be signalled.
    pub fn stop(&self) -> Result<(), PrivateError> {
        if let Some(pid) = reaper::holder(&self.layout)? {
            end(pid, STOP_DEADLINE)?;
        }
        // A reaper that was killed hard leaves its children behind.
        for service in service::all(&self.layout) {
            if let Some(pid) = service.running() {
                end(pid, STOP_DEADLINE)?;
            }
        }
        mounts::remove_made_targets(&self.layout);
        Ok(())
    }

    /// Ends a libvirtd that no longer answers, stopped or stuck; the reaper starts the next one. Guests, and virtlogd with
    /// their consoles, go on.
    ///
    /// # Errors
    /// When it may not be signalled.
    pub fn replace_silent(&self) -> Result<(), PrivateError> {
        let services = service::all(&self.layout);
        let Some(pid) = services.iter().find(|service| service.name == "libvirtd").and_then(service::Service::running)
        else {
            return Ok(());
        };
        match kill(Pid::from_raw(pid), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(source) => Err(PrivateError::Stop { pid, source }),
        }
    }

    fn start_reaper(&self) -> Result<(), PrivateError> {
        let args = [OsString::from(REAPER_COMMAND), self.layout.root().into()];
        let mut command = if Path::new("/run/systemd/system").is_dir() {
            // Out of our own unit's control group, so that stopping or restarting the unit never reaches a guest.
            let mut command = Command::new("systemd-run");
            command.args(["--quiet", "--collect", "--unit=nubium-libvirt", "--service-type=forking"]);
            command.args(["--property=KillMode=process", "--property=LimitNOFILE=1048576", "--property=Delegate=yes"]);
            command.arg("--").arg(&self.program).args(args);
            command
        } else {
            let mut command = Command::new(&self.program);
            command.args(args);
            command
        };
        let log_path = self.layout.root().join("reaper.log");
        let log = fs::File::create(&log_path).map_err(|source| PrivateError::Write { path: log_path, source })?;
        let program = self.program.display().to_string();
        let status = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .status()
            .map_err(|source| PrivateError::Start { program: program.clone(), source })?;
        if status.success() {
            return Ok(());
        }
        let why = fs::read_to_string(self.layout.root().join("reaper.log")).unwrap_or_default();
        Err(PrivateError::Start { program, source: std::io::Error::other(format!("{status}: {}", why.trim())) })
    }
}

/// Ends a process: gently, after the deadline hard. Returns when it is gone.
fn end(pid: i32, deadline: Duration) -> Result<(), PrivateError> {
    let begun = Instant::now();
    let mut signal = Signal::SIGTERM;
    loop {
        match kill(Pid::from_raw(pid), signal) {
            Ok(()) => {}
            Err(Errno::ESRCH) => return Ok(()),
            Err(source) => return Err(PrivateError::Stop { pid, source }),
        }
        while begun.elapsed() < deadline {
            if !is_running(pid) {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        if signal == Signal::SIGKILL {
            return Err(PrivateError::Stop { pid, source: Errno::ETIMEDOUT });
        }
        signal = Signal::SIGKILL;
        let killed = Instant::now();
        kill(Pid::from_raw(pid), signal).ok();
        while killed.elapsed() < Duration::from_secs(2) {
            if !is_running(pid) {
                return Ok(());
            }
            thread::sleep(POLL);
        }
    }
}
