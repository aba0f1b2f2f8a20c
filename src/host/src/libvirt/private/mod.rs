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
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nubium_process::{PRIVATE_FILE, Process, Signal};

pub use config::{CONSOLE_LOG_BYTES, QemuUser};
pub use error::PrivateError;
pub use layout::Layout;
pub use reaper::reaper_main;

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
        let end = |process: Process| {
            process.end(STOP_DEADLINE).map_err(|source| PrivateError::Stop { pid: process.pid(), source })
        };
        if let Some(process) = reaper::holder(&self.layout)? {
            end(process)?;
        }
        // A reaper that was killed hard leaves its children behind.
        for service in service::all(&self.layout) {
            if let Some(process) = service.running() {
                end(process)?;
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
        let Some(process) =
            services.iter().find(|service| service.name == "libvirtd").and_then(service::Service::running)
        else {
            return Ok(());
        };
        let killed = process.signal(Signal::KILL);
        killed.map(drop).map_err(|source| PrivateError::Stop { pid: process.pid(), source })
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
        let mut options = fs::File::options();
        options.create(true).write(true).truncate(true).mode(PRIVATE_FILE);
        let log = options.open(&log_path).map_err(|source| PrivateError::Write { path: log_path, source })?;
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

/// Writes a file that only root reads, whatever the umask and the mode of one that is there.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::File::options().create(true).write(true).truncate(true).mode(PRIVATE_FILE).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(PRIVATE_FILE))?;
    file.write_all(text.as_bytes())
}
