//! Which libvirt of the host: its own where it has one that answers, else a private one.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::private::{PrivateError, PrivateLibvirt};

/// Where a host's own libvirt listens: one daemon for all, or one for QEMU.
const SYSTEM_SOCKETS: [&str; 2] = ["/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"];

/// The libvirt that this host's guests are in.
#[derive(Debug, Clone)]
pub enum Libvirt {
    /// `qemu:///system`: the administrator's, who keeps it running.
    System,
    /// Ours to keep running.
    Private(PrivateLibvirt),
}

impl Libvirt {
    /// Asks first. A private one that already has guests stays the one, also when the administrator installs another:
    /// guests do not move between them. Starts nothing; blocks for a moment.
    #[must_use]
    pub fn choose(private: PrivateLibvirt) -> Self {
        let answers = SYSTEM_SOCKETS.iter().any(|socket| UnixStream::connect(socket).is_ok());
        if answers && !has_domains(&private.layout().etc().join("qemu")) {
            Self::System
        } else {
            Self::Private(private)
        }
    }

    #[must_use]
    pub fn uri(&self) -> String {
        match self {
            Self::System => "qemu:///system".to_owned(),
            Self::Private(private) => private.layout().uri(),
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

/// libvirt keeps each definition as `<name>.xml`.
fn has_domains(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().extension().is_some_and(|end| end == "xml"))
}

#[cfg(test)]
mod tests {
    use super::super::private::Layout;
    use super::*;

    #[test]
    fn a_private_libvirt_with_guests_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        fs::create_dir_all(layout.etc().join("qemu/networks")).unwrap();
        assert!(!has_domains(&layout.etc().join("qemu")));
        fs::write(layout.etc().join("qemu/nubium.shop.web-1.xml"), "<domain/>").unwrap();
        let chosen = Libvirt::choose(PrivateLibvirt::new(layout.clone(), "nubium"));
        assert!(matches!(&chosen, Libvirt::Private(_)));
        assert_eq!(chosen.uri(), layout.uri());
    }
}
