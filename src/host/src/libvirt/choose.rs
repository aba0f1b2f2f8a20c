//! Which libvirt holds this host's guests: the host's own (`qemu:///system`), or a private one.
//!
//! The choice is written to a file before the first guest is defined, and it is final while the chosen one may hold a
//! guest of ours. A chosen libvirt that does not answer is an error, never a reason to use the other one: two libvirts
//! would start two QEMUs on one disk.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::METADATA_URI;
use super::files::Files;
use super::private::{PrivateError, PrivateLibvirt};

/// Where the host's own libvirt listens: one daemon for all drivers, or one for QEMU.
const SOCKETS: [&str; 2] = ["run/libvirt/libvirt-sock", "run/libvirt/virtqemud-sock"];
/// Where the host's own libvirt keeps the definitions of persistent domains, and the state of running ones.
const DEFINITIONS: [&str; 2] = ["etc/libvirt/qemu", "run/libvirt/qemu"];
/// Where systemd lists what it starts at boot.
const ENABLED: [&str; 2] = ["etc/systemd/system/sockets.target.wants", "etc/systemd/system/multi-user.target.wants"];
const UNITS: [&str; 4] = ["libvirtd.socket", "libvirtd.service", "virtqemud.socket", "virtqemud.service"];

/// Why it is not known which libvirt holds this host's guests.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} holds neither \"system\" nor \"private\"; write there which libvirt has the guests of this host", path.display())]
    Unknown { path: PathBuf },
}

/// The libvirt that this host's guests are in.
#[derive(Debug, Clone)]
pub enum Libvirt {
    /// `qemu:///system`: the administrator keeps it running.
    System,
    /// Nubium keeps it running.
    Private(PrivateLibvirt),
}

impl Libvirt {
    /// The libvirt on record in the file `record`; where there is no record, chooses and records it. Starts nothing;
    /// blocks for a moment.
    ///
    /// # Errors
    /// When the record cannot be read or written.
    pub fn choose(private: PrivateLibvirt, record: &Path) -> Result<Self, ChoiceError> {
        choose(&Machine { root: "/".into() }, private, record)
    }

    /// Every libvirt of this host that may hold a guest of ours, whichever was chosen. Starts nothing.
    ///
    /// # Errors
    /// When it could not be found out.
    pub fn with_guests(private: PrivateLibvirt) -> Result<Vec<Self>, ChoiceError> {
        with_guests(&Machine { root: "/".into() }, private)
    }

    #[must_use]
    pub fn uri(&self) -> String {
        match self {
            Self::System => "qemu:///system".to_owned(),
            Self::Private(private) => private.layout().uri(),
        }
    }

    pub(super) fn files(&self) -> Files {
        match self {
            Self::System => Files::of_system(),
            Self::Private(private) => Files::of_private(private.layout()),
        }
    }

    /// Makes sure that it answers, where that is for us to do. Call it before connecting, and again now and then. Blocks.
    ///
    /// # Errors
    /// When the private one cannot be started.
    pub fn ensure(&self) -> Result<(), PrivateError> {
        match self {
            Self::System => Ok(()),
            Self::Private(private) => private.ensure(),
        }
    }

    /// Stops the private one; the administrator's is left alone. Guests go on. Blocks.
    ///
    /// # Errors
    /// When its processes may not be signalled.
    pub fn stop(&self) -> Result<(), PrivateError> {
        match self {
            Self::System => Ok(()),
            Self::Private(private) => private.stop(),
        }
    }
}

/// The host's file system, below a folder of its own in tests.
struct Machine {
    root: PathBuf,
}

impl Machine {
    fn system_answers(&self) -> bool {
        SOCKETS.iter().any(|socket| UnixStream::connect(self.root.join(socket)).is_ok())
    }

    /// Whether the machine starts a libvirt at boot: it may only not have come up yet.
    fn system_is_enabled(&self) -> bool {
        self.root.join("run/systemd/system").is_dir()
            && ENABLED.iter().any(|folder| UNITS.iter().any(|unit| self.root.join(folder).join(unit).is_symlink()))
    }

    fn system_has_guests(&self) -> Result<bool, ChoiceError> {
        any(DEFINITIONS.iter().map(|folder| has_guests(&self.root.join(folder))))
    }
}

fn choose(machine: &Machine, private: PrivateLibvirt, record: &Path) -> Result<Libvirt, ChoiceError> {
    let recorded = read(record)?;
    let system = match recorded {
        Some(Recorded::System) => true,
        // Without a guest in it, a private one gives way to a libvirt that the administrator has installed since.
        Some(Recorded::Private) => !private_has_guests(&private)? && machine.system_answers(),
        None if private_has_guests(&private)? => false,
        None => machine.system_has_guests()? || machine.system_answers() || machine.system_is_enabled(),
    };
    let now = if system { Recorded::System } else { Recorded::Private };
    if recorded != Some(now) {
        write(record, now)?;
    }
    Ok(if system { Libvirt::System } else { Libvirt::Private(private) })
}

fn with_guests(machine: &Machine, private: PrivateLibvirt) -> Result<Vec<Libvirt>, ChoiceError> {
    let mut found = Vec::new();
    if private.layout().root().exists() {
        found.push(Libvirt::Private(private));
    }
    if machine.system_answers() || machine.system_has_guests()? {
        found.push(Libvirt::System);
    }
    Ok(found)
}

fn private_has_guests(private: &PrivateLibvirt) -> Result<bool, ChoiceError> {
    let layout = private.layout();
    any([layout.etc(), layout.run()].iter().map(|folder| has_guests(&folder.join("qemu"))))
}

fn any(mut answers: impl Iterator<Item = Result<bool, ChoiceError>>) -> Result<bool, ChoiceError> {
    answers.try_fold(false, |found, answer| Ok(found || answer?))
}

/// libvirt keeps each domain as `<name>.xml`; ours carry our record.
fn has_guests(folder: &Path) -> Result<bool, ChoiceError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ChoiceError::Read { path, source }
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(failed(folder)(source)),
    };
    for entry in entries {
        let path = entry.map_err(failed(folder))?.path();
        if path.extension().is_none_or(|end| end != "xml") {
            continue;
        }
        match fs::read(&path) {
            Ok(bytes) if contains(&bytes, METADATA_URI.as_bytes()) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed(&path)(source)),
        }
    }
    Ok(false)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recorded {
    System,
    Private,
}

fn read(record: &Path) -> Result<Option<Recorded>, ChoiceError> {
    match fs::read_to_string(record) {
        Ok(text) if text.trim() == "system" => Ok(Some(Recorded::System)),
        Ok(text) if text.trim() == "private" => Ok(Some(Recorded::Private)),
        Ok(_) => Err(ChoiceError::Unknown { path: record.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ChoiceError::Read { path: record.to_owned(), source }),
    }
}

/// Whole or not at all, also over a loss of power.
fn write(record: &Path, choice: Recorded) -> Result<(), ChoiceError> {
    let new = record.with_extension("new");
    let put = || {
        let mut file = File::create(&new)?;
        file.write_all(match choice {
            Recorded::System => b"system\n",
            Recorded::Private => b"private\n",
        })?;
        file.sync_all()?;
        fs::rename(&new, record)?;
        File::open(record.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    put().map_err(|source| ChoiceError::Write { path: record.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::super::private::Layout;
    use super::*;

    /// A machine with whatever is said to be on it.
    struct World {
        folder: tempfile::TempDir,
        system: Option<UnixListener>,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            for path in ["run/libvirt/qemu", "etc/libvirt/qemu", "state"] {
                fs::create_dir_all(folder.path().join(path)).unwrap();
            }
            Self { folder, system: None }
        }

        fn machine(&self) -> Machine {
            Machine { root: self.folder.path().to_owned() }
        }

        fn private(&self) -> PrivateLibvirt {
            PrivateLibvirt::new(Layout::new(self.folder.path().join("state/libvirt")), "nubium")
        }

        fn system_up(&mut self, socket: &str) {
            let path = self.folder.path().join(socket);
            fs::remove_file(&path).ok();
            self.system = Some(UnixListener::bind(path).unwrap());
        }

        fn define(&self, folder: &str, xml: &str) {
            let folder = self.folder.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("nubium.shop.web-1.xml"), xml).unwrap();
        }

        fn choose(&self) -> &'static str {
            name(&choose(&self.machine(), self.private(), &self.folder.path().join("state/chosen")).unwrap())
        }

        fn with_guests(&self) -> Vec<&'static str> {
            with_guests(&self.machine(), self.private()).unwrap().iter().map(name).collect()
        }
    }

    fn name(libvirt: &Libvirt) -> &'static str {
        match libvirt {
            Libvirt::System => "system",
            Libvirt::Private(_) => "private",
        }
    }

    fn ours() -> String {
        format!("<domain><metadata><nubium:server xmlns:nubium='{METADATA_URI}'/></metadata></domain>")
    }

    #[test]
    fn a_chosen_libvirt_that_is_away_is_never_replaced() {
        for socket in SOCKETS {
            let mut world = World::new();
            world.system_up(socket);
            assert_eq!(world.choose(), "system", "{socket}");
            world.system = None;
            assert_eq!(world.choose(), "system", "{socket}: it is only away");
            world.define("etc/libvirt/qemu", &ours());
            fs::remove_file(world.folder.path().join("state/chosen")).unwrap();
            assert_eq!(world.choose(), "system", "{socket}: its guests are a record too");
        }
    }

    #[test]
    fn a_libvirt_that_the_machine_starts_at_boot_is_waited_for() {
        let world = World::new();
        let wants = world.folder.path().join(ENABLED[0]);
        fs::create_dir_all(&wants).unwrap();
        std::os::unix::fs::symlink("/lib/systemd/system/virtqemud.socket", wants.join("virtqemud.socket")).unwrap();
        fs::create_dir_all(world.folder.path().join("run/systemd/system")).unwrap();
        assert_eq!(world.choose(), "system");
    }

    #[test]
    fn a_private_libvirt_is_kept_with_guests_and_gives_way_without() {
        for folder in ["state/libvirt/etc/qemu", "state/libvirt/run/qemu"] {
            let mut world = World::new();
            assert_eq!(world.choose(), "private");
            world.system_up(SOCKETS[0]);
            world.define(folder, &ours());
            assert_eq!(world.choose(), "private", "{folder}");
            fs::remove_file(world.folder.path().join("state/chosen")).unwrap();
            assert_eq!(world.choose(), "private", "{folder}, also without a record");
            world.define(folder, "<domain/>");
            assert_eq!(world.choose(), "system", "{folder}");
        }
    }

    #[test]
    fn a_record_that_cannot_be_understood_is_no_choice() {
        let world = World::new();
        let record = world.folder.path().join("state/chosen");
        fs::write(&record, "sys").unwrap();
        let chosen = choose(&world.machine(), world.private(), &record);
        assert!(matches!(chosen, Err(ChoiceError::Unknown { .. })), "{chosen:?}");
    }

    #[test]
    fn guests_are_looked_for_in_every_libvirt_that_may_have_some() {
        let mut world = World::new();
        assert_eq!(world.with_guests(), [""; 0]);
        world.define("run/libvirt/qemu", "<domstatus/>");
        assert_eq!(world.with_guests(), [""; 0], "another's guest");
        world.define("run/libvirt/qemu", &ours());
        assert_eq!(world.with_guests(), ["system"], "away, and not forgotten");
        world.define("state/libvirt/etc/qemu", "<domain/>");
        assert_eq!(world.with_guests(), ["private", "system"]);
        fs::remove_file(world.folder.path().join("run/libvirt/qemu/nubium.shop.web-1.xml")).unwrap();
        world.system_up(SOCKETS[1]);
        assert_eq!(world.with_guests(), ["private", "system"]);
    }
}
