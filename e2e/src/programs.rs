//! The programs and files under test, made by `cargo xtask test`.

use std::path::PathBuf;

/// Which programs the stories use.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The binary under test.
    pub nubium: PathBuf,
    /// The folder of the test images.
    pub images: PathBuf,
}
