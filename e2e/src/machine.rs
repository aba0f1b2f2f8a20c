//! A machine to break: this one, seen from inside network, mount and process namespaces that end with the run.
//!
//! ```text
//!  cargo test ── unshare ──▶ init (reaps) ──▶ stories: own lo, own /run, own processes
//! ```
//! When the stories end, so does their init, and with it every process and mount they made.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::Pid;

const STAGE: &str = "NUBIUM_E2E_STAGE";
const STATE: &str = "NUBIUM_E2E_STATE";

/// Runs `stories` inside; this process only waits for it.
pub fn inside(stories: impl FnOnce() -> ExitCode) -> Result<ExitCode> {
    match std::env::var(STAGE).as_deref() {
        Err(_) => {
            // On the disk, not in memory: pools live here. It goes with this process, however the stories end.
            let state = tempfile::Builder::new().prefix("nubium-e2e-").tempdir().context("cannot make a folder")?;
            let status = Command::new("unshare")
                .args([
                    "--net",
                    "--mount",
                    "--pid",
                    "--fork",
                    "--kill-child",
                    "--mount-proc",
                    "--propagation",
                    "private",
                ])
                .arg(std::env::current_exe()?)
                .args(std::env::args_os().skip(1))
                .env(STAGE, "init")
                .env(STATE, state.path())
                .status()
                .context("cannot run unshare: install the package util-linux")?;
            Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Ok("init") => init(),
        Ok(_) => {
            prepare()?;
            Ok(stories())
        }
    }
}

/// Process 1 of the namespace: starts the stories, and reaps whatever loses its parent.
fn init() -> Result<ExitCode> {
    let child = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(STAGE, "stories")
        .spawn()
        .context("cannot start the stories")?;
    let child = Pid::from_raw(i32::try_from(child.id())?);
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => {
                return Ok(if code == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => bail!("the stories were ended by {signal}"),
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => bail!("cannot wait: {error}"),
        }
    }
}

fn prepare() -> Result<()> {
    run("ip", &["link", "set", "lo", "up"])?;
    run("mount", &["-t", "tmpfs", "tmpfs", "/run"])?;
    // As systemd has it: what is mounted later is seen in the namespaces made before, such as libvirtd's.
    run("mount", &["--make-rshared", "/"])?;
    Ok(())
}

/// The run's own folder.
pub fn state() -> PathBuf {
    std::env::var_os(STATE).map(PathBuf::from).expect("the first stage names it")
}

/// Runs a program that must succeed; gives what it printed.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let out = Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    if !out.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
