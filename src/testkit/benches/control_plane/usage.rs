//! What processes use.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};

/// This process's resident memory, in MiB.
pub fn resident() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status").context("read this process's memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse().context("read VmRSS")?;
    Ok(kib / 1024.0)
}

/// The processor time that this process has used.
pub fn processor_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let times = [usage.user_time(), usage.system_time()];
    Ok(times.iter().map(|time| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000)).sum())
}

/// The processor time that all processes of this process namespace have used, those that have ended included.
pub fn processor_time_of_all() -> Result<Duration> {
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("the kernel's clock tick")?;
    let mut ticks = 0;
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let is_process = path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
        // One that ended while we looked is counted by its parent.
        let Some(stat) = is_process.then(|| fs::read_to_string(path.join("stat")).ok()).flatten() else { continue };
        let fields = stat.rsplit_once(')').context("a process has a name")?.1.split_whitespace();
        // Of itself, and of its children that were waited for: utime, stime, cutime, cstime.
        ticks += fields.skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}
