//! Debian packages as files: downloaded once, unpacked into a folder, never installed.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command;
use crate::packages;

/// Downloads the packages' candidate versions into `cache` and unpacks them into `root`.
pub fn unpack(names: &[&str], cache: &Path, root: &Path) -> Result<()> {
    fs::create_dir_all(cache).with_context(|| format!("create {}", cache.display()))?;
    fs::create_dir_all(root).with_context(|| format!("create {}", root.display()))?;
    for (name, version) in packages::candidates(names)? {
        let file = match find(cache, &name, &version)? {
            Some(file) => file,
            None => {
                let mut apt = Command::new("apt-get");
                // Without this apt warns that its own user cannot write here.
                apt.current_dir(cache).args([
                    "-o",
                    "APT::Sandbox::User=root",
                    "download",
                    &format!("{name}={version}"),
                ]);
                command::output(&mut apt)?;
                find(cache, &name, &version)?.with_context(|| format!("apt did not download {name} {version}"))?
            }
        };
        command::output(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(root))?;
    }
    Ok(())
}

/// The package that a package of no content of its own depends on: `linux-image-cloud-amd64` names a kernel so.
pub fn first_dependency(name: &str) -> Result<String> {
    let depends = command::output(Command::new("apt-cache").args(["depends", name]).env("LC_ALL", "C"))?;
    let first = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    match first {
        Some(first) => Ok(first.trim().to_owned()),
        None => bail!("{name} depends on nothing"),
    }
}

/// Apt writes the epoch's colon as `%3a`.
fn find(cache: &Path, name: &str, version: &str) -> Result<Option<std::path::PathBuf>> {
    let start = format!("{name}_{}_", version.replace(':', "%3a"));
    for entry in fs::read_dir(cache).with_context(|| format!("list {}", cache.display()))? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if file.starts_with(&start) && file.ends_with(".deb") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
