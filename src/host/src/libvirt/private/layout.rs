//! Where a private libvirt keeps its files: one folder of ours stands, in its own mount namespace, for the five that
//! libvirt has its paths compiled in for.
//!
//! The folder is also visible from outside that namespace, which is how the agent reaches the socket and how
//! `down --purge` removes everything at once.

use std::path::{Path, PathBuf};

/// A private libvirt's folder, such as `/var/lib/nubium/libvirt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// `root` should be short: a socket's whole path may have 107 bytes.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What is laid over what, inside the mount namespace.
    #[must_use]
    pub fn binds(&self) -> [(PathBuf, &'static Path); 5] {
        [
            (self.run(), Path::new("/run/libvirt")),
            (self.etc(), Path::new("/etc/libvirt")),
            (self.root.join("lib"), Path::new("/var/lib/libvirt")),
            (self.root.join("cache"), Path::new("/var/cache/libvirt")),
            (self.log(), Path::new("/var/log/libvirt")),
        ]
    }

    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    #[must_use]
    pub fn etc(&self) -> PathBuf {
        self.root.join("etc")
    }

    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// A device node of our own for `/dev/kvm`, with the right group, lives here (a tmpfs inside the namespace).
    #[must_use]
    pub fn devices(&self) -> PathBuf {
        self.root.join("dev")
    }

    /// The socket, as seen from outside the namespace.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run().join("libvirt-sock")
    }

    /// Locked by the living reaper; holds its pid.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("reaper.lock")
    }

    /// The URI that reaches this libvirt from outside its namespace.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("qemu+unix:///system?socket={}", self.socket().display())
    }
}
