//! A private libvirtd with real QEMU guests: boot sectors of a few bytes, under TCG.
//!
//! Has its own `main`: the program must be able to become the reaper. It works in a network namespace of its own, so that
//! neither libvirtd nor a guest can reach the machine's network.

// A test to people; to clippy, for want of the harness, a program.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, chown};
use nubium_host::libvirt::private::{CONSOLE_LOG_BYTES, Layout, PrivateLibvirt, REAPER_COMMAND, reaper_main};
use nubium_host::libvirt::{
    Accelerator, Connection, DiskFile, DiskFormat, DiskSpec, DomainRecord, DomainSpec, DomainState, Domains, Element,
    Libvirt, NicSpec, Off, Pause, QemuIds, Slot, Stop, alias, merge,
};
use uuid::Uuid;

fn main() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == REAPER_COMMAND) {
        exit(reaper_main(args));
    }
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    for program in ["libvirtd", "virtlogd", "qemu-system-x86_64", "qemu-img"] {
        let found = ["/usr/sbin", "/usr/bin"].iter().any(|folder| Path::new(folder).join(program).exists());
        if !found {
            return println!("SKIPPED: real guests under a private libvirtd, because {program} is not installed");
        }
    }
    if !nix::unistd::geteuid().is_root() {
        return println!("SKIPPED: real guests under a private libvirtd, because only root can make mount namespaces");
    }
    unshare(CloneFlags::CLONE_NEWNET).expect("root can make a network namespace");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let host = Host::start();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(stories(&host))));
    host.end();
    if result.is_err() {
        exit(1);
    }
}

async fn stories(host: &Host) {
    let (connection, mut woken) = Connection::new(&Libvirt::Private(host.libvirt.clone()));
    let begun = Instant::now();
    let ids = connection.qemu_ids().await.unwrap();
    println!("first answer of libvirt: {:?}; QEMU runs as {ids:?}", begun.elapsed());

    println!("a guest boots, unprivileged, and its base stays root's");
    let mut hello = host.guest("hello", 1, &[&say("nubium")[..], &HALT].concat(), ids);
    host.tap(&hello);
    connection.define(merge(&hello, None).to_xml()).await.unwrap();
    let seen = connection.look(hello.owner.uid).await.unwrap().unwrap();
    assert_eq!(seen.state, DomainState::Off(Off::Unknown));
    assert_eq!(seen.owner.as_ref(), Some(&hello.owner));
    assert_eq!(seen.next.differences(&hello), Vec::<String>::new());
    assert!(seen.next.machine.starts_with("pc-q35-"), "libvirt wrote down a version: {}", seen.next.machine);
    let kept = Element::parse(&seen.definition).unwrap();
    assert_same(&merge(&hello, Some(&kept)), &kept);
    let begun = Instant::now();
    connection.start_paused(hello.owner.uid).await.unwrap();
    println!("  first start {:?}", begun.elapsed());
    let seen = connection.look(hello.owner.uid).await.unwrap().unwrap();
    assert_eq!(seen.state, DomainState::Paused(Pause::Asked));
    connection.resume(hello.owner.uid).await.unwrap();
    wait_for("the guest's first words", || host.console("hello").contains("nubium"));
    let pid = host.qemu_pid("hello");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("Uid:").split_whitespace().next().unwrap(), ids.uid.to_string());
    assert_ne!(ids.uid, 0);
    assert_eq!(field("Seccomp:"), "2");
    assert_eq!(fs::metadata(host.base()).unwrap().uid(), 0);
    let seen = connection.look(hello.owner.uid).await.unwrap().unwrap();
    assert_eq!(seen.live.unwrap().differences(&hello), Vec::<String>::new());
    assert!(woken.try_recv().is_ok(), "events wake the agent");

    println!("the record is kept");
    hello.owner.stop = Some(Stop::Asked { at: 5, pressed: 6 });
    connection.set_owner(hello.owner.clone()).await.unwrap();
    let seen = connection.look(hello.owner.uid).await.unwrap().unwrap();
    assert_eq!((seen.owner.as_ref(), seen.uuid), (Some(&hello.owner), hello.owner.uid));
    let kept = Element::parse(&seen.definition).unwrap();
    assert_same(&merge(&hello, Some(&kept)), &kept);

    println!("libvirtd is killed: the guest goes on, and is seen again");
    let libvirtd = host.pid("libvirtd");
    kill(Pid::from_raw(libvirtd), Signal::SIGKILL).unwrap();
    let begun = Instant::now();
    let seen = loop {
        match connection.look(hello.owner.uid).await {
            Ok(seen) if host.pid("libvirtd") != libvirtd => break seen.unwrap(),
            _ => assert!(begun.elapsed() < Duration::from_secs(20), "libvirtd did not come back"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    println!("  seen again after {:?}", begun.elapsed());
    assert_eq!((seen.state, host.qemu_pid("hello")), (DomainState::Running, pid));
    host.libvirt.ensure().unwrap();

    println!("the reaper is killed: the guest and its console's log go on under the next one");
    let (virtlogd, reaper) = (host.pid("virtlogd"), host.reaper());
    kill(Pid::from_raw(reaper), Signal::SIGKILL).unwrap();
    wait_for("the reaper's end", || !Path::new(&format!("/proc/{reaper}/cmdline")).exists() || host.reaper() != reaper);
    host.libvirt.ensure().unwrap();
    assert_ne!(host.reaper(), reaper);
    assert_eq!((host.pid("virtlogd"), host.qemu_pid("hello")), (virtlogd, pid));
    println!("another process of ours sees the same guest");
    let (again, _woken) = Connection::new(&Libvirt::Private(host.libvirt.clone()));
    assert_eq!(again.look(hello.owner.uid).await.unwrap().unwrap().state, DomainState::Running);
    assert_eq!(again.named("nubium.test.hello".into()).await.unwrap(), Some(hello.owner.uid));
    assert_eq!(again.named("nubium.test.nobody".into()).await.unwrap(), None);

    println!("a connection that broke is opened again");
    // The call that finds it broken may fail; it is the last one to.
    connection.look(hello.owner.uid).await.ok();
    assert_eq!(state(&connection, &hello).await, DomainState::Running);

    println!("how a guest ended can be told");
    // A libvirtd that has just taken over a guest may notice its end in another way than by being asked for it.
    connection.destroy(hello.owner.uid).await.unwrap();
    assert!(matches!(state(&connection, &hello).await, DomainState::Off(_)));
    host.tap(&hello);
    connection.start_paused(hello.owner.uid).await.unwrap();
    connection.destroy(hello.owner.uid).await.unwrap();
    connection.destroy(hello.owner.uid).await.unwrap();
    assert_eq!(state(&connection, &hello).await, DomainState::Off(Off::Destroyed));
    host.tap(&hello);
    connection.start_paused(hello.owner.uid).await.unwrap();
    kill(Pid::from_raw(host.qemu_pid("hello")), Signal::SIGKILL).unwrap();
    wait_state(&connection, &hello, DomainState::Off(Off::Crashed)).await;
    let mut off = host.guest("off", 2, &[&say("bye")[..], &POWER_OFF, &HALT].concat(), ids);
    off.nics.clear();
    connection.define(merge(&off, None).to_xml()).await.unwrap();
    connection.start_paused(off.owner.uid).await.unwrap();
    connection.resume(off.owner.uid).await.unwrap();
    wait_state(&connection, &off, DomainState::Off(Off::Guest)).await;

    println!("a signal from the host is told from the guest's own power-off");
    host.tap(&hello);
    connection.start_paused(hello.owner.uid).await.unwrap();
    connection.resume(hello.owner.uid).await.unwrap();
    kill(Pid::from_raw(host.qemu_pid("hello")), Signal::SIGTERM).unwrap();
    wait_state(&connection, &hello, DomainState::Off(Off::Host)).await;

    println!("a domain that is undefined while it runs is still written to, and can be defined again");
    host.tap(&hello);
    connection.start_paused(hello.owner.uid).await.unwrap();
    connection.resume(hello.owner.uid).await.unwrap();
    host.undefine_behind_our_back("nubium.test.hello");
    let seen = connection.look(hello.owner.uid).await.unwrap().unwrap();
    assert_eq!((seen.persistent, seen.state), (false, DomainState::Running));
    hello.owner.generation = 2;
    connection.set_owner(hello.owner.clone()).await.unwrap();
    let seen = connection.look(hello.owner.uid).await.unwrap().unwrap();
    assert_eq!(seen.owner.as_ref(), Some(&hello.owner));
    connection.define(seen.definition).await.unwrap();
    let seen = connection.look(hello.owner.uid).await.unwrap().unwrap();
    assert_eq!((seen.persistent, seen.state), (true, DomainState::Running));
    assert_eq!(seen.owner.as_ref(), Some(&hello.owner));
    assert_eq!(seen.next.differences(&hello), Vec::<String>::new());

    println!("a damaged record hides no domain");
    let damaged =
        seen.definition.replace("generation='2'", "generation='two'").replace("generation=\"2\"", "generation='two'");
    assert_ne!(damaged, seen.definition);
    connection.define(damaged).await.unwrap();
    connection.destroy(hello.owner.uid).await.unwrap();
    let list = connection.list().await.unwrap();
    assert!(list.unreadable.is_empty(), "{list:?}");
    assert!(list.seen.iter().any(|seen| seen.owner.as_ref().is_some_and(|owner| owner.generation == 0)), "{list:?}");
    connection.set_owner(hello.owner.clone()).await.unwrap();

    println!("a console that lost its virtlogd is seen, until the guest's restart");
    let restart = async || {
        host.tap(&hello);
        connection.start_paused(hello.owner.uid).await.unwrap();
        connection.resume(hello.owner.uid).await.unwrap();
        connection.look(hello.owner.uid).await.unwrap().unwrap().console_lost
    };
    assert!(!restart().await);
    let virtlogd = host.pid("virtlogd");
    // virtlogd's age is told in hundredths of a second, and the next one must be younger than the guest.
    std::thread::sleep(Duration::from_millis(50));
    kill(Pid::from_raw(virtlogd), Signal::SIGKILL).unwrap();
    wait_for("the next virtlogd", || ![virtlogd, -1].contains(&host.pid("virtlogd")));
    assert!(connection.look(hello.owner.uid).await.unwrap().unwrap().console_lost);
    connection.destroy(hello.owner.uid).await.unwrap();
    assert!(!restart().await);

    println!("a libvirtd that answers nothing is replaced, and the guest goes on");
    let (libvirtd, pid) = (host.pid("libvirtd"), host.qemu_pid("hello"));
    kill(Pid::from_raw(libvirtd), Signal::SIGSTOP).unwrap();
    assert!(connection.ping(Duration::from_secs(1)).await.is_err());
    host.libvirt.replace_silent().unwrap();
    wait_for("the next libvirtd", || ![libvirtd, -1].contains(&host.pid("libvirtd")) && host.libvirt.answers());
    let begun = Instant::now();
    while connection.ping(Duration::from_secs(1)).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "libvirtd does not answer again");
    }
    assert_eq!((state(&connection, &hello).await, host.qemu_pid("hello")), (DomainState::Running, pid));

    println!("a console that is flooded stays bounded");
    let mut flood = host.guest("flood", 3, &FLOOD, ids);
    flood.nics.clear();
    connection.define(merge(&flood, None).to_xml()).await.unwrap();
    connection.start_paused(flood.owner.uid).await.unwrap();
    connection.resume(flood.owner.uid).await.unwrap();
    wait_for("the log to turn over", || host.folder.join("flood.log.0").exists());
    std::thread::sleep(Duration::from_secs(3));
    let size: u64 = fs::read_dir(&host.folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("flood.log"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    println!("  {size} bytes");
    assert!(size > CONSOLE_LOG_BYTES && size <= 2 * CONSOLE_LOG_BYTES + 65536, "{size}");
    connection.destroy(flood.owner.uid).await.unwrap();

    println!("a disk is opened as recorded, whatever its guest wrote into it");
    let mut raw = host.guest("raw", 4, &[&say("raw")[..], &HALT].concat(), ids);
    raw.nics.clear();
    let disk = host.folder.join("raw-data.raw");
    fs::write(&disk, host.qcow2_header_naming("/etc/hostname")).unwrap();
    host.give(&disk, ids);
    let file = DiskFile { path: disk, format: DiskFormat::Raw };
    raw.disks.push(DiskSpec { volume: Uuid::from_u128(99), slot: Slot::new(5).unwrap(), file, backing: vec![] });
    connection.define(merge(&raw, None).to_xml()).await.unwrap();
    connection.start_paused(raw.owner.uid).await.unwrap();
    let seen = connection.look(raw.owner.uid).await.unwrap().unwrap().live.unwrap();
    let data = seen.disks.iter().find(|disk| disk.alias == alias(Uuid::from_u128(99))).unwrap();
    assert_eq!(data.files, [raw.disks[1].file.clone()]);

    println!("deleting leaves nothing in libvirt");
    for spec in [&hello, &off, &flood, &raw] {
        connection.destroy(spec.owner.uid).await.unwrap();
        connection.undefine(spec.owner.uid).await.unwrap();
        connection.undefine(spec.owner.uid).await.unwrap();
        assert_eq!(connection.look(spec.owner.uid).await.unwrap(), None);
        let log = host.libvirt.layout().log().join(format!("qemu/{}.log", spec.owner.domain_name()));
        assert!(!log.exists(), "{}", log.display());
    }
    let list = connection.list().await.unwrap();
    assert!(list.seen.is_empty() && list.unreadable.is_empty(), "{list:?}");
}

/// What libvirt made of a definition must need no second one.
fn assert_same(merged: &Element, kept: &Element) {
    for (ours, theirs) in merged.to_xml().lines().zip(kept.to_xml().lines()) {
        assert_eq!(ours, theirs);
    }
    assert!(merged == kept);
}

async fn state(connection: &Connection, spec: &DomainSpec) -> DomainState {
    connection.look(spec.owner.uid).await.unwrap().unwrap().state
}

async fn wait_state(connection: &Connection, spec: &DomainSpec, want: DomainState) {
    let begun = Instant::now();
    while state(connection, spec).await != want {
        let seen = state(connection, spec).await;
        assert!(begun.elapsed() < Duration::from_secs(30), "{} is {seen:?}, not {want:?}", spec.owner.name);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `hlt; jmp` back to it.
const HALT: [u8; 3] = [0xf4, 0xeb, 0xfd];
/// `mov dx, 0x3f8; mov al, 'x'; out dx, al; jmp` back to `out`.
const FLOOD: [u8; 8] = [0xba, 0xf8, 0x03, 0xb0, b'x', 0xee, 0xeb, 0xfd];
/// `mov dx, 0x604; mov ax, 0x2000; out dx, ax`: sleep state 5 of q35.
const POWER_OFF: [u8; 7] = [0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef];

/// `mov dx, 0x3f8`, then `mov al, letter; out dx, al` for each letter and a line's end.
fn say(text: &str) -> Vec<u8> {
    let mut code = vec![0xba, 0xf8, 0x03];
    for letter in text.bytes().chain(*b"\r\n") {
        code.extend([0xb0, letter, 0xee]);
    }
    code
}

struct Host {
    folder: PathBuf,
    _guard: tempfile::TempDir,
    libvirt: PrivateLibvirt,
}

impl Host {
    fn start() -> Self {
        let guard = tempfile::Builder::new().prefix("nubium-").tempdir().unwrap();
        let folder = guard.path().to_owned();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)).unwrap();
        let libvirt = PrivateLibvirt::new(Layout::new(folder.join("libvirt")), std::env::current_exe().unwrap());
        let begun = Instant::now();
        libvirt.ensure().unwrap();
        println!("private libvirtd answers after {:?}", begun.elapsed());
        let begun = Instant::now();
        libvirt.ensure().unwrap();
        println!("asked again: {:?}", begun.elapsed());
        Self { folder, _guard: guard, libvirt }
    }

    fn end(&self) {
        for entry in fs::read_dir(self.libvirt.layout().run().join("qemu")).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|end| end == "pid") {
                let pid: i32 = fs::read_to_string(entry.path()).unwrap_or_default().trim().parse().unwrap_or(0);
                if pid > 1 {
                    kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
                }
            }
        }
        let (libvirtd, virtlogd, reaper) = (self.pid("libvirtd"), self.pid("virtlogd"), self.reaper());
        self.libvirt.stop().unwrap();
        for pid in [libvirtd, virtlogd, reaper] {
            let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            assert!(state.is_empty() || state.contains(") Z"), "{state}");
        }
        // A child that libvirtd had only just forked has its sockets until it starts its program.
        wait_for("the socket to close", || !self.libvirt.answers());
    }

    /// A guest that runs `code` from the boot sector of a base, through an overlay.
    fn guest(&self, name: &str, number: u128, code: &[u8], qemu: QemuIds) -> DomainSpec {
        let (raw, overlay) = (self.folder.join(format!("{name}.raw")), self.folder.join(format!("{name}.qcow2")));
        let mut sectors = vec![0; 1 << 20];
        sectors[..code.len()].copy_from_slice(code);
        sectors[510..512].copy_from_slice(&[0x55, 0xaa]);
        fs::write(&raw, sectors).unwrap();
        fs::set_permissions(&raw, fs::Permissions::from_mode(0o444)).unwrap();
        let mut make = Command::new("qemu-img");
        make.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(&raw).arg(&overlay);
        assert!(make.status().unwrap().success());
        self.give(&overlay, qemu);
        let file = |path, format| DiskFile { path, format };
        DomainSpec {
            owner: DomainRecord {
                namespace: "test".into(),
                name: name.into(),
                uid: Uuid::from_u128(number << 64 | 0x4000_8000_0000_0000_0000),
                generation: 1,
                restarted_at: None,
                stop: None,
                taps: [(format!("nub{number:011x}"), "nubium.test.blue".to_owned())].into(),
            },
            accelerator: Accelerator::Tcg,
            vcpus: 1,
            memory_bytes: 64 << 20,
            disks: vec![DiskSpec {
                volume: Uuid::from_u128(number),
                slot: Slot::new(0).unwrap(),
                file: file(overlay, DiskFormat::Qcow2),
                backing: vec![file(raw, DiskFormat::Raw)],
            }],
            nics: vec![NicSpec {
                port: Uuid::from_u128(number << 32),
                slot: Slot::new(1).unwrap(),
                mac: format!("52:54:00:00:00:{number:02x}"),
                tap: format!("nub{number:011x}"),
                mtu: 1430,
            }],
            seed: None,
            console_log: self.folder.join(format!("{name}.log")),
            qemu,
        }
    }

    fn base(&self) -> PathBuf {
        self.folder.join("hello.raw")
    }

    fn give(&self, path: &Path, qemu: QemuIds) {
        chown(path, Some(qemu.uid.into()), Some(qemu.gid.into())).unwrap();
    }

    fn tap(&self, spec: &DomainSpec) {
        for nic in &spec.nics {
            let (name, user) = (nic.tap.as_str(), spec.qemu.uid.to_string());
            let ip = |args: &[&str]| Command::new("ip").args(args).output().unwrap().status.success();
            ip(&["link", "del", name]);
            assert!(ip(&["tuntap", "add", "mode", "tap", "vnet_hdr", "user", &user, "name", name]));
        }
    }

    /// As an administrator with virsh would.
    fn undefine_behind_our_back(&self, name: &str) {
        let uri = self.libvirt.layout().uri();
        let connect = virt::connect::Connect::open(Some(&uri)).unwrap();
        connect.lookup_domain_by_name(name).unwrap().undefine().unwrap();
    }

    fn console(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default()
    }

    fn qemu_pid(&self, name: &str) -> i32 {
        self.number(&self.libvirt.layout().run().join(format!("qemu/nubium.test.{name}.pid")))
    }

    fn pid(&self, program: &str) -> i32 {
        self.number(&self.libvirt.layout().run().join(format!("{program}.pid")))
    }

    fn number(&self, path: &Path) -> i32 {
        fs::read_to_string(path).unwrap_or_default().trim().parse().unwrap_or(-1)
    }

    /// Found as a person would find it: by its command line.
    fn reaper(&self) -> i32 {
        let root = self.libvirt.layout().root().to_string_lossy().into_owned();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.trim_end().ends_with(&format!("{REAPER_COMMAND} {root}")) {
                return pid;
            }
        }
        -1
    }

    /// A qcow2 of 1 MiB that names `backing`, as a hostile guest would write it into its raw disk.
    fn qcow2_header_naming(&self, backing: &str) -> Vec<u8> {
        let path = self.folder.join("hostile.qcow2");
        let mut make = Command::new("qemu-img");
        make.args(["create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", backing]).arg(&path).arg("1M");
        assert!(make.status().unwrap().success());
        let mut bytes = fs::read(path).unwrap();
        bytes.resize(1 << 20, 0);
        bytes
    }
}
