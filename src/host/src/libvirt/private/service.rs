//! The two programs that the reaper keeps alive, and how a recorded process is distinguished from another one that got its number.

use std::fs;
use std::path::{Path, PathBuf};

use nubium_process::Process;

use super::Layout;

/// One program kept alive.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub name: &'static str,
    pub args: Vec<String>,
    /// Where the program writes its pid, as seen from outside the namespace.
    pub pid_file: PathBuf,
    /// What it listens on once it is ready.
    pub socket: PathBuf,
}

/// In the order they are started: libvirtd needs virtlogd for a guest's console.
pub(super) fn all(layout: &Layout) -> [Service; 2] {
    let service = |name: &'static str, socket: &str| Service {
        name,
        args: vec![
            "--pid-file".into(),
            format!("/run/libvirt/{name}.pid"),
            "--config".into(),
            format!("/etc/libvirt/{name}.conf"),
        ],
        pid_file: layout.run().join(format!("{name}.pid")),
        socket: layout.run().join(socket),
    };
    [service("virtlogd", "virtlogd-sock"), service("libvirtd", "libvirt-sock")]
}

impl Service {
    /// The pid of the running program, if the process on record still is that program.
    pub fn running(&self) -> Option<Process> {
        let pid = fs::read_to_string(&self.pid_file).ok()?.trim().parse().ok()?;
        let process = Process::open(pid).ok()??;
        let ours = |proc: &Path| Ok(is_program(&command_line(&fs::read(proc.join("cmdline"))?), self.name, &self.args));
        process.is(ours).ok()?.then_some(process)
    }
}

/// The arguments of a process, its program first, from `/proc/PID/cmdline`.
fn command_line(bytes: &[u8]) -> Vec<String> {
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

fn is_program(line: &[String], name: &str, args: &[String]) -> bool {
    let Some((program, rest)) = line.split_first() else { return false };
    Path::new(program).file_name().is_some_and(|file| file == name) && rest == args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_program_with_our_pid_is_not_ours() {
        let line: Vec<String> = ["/usr/sbin/libvirtd", "--daemon"].map(String::from).to_vec();
        assert!(!is_program(&line, "libvirtd", &["--pid-file".to_owned()]));
        assert!(is_program(&line, "libvirtd", &["--daemon".to_owned()]));
        assert!(!is_program(&[], "libvirtd", &[]));
    }
}
