//! The `tiny` image: the whole system is the kernel's first root, in memory; the disk keeps what must outlast a
//! restart. Its scripts are in `images/tiny`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::cpio::Archive;
use super::debs;
use super::disk::Disk;
use super::recipe::Recipe;
use crate::command;

const VERSION: u32 = 3;
const KERNEL: &str = "linux-image-cloud-amd64";
const PACKAGES: &[&str] =
    &["busybox", "dropbear-bin", "libc6", "libcrypt1", "libgmp10", "libtomcrypt1", "libtommath1", "zlib1g"];
/// The same busybox with more in it (su), whose shell takes its own applets before any program of that name in the
/// path: that is why it is not the only one.
const MORE_APPLETS: &str = "busybox-static";
const LIBRARIES: &[&str] = &[
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libcrypt.so.1",
    "libgmp.so.10",
    "libresolv.so.2",
    "libtomcrypt.so.1",
    "libtommath.so.1",
    "libz.so.1",
];

const MODULES: &str = include_str!("../../../../images/tiny/modules");
const SYSLINUX: &str = include_str!("../../../../images/tiny/syslinux.cfg");
/// Path in the image, mode, content.
const FILES: &[(&str, u32, &str)] = &[
    ("etc/inittab", 0o644, include_str!("../../../../images/tiny/inittab")),
    ("etc/tiny/rc", 0o755, include_str!("../../../../images/tiny/rc")),
    ("etc/tiny/rc.stop", 0o755, include_str!("../../../../images/tiny/rc.stop")),
    ("etc/tiny/dhcp", 0o755, include_str!("../../../../images/tiny/dhcp")),
    ("etc/tiny/user-data", 0o755, include_str!("../../../../images/tiny/user-data")),
    ("etc/acpi/PWRF/00000080", 0o755, include_str!("../../../../images/tiny/power")),
    ("usr/bin/sudo", 0o755, include_str!("../../../../images/tiny/sudo")),
    ("usr/bin/wget", 0o755, include_str!("../../../../images/tiny/wget")),
    ("bin/mkfs.ext2", 0o755, include_str!("../../../../images/tiny/mkfs.ext2")),
    ("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\ntiny:x:1000:1000:tiny:/home/tiny:/bin/sh\n"),
    ("etc/group", 0o644, "root:x:0:\ntiny:x:1000:\n"),
    // No password works over ssh (dropbear -s), and none is asked for by su.
    ("etc/shadow", 0o600, "root::19000::::::\ntiny:!:19000::::::\n"),
    ("etc/shells", 0o644, "/bin/sh\n"),
    ("etc/profile", 0o644, "export PATH=/bin:/sbin:/usr/bin:/usr/sbin\n"),
];

/// What the image is made from.
pub fn recipe() -> Result<Recipe> {
    let mut recipe = Recipe::new("tiny", VERSION);
    for (path, mode, content) in FILES {
        recipe.add(&format!("{path} {mode:o}"), content);
    }
    recipe.add("modules", MODULES);
    recipe.add("syslinux.cfg", SYSLINUX);
    // The kernel's package of a stable release depends on one of a very version, and has the same version itself.
    recipe.add_packages(&[PACKAGES, &[MORE_APPLETS, KERNEL]].concat())?;
    Ok(recipe)
}

/// Writes the disk to `raw`, with what it needs on the way in `work`.
pub fn build(work: &Path, raw: &Path, cache: &Path) -> Result<()> {
    let from = work.join("packages");
    let kernel = debs::first_dependency(KERNEL)?;
    debs::unpack(&[PACKAGES, &[kernel.as_str()]].concat(), cache, &from)?;
    let more = work.join("more");
    debs::unpack(&[MORE_APPLETS], cache, &more)?;

    let initrd = work.join("initrd");
    fs::write(&initrd, root(&from, &more)?.bytes()).context("write the initrd")?;
    let config = work.join("syslinux.cfg");
    fs::write(&config, SYSLINUX).context("write syslinux.cfg")?;
    let data = work.join("data");
    fs::create_dir(&data).context("create the data folder")?;

    let kernel = only_match(&from.join("boot"), |name| name.starts_with("vmlinuz-"))?;
    let boot_files = [(kernel, "vmlinuz"), (initrd, "initrd"), (config, "syslinux.cfg")];
    Disk { size: 256, boot_size: 48, boot_files: &boot_files, label: "tiny-data", root: &data }.write(raw)
}

/// The system: busybox as everything, dropbear, the modules that a virtio guest needs, and our scripts.
fn root(from: &Path, more: &Path) -> Result<Archive> {
    let mut root = Archive::default();
    for folder in
        ["dev", "proc", "sys", "run", "mnt", "home/tiny", "root", "var/lib/tiny", "var/log", "var/run", "var/tmp"]
    {
        root.folder(folder, 0o755);
    }
    root.folder("tmp", 0o1777);
    root.character_device("dev/console", 0o600, (5, 1));
    root.link("init", "/bin/busybox");
    root.link("etc/mtab", "/proc/mounts");

    // The second to come has what both have.
    for (busybox, name) in [(more.join("bin/busybox"), "busybox-static"), (from.join("bin/busybox"), "busybox")] {
        // It drops the privilege in every applet but those that need it (su, ping).
        root.file(&format!("bin/{name}"), 0o4755, read(&busybox)?);
        for applet in command::output(Command::new(&busybox).arg("--list-full"))?.lines() {
            let Some((_, applet_name)) = applet.rsplit_once('/').filter(|(_, name)| *name != "busybox") else {
                continue;
            };
            root.link(applet, &format!("/bin/{name}"));
            // Also where every user looks, root or not.
            if !FILES.iter().any(|(path, _, _)| path.ends_with(&format!("bin/{applet_name}"))) {
                root.link(&format!("bin/{applet_name}"), &format!("/bin/{name}"));
            }
        }
    }
    root.link("linuxrc", "/bin/busybox");
    for program in ["usr/sbin/dropbear", "usr/bin/dropbearkey"] {
        root.file(program, 0o755, read(&from.join(program))?);
    }
    for library in LIBRARIES {
        let path = library_path(from, library)?;
        root.file(&format!("lib/{library}"), 0o755, read(&path)?);
    }
    root.link("lib64", "lib");

    let modules = from.join("lib/modules");
    for name in MODULES.lines() {
        let path =
            find(&modules, &format!("{name}.ko"))?.with_context(|| format!("the kernel has no module {name}"))?;
        root.file(&format!("lib/modules/{name}.ko"), 0o644, read(&path)?);
    }
    root.file("lib/modules/order", 0o644, MODULES);
    for (path, mode, content) in FILES {
        root.file(path, *mode, *content);
    }
    Ok(root)
}

fn library_path(from: &Path, library: &str) -> Result<PathBuf> {
    let folders = ["lib64", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];
    let paths = folders.map(|folder| from.join(folder).join(library));
    match paths.into_iter().find(|path| path.exists()) {
        Some(path) => Ok(path),
        None => bail!("no package has {library}"),
    }
}

fn find(folder: &Path, name: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if let Some(found) = find(&path, name)? {
                return Ok(Some(found));
            }
        } else if entry.file_name() == name {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

pub(super) fn only_match(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry?;
        if wanted(&entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        _ => bail!("{} files in {} where one was expected", found.len(), folder.display()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// What the image's `wget` runs, given these words.
    fn wget(words: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        for program in ["busybox", "timeout"] {
            let path = folder.path().join(program);
            fs::write(&path, format!("#!/bin/sh\necho {program} \"$@\"\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let (_, _, script) = FILES.iter().find(|(path, _, _)| *path == "usr/bin/wget").unwrap();
        let mut run = Command::new("sh");
        run.args(["-c", script, "wget"]).args(words.split(' '));
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        command::output(run.env("PATH", path)).unwrap().trim().to_owned()
    }

    #[test]
    fn a_timeout_never_comes_to_busybox_s_wget_which_dies_of_it() {
        assert_eq!(wget("-q -O- http://a"), "busybox wget -q -O- http://a");
        for words in ["-T 3 -q http://a", "-qT 3 http://a", "-q http://a -T3", "-q --timeout=3 http://a"] {
            let run = wget(words);
            assert!(run.starts_with("timeout 3 busybox wget -q"), "{words}: {run}");
            assert!(!run.contains("-T") && run.ends_with("http://a"), "{words}: {run}");
        }
    }
}
