//! What a libvirt writes beside its answers: the pids of its processes and QEMU's logs.

use std::fs;
use std::path::{Path, PathBuf};

use super::private::Layout;

/// Where a libvirt keeps such files, as seen from this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files {
    /// `<domain>.pid` of each running QEMU.
    pub pids: PathBuf,
    /// `<domain>.log`, what QEMU said at its starts.
    pub logs: PathBuf,
    pub virtlogd_pid: PathBuf,
}

impl Files {
    pub fn of_system() -> Self {
        Self {
            pids: "/run/libvirt/qemu".into(),
            logs: "/var/log/libvirt/qemu".into(),
            virtlogd_pid: "/run/virtlogd.pid".into(),
        }
    }

    pub fn of_private(layout: &Layout) -> Self {
        Self {
            pids: layout.run().join("qemu"),
            logs: layout.log().join("qemu"),
            virtlogd_pid: layout.run().join("virtlogd.pid"),
        }
    }

    /// Whether a running guest's console no longer reaches its log: QEMU writes into a pipe to virtlogd, and the virtlogd
    /// that read it has ended. What cannot be read here is not taken for lost.
    pub fn console_is_lost(&self, domain: &str) -> bool {
        let pid = |path: &Path| -> Option<u32> { fs::read_to_string(path).ok()?.trim().parse().ok() };
        let Some(qemu) = pid(&self.pids.join(format!("{domain}.pid"))) else { return false };
        // Its standard output and its console's log are given to the same virtlogd. A libvirt that uses none gives a file.
        let Ok(pipe) = fs::read_link(format!("/proc/{qemu}/fd/1")) else { return false };
        if !pipe.to_string_lossy().starts_with("pipe:") {
            return false;
        }
        let Some(virtlogd) = pid(&self.virtlogd_pid) else { return false };
        match (start_time(qemu), start_time(virtlogd)) {
            (Some(qemu), Some(virtlogd)) if virtlogd <= qemu => false,
            (Some(_), Some(_)) => !has_open(virtlogd, &pipe),
            _ => false,
        }
    }
}

fn has_open(pid: u32, file: &Path) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.into_iter().any(|entry| fs::read_link(entry.path()).is_ok_and(|link| link == file))
}

/// In clock ticks since the machine was booted: the 20th field behind the name.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_started_after_the_first_one() {
        let (first, own) = (start_time(1).unwrap(), start_time(std::process::id()).unwrap());
        assert!(first <= own);
    }

    #[test]
    fn what_is_not_known_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::of_private(&Layout::new(folder.path()));
        assert!(!files.console_is_lost("nubium.shop.web-1"));
    }
}
