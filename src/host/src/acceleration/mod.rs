//! How guests can be run here: by the processor (KVM) or emulated (TCG). Found by trying.
//!
//! `/dev/kvm` can exist, open, and make virtual machines that never execute anything (nested virtualisation that is
//! announced and not there). Only a guest that got somewhere proves it, so a probe of a few bytes goes to long mode under
//! KVM and reports; one that does not in time means TCG, with the reason in words.

mod guest;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::libvirt::Accelerator;

/// What the administrator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// KVM where it works, else TCG.
    #[default]
    Auto,
    Kvm,
    Tcg,
}

/// The answer, for as long as this host is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceleration {
    pub accelerator: Accelerator,
    /// One word for programs: `ProbeSucceeded`, `ProbeFailed`, `NoDevice`, `AskedFor`.
    pub reason: &'static str,
    /// One sentence for people.
    pub message: String,
}

/// How the probe is run.
#[derive(Debug, Clone)]
pub struct Probe {
    pub qemu: PathBuf,
    pub device: PathBuf,
    /// A working KVM needs a tenth of a second.
    pub deadline: Duration,
}

impl Default for Probe {
    fn default() -> Self {
        Self { qemu: "qemu-system-x86_64".into(), device: "/dev/kvm".into(), deadline: Duration::from_secs(3) }
    }
}

impl Probe {
    /// Decides, booting the probe where `mode` is `Auto`. Blocks for at most the deadline and a little.
    #[must_use]
    pub fn find(&self, mode: Mode) -> Acceleration {
        let asked = |accelerator, name| Acceleration {
            accelerator,
            reason: "AskedFor",
            message: format!("guests run under {name}, as --acceleration says; nothing was tried"),
        };
        match mode {
            Mode::Kvm => asked(Accelerator::Kvm, "KVM"),
            Mode::Tcg => asked(Accelerator::Tcg, "TCG"),
            Mode::Auto if !self.device.exists() => Acceleration {
                accelerator: Accelerator::Tcg,
                reason: "NoDevice",
                message: format!(
                    "{} does not exist, so guests are emulated (TCG), which is slow; turn on virtualisation in the \
                     machine's firmware, or nested virtualisation where this is a virtual machine",
                    self.device.display()
                ),
            },
            Mode::Auto => match self.run(Accelerator::Kvm) {
                Ok(took) => Acceleration {
                    accelerator: Accelerator::Kvm,
                    reason: "ProbeSucceeded",
                    message: format!("guests run under KVM; a probe reached 64-bit mode in {} ms", took.as_millis()),
                },
                Err(why) => Acceleration {
                    accelerator: Accelerator::Tcg,
                    reason: "ProbeFailed",
                    message: format!(
                        "{} is there, but {why}; guests are emulated (TCG), which is slow",
                        self.device.display()
                    ),
                },
            },
        }
    }

    /// Boots the probe and waits for its report: how long that took, or in words what happened instead.
    ///
    /// # Errors
    /// When it did not report in time.
    pub fn run(&self, accelerator: Accelerator) -> Result<Duration, String> {
        let folder = Folder::make().map_err(|error| format!("a probe could not be written: {error}"))?;
        let disk = folder.0.join("probe.img");
        fs::write(&disk, guest::boot_disk()).map_err(|error| format!("a probe could not be written: {error}"))?;
        let (name, cpu) = match accelerator {
            Accelerator::Kvm => ("kvm", "host"),
            Accelerator::Tcg => ("tcg", "max"),
        };
        let begun = Instant::now();
        let mut qemu = Command::new(&self.qemu);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35", "-m", "16"]);
        qemu.args(["-accel", name, "-cpu", cpu, "-monitor", "none", "-sandbox", "on,spawn=deny"]);
        qemu.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]);
        qemu.arg("-drive").arg(drive(&disk));
        qemu.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = qemu.spawn().map_err(|error| format!("{} could not be started: {error}", self.qemu.display()))?;
        let mut child = Killed(child);
        loop {
            match child.0.try_wait() {
                Ok(Some(status)) if status.code() == Some(guest::EXIT_CODE) => return Ok(begun.elapsed()),
                Ok(Some(status)) => return Err(format!("QEMU ended with {status}{}", child.said())),
                Ok(None) => {}
                Err(error) => return Err(format!("QEMU could not be watched: {error}")),
            }
            if begun.elapsed() > self.deadline {
                return Err(format!("a guest executed nothing within {} s", self.deadline.as_secs_f32()));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn drive(disk: &Path) -> String {
    // QEMU reads a comma in a value as the start of the next option, unless doubled.
    format!("file={},format=raw,if=ide,readonly=off,snapshot=on", disk.display().to_string().replace(',', ",,"))
}

/// A folder of our own that goes with the probe.
struct Folder(PathBuf);

impl Folder {
    fn make() -> io::Result<Self> {
        let unique = Instant::now().elapsed().as_nanos();
        for attempt in 0..100 {
            let name = format!("nubium-probe-{}-{unique}-{attempt}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A process that never outlives its probe.
struct Killed(Child);

impl Killed {
    /// The last line of what it said, as a part of a sentence.
    fn said(&mut self) -> String {
        let mut text = String::new();
        if let Some(pipe) = self.0.stderr.as_mut() {
            pipe.take(4096).read_to_string(&mut text).ok();
        }
        text.lines().last().map(|line| format!(": {}", line.trim_end_matches('.'))).unwrap_or_default()
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_qemu() -> bool {
        let there = Command::new("qemu-system-x86_64").arg("--version").output().is_ok();
        if !there {
            println!("SKIPPED: the probe, because qemu-system-x86_64 is not installed");
        }
        there
    }

    #[test]
    fn the_probe_reaches_long_mode_where_the_processor_is_right() {
        if !has_qemu() {
            return;
        }
        // Emulated, so that the probe itself is tested on every machine.
        let probe = Probe { deadline: Duration::from_secs(60), ..Probe::default() };
        let took = probe.run(Accelerator::Tcg).unwrap();
        println!("under TCG in {took:?}");
    }

    #[test]
    fn auto_answers_in_time_and_says_why() {
        if !has_qemu() {
            return;
        }
        let begun = Instant::now();
        let found = Probe::default().find(Mode::Auto);
        println!("{found:?}");
        assert!(begun.elapsed() < Duration::from_secs(6));
        assert_eq!(found.accelerator == Accelerator::Kvm, found.reason == "ProbeSucceeded");
        if !Path::new("/dev/kvm").exists() {
            assert_eq!(found.reason, "NoDevice");
        }
    }

    #[test]
    fn a_guest_that_does_nothing_is_a_reason() {
        if !has_qemu() {
            return;
        }
        // Time enough to start QEMU, not to boot: what a /dev/kvm that executes nothing looks like.
        let probe = Probe { deadline: Duration::from_millis(1), ..Probe::default() };
        let why = probe.run(Accelerator::Tcg).unwrap_err();
        assert!(why.contains("executed nothing"), "{why}");
    }

    #[test]
    fn no_qemu_and_no_device_are_reasons() {
        let probe = Probe { qemu: "/nonexistent/qemu".into(), device: "/dev/null".into(), ..Probe::default() };
        let found = probe.find(Mode::Auto);
        assert_eq!((found.accelerator, found.reason), (Accelerator::Tcg, "ProbeFailed"));
        assert!(found.message.contains("could not be started"), "{}", found.message);
        let probe = Probe { device: "/nonexistent/kvm".into(), ..probe };
        assert_eq!(probe.find(Mode::Auto).reason, "NoDevice");
        assert_eq!(probe.find(Mode::Kvm).accelerator, Accelerator::Kvm);
        assert_eq!(probe.find(Mode::Tcg).accelerator, Accelerator::Tcg);
    }
}
