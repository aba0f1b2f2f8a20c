//! Boots an image by hand, as a server of ours would: from a virtio disk behind a BIOS, with a NoCloud seed, under
//! TCG; goes in by ssh, presses the power button, and says how long each took.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::Kind;
use crate::command::{self, last_lines, seconds};
use crate::packages;

const DEADLINE: Duration = Duration::from_secs(240);
const NAME: &str = "boot-check";

/// Boots the image, runs `command` in it over ssh (`hostname` must say the seed's name first), and turns it off by its
/// power button. Returns what the command wrote.
///
/// # Errors
/// With the end of the serial console, when it does not come up, says another name, or does not turn off.
pub fn try_boot(kind: Kind, image: &Path, command: &str) -> Result<String> {
    packages::ensure(&[packages::IMAGE_BOOT])?;
    let work = tempfile::tempdir().context("create a work folder")?;
    let console = work.path().join("console.log");
    let tried = boot_in(work.path(), kind, image, command, &console);
    tried.with_context(|| {
        let log = fs::read(&console).unwrap_or_default();
        format!("boot {}; its console ended with:\n{}", kind.name(), last_lines(&String::from_utf8_lossy(&log), 40))
    })
}

fn boot_in(work: &Path, kind: Kind, image: &Path, command: &str, console: &Path) -> Result<String> {
    let key = work.join("key");
    command::output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key))?;
    let seed = seed(work, &key)?;
    let disk = work.join("disk.qcow2");
    let image = fs::canonicalize(image).with_context(|| format!("find {}", image.display()))?;
    let mut overlay = Command::new("qemu-img");
    overlay.args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"]).arg(&image).arg(&disk).arg("4G");
    command::output(&mut overlay)?;

    let port =
        TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr()).context("find a port")?.port();
    let monitor = work.join("monitor");
    let start = Instant::now();
    let mut qemu = Qemu(
        Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg", "-machine", "q35", "-cpu", "max", "-m", "512", "-display", "none", "-nodefaults"])
            .arg("-drive")
            .arg(format!("file={},if=none,id=root,format=qcow2", disk.display()))
            .arg("-drive")
            .arg(format!("file={},if=none,id=seed,format=raw,readonly=on", seed.display()))
            .args(["-device", "pcie-root-port,id=p1,slot=1", "-device", "virtio-blk-pci,drive=root,bus=p1,bootindex=1"])
            .args(["-device", "pcie-root-port,id=p2,slot=2", "-device", "virtio-blk-pci,drive=seed,bus=p2"])
            .args(["-device", "pcie-root-port,id=p3,slot=3", "-device", "virtio-net-pci,netdev=net,bus=p3"])
            .args(["-device", "pcie-root-port,id=p4,slot=4", "-device", "virtio-rng-pci,bus=p4"])
            .args(["-netdev", &format!("user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22")])
            .args(["-serial", &format!("file:{}", console.display())])
            .args(["-monitor", &format!("unix:{},server,nowait", monitor.display())])
            .stdin(Stdio::null())
            .spawn()
            .context("start qemu-system-x86_64")?,
    );

    let ssh = |said: &str| {
        let mut ssh = Command::new("ssh");
        ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]);
        ssh.args(["-o", "ConnectTimeout=30", "-o", "LogLevel=ERROR", "-p", &port.to_string(), "-i"]).arg(&key);
        ssh.arg(format!("{}@127.0.0.1", kind.user())).arg(said);
        command::output(&mut ssh)
    };
    while !greets(port) {
        if qemu.ended()? {
            bail!("qemu ended");
        }
        if start.elapsed() > DEADLINE {
            bail!("no sshd answers after {}", seconds(DEADLINE));
        }
        sleep(Duration::from_millis(50));
    }
    let hostname = ssh("hostname")?;
    println!("    {}: ssh answers after {}", kind.name(), seconds(start.elapsed()));
    if hostname.trim() != NAME {
        bail!("it calls itself {:?}, the seed said {NAME}", hostname.trim());
    }
    let said = ssh(command)?;

    let button = Instant::now();
    let mut monitor = UnixStream::connect(&monitor).context("reach qemu's monitor")?;
    monitor.write_all(b"system_powerdown\n").context("press the power button")?;
    while !qemu.ended()? {
        if button.elapsed() > Duration::from_secs(60) {
            bail!("it is still on a minute after the power button");
        }
        sleep(Duration::from_millis(50));
    }
    let _ = monitor.read(&mut [0; 64]);
    println!("    {}: off {} after its power button", kind.name(), seconds(button.elapsed()));
    Ok(said)
}

/// Whether an sshd says who it is. QEMU takes the connection long before the guest does, and a busy guest takes its
/// time to answer one: neither too short a timeout, which only adds connections, nor too long.
fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut greeting = [0; 4];
    stream.set_read_timeout(Some(Duration::from_secs(3))).is_ok()
        && stream.read_exact(&mut greeting).is_ok()
        && &greeting == b"SSH-"
}

/// A NoCloud seed: a small FAT disk labelled CIDATA.
fn seed(work: &Path, key: &Path) -> Result<std::path::PathBuf> {
    let public = fs::read_to_string(key.with_extension("pub")).context("read the public key")?;
    let seed = work.join("seed.img");
    fs::File::create(&seed).and_then(|file| file.set_len(1 << 20)).context("create the seed")?;
    let boundary = "part-of-the-seed";
    let user_data = format!(
        "Content-Type: multipart/mixed; boundary=\"{boundary}\"\nMIME-Version: 1.0\n\n--{boundary}\n\
         Content-Type: text/cloud-config\n\n#cloud-config\nssh_authorized_keys:\n- {}\n\n--{boundary}\n\
         Content-Type: text/x-shellscript\n\n#!/bin/sh\ntouch /var/tmp/user-data-ran /run/user-data-ran\n\n\
         --{boundary}--\n",
        public.trim()
    );
    let files = [("meta-data", format!("instance-id: {NAME}-1\nlocal-hostname: {NAME}\n")), ("user-data", user_data)];
    command::output(Command::new("mformat").arg("-i").arg(&seed).args(["-v", "CIDATA", "::"]))?;
    for (name, content) in files {
        let file = work.join(name);
        fs::write(&file, content).with_context(|| format!("write {name}"))?;
        command::output(Command::new("mcopy").arg("-i").arg(&seed).arg(&file).arg("::"))?;
    }
    Ok(seed)
}

/// A QEMU that does not outlive us.
struct Qemu(Child);

impl Qemu {
    fn ended(&mut self) -> Result<bool> {
        Ok(self.0.try_wait().context("look at qemu")?.is_some())
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
