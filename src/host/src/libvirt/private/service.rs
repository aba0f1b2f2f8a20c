//! The two programs that the reaper keeps alive, and how a process on record is told from another that got its number.

use std::fs;
use std::path::{Path, PathBuf};

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
    pub fn running(&self) -> Option<i32> {
        let pid: i32 = fs::read_to_string(&self.pid_file).ok()?.trim().parse().ok()?;
        (is_running(pid) && command_line(pid).is_some_and(|line| is_program(&line, self.name, &self.args)))
            .then_some(pid)
    }
}

/// Whether a process exists and has not ended. A zombie has, but for one of which other threads still end: it holds what
/// was open until the last one is gone.
pub(super) fn is_running(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| has_threads(&stat))
}

/// Whether any thread of a process lives, by its line in `/proc/PID/stat`: state is the first field behind the name, the
/// number of threads the eighteenth.
fn has_threads(stat: &str) -> bool {
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let threads = fields.get(17).and_then(|count| count.parse().ok()).unwrap_or(0_u32);
    match fields.first() {
        None | Some(&"X") => false,
        Some(&"Z") => threads > 1,
        Some(_) => true,
    }
}

/// The arguments of a process, its program first.
fn command_line(pid: i32) -> Option<Vec<String>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    Some(words.map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

fn is_program(line: &[String], name: &str, args: &[String]) -> bool {
    let Some((program, rest)) = line.split_first() else { return false };
    Path::new(program).file_name().is_some_and(|file| file == name) && rest == args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_the_next_to_last_pid_does_not() {
        assert!(is_running(i32::try_from(std::process::id()).unwrap()));
        assert!(!is_running(i32::MAX - 1));
    }

    #[test]
    fn a_zombie_whose_threads_still_end_has_not_ended() {
        let stat = |state: &str, threads: u32| {
            format!("7 (a (b) c) {state} 1 7 7 0 -1 4227084 0 0 0 0 0 0 0 0 20 0 {threads} 0 900 0 0")
        };
        assert!(has_threads(&stat("S", 1)));
        assert!(has_threads(&stat("Z", 2)));
        assert!(!has_threads(&stat("Z", 1)));
        assert!(!has_threads(&stat("X", 0)));
        assert!(!has_threads(""));
    }

    #[test]
    fn another_program_with_our_pid_is_not_ours() {
        let line: Vec<String> = ["/usr/sbin/libvirtd", "--daemon"].map(String::from).to_vec();
        assert!(!is_program(&line, "libvirtd", &["--pid-file".to_owned()]));
        assert!(is_program(&line, "libvirtd", &["--daemon".to_owned()]));
        assert!(!is_program(&[], "libvirtd", &[]));
    }
}
