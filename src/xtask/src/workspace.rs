//! Where things are in this repository.

use std::path::{Path, PathBuf};

/// The folder of the workspace's `Cargo.toml`.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate is at src/xtask of the workspace").to_owned()
}

/// Where cargo puts what it builds, and where we keep what we make (images, peers).
pub fn target() -> PathBuf {
    root().join("target")
}

/// Where cargo puts what it builds: `CARGO_TARGET_DIR` if it is set.
pub fn cargo_target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(target, PathBuf::from)
}
