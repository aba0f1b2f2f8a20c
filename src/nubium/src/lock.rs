//! One `nubium up` at a time on one state folder, and a way for `nubium down` to find it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const FILE: &str = "up.lock";

/// Held for as long as the process lives.
pub struct Held(#[allow(dead_code, reason = "it is held, not read")] Flock<File>);

/// Takes the lock; the error says who has it.
pub fn take(state: &Path) -> Result<Held> {
    let path = state.join(FILE);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut held) => {
            held.set_len(0).and_then(|()| held.rewind()).and_then(|()| write!(held, "{}", std::process::id()))?;
            Ok(Held(held))
        }
        Err((mut file, Errno::EWOULDBLOCK)) => {
            bail!("a cloud with this state folder runs already, as process {}", read(&mut file)?)
        }
        Err((_, error)) => bail!("cannot lock {}: {error}", path.display()),
    }
}

/// Ends the process that holds the lock, if one does. True when there was one.
pub fn end_holder(state: &Path, patience: Duration) -> Result<bool> {
    let path = state.join(FILE);
    let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else { return Ok(false) };
    let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(_) => return Ok(false),
        Err((file, Errno::EWOULDBLOCK)) => file,
        Err((_, error)) => bail!("cannot lock {}: {error}", path.display()),
    };
    let pid: i32 = read(&mut file)?.trim().parse().context("the lock file names no process")?;
    let begun = Instant::now();
    let mut signal = Signal::SIGTERM;
    loop {
        match kill(Pid::from_raw(pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => bail!("cannot end process {pid}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(_) => return Ok(true),
            Err((file, _)) => file,
        };
        if begun.elapsed() > patience {
            signal = Signal::SIGKILL;
        }
    }
}

fn read(file: &mut File) -> Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}
