//! What an image is made from, as one digest: an image whose recipe has not changed is not made again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::packages;

/// The digest of everything that an image depends on.
pub struct Recipe {
    hash: Sha256,
}

impl Recipe {
    /// A recipe's own version is raised when the code that builds the image changes.
    pub fn new(name: &str, version: u32) -> Self {
        let mut recipe = Self { hash: Sha256::new() };
        recipe.add(name, &version.to_string());
        recipe
    }

    /// Adds something that the image depends on: a file of ours, a package's version.
    pub fn add(&mut self, name: &str, content: &str) {
        for text in [name, content] {
            self.hash.update((text.len() as u64).to_le_bytes());
            self.hash.update(text);
        }
    }

    /// Adds the versions of packages that apt would install now.
    pub fn add_packages(&mut self, names: &[&str]) -> Result<()> {
        packages::lists()?;
        for (package, version) in packages::candidates(names)? {
            self.add(&package, &version);
        }
        Ok(())
    }

    /// Whether the image is there and was made by this very recipe.
    pub fn made(&self, image: &Path) -> bool {
        image.exists() && fs::read_to_string(stamp(image)).is_ok_and(|made| made.trim() == self.digest())
    }

    /// Records that the image was made by this recipe, and its checksum beside it, as `sha256sum` writes it.
    pub fn keep(&self, image: &Path) -> Result<()> {
        let bytes = fs::read(image).with_context(|| format!("read {}", image.display()))?;
        let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
        write(&beside(image, "sha256"), &format!("{}  {name}\n", hex(&Sha256::digest(bytes))))?;
        write(&stamp(image), &format!("{}\n", self.digest()))
    }

    fn digest(&self) -> String {
        hex(&self.hash.clone().finalize())
    }
}

fn stamp(image: &Path) -> PathBuf {
    beside(image, "recipe")
}

fn beside(image: &Path, ending: &str) -> PathBuf {
    let mut name = image.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
