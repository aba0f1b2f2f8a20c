//! Sysctls under `/proc/sys/net`, which show the network namespace of the thread that reads them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
};

use super::error::{NetworkError, Result};

/// What a Network's namespace needs, in the order it is written: a new namespace inherits some of the host's values,
/// so each one is said. Writing `ip_forward` resets others, so it is first.
///
/// `bridge-nf-call-*` exists only once `br_netfilter` is loaded, which then turns it on in every namespace: frames
/// between two guests would be judged as routed packets. Those that don't exist on a host are left out.
pub const NAMESPACE: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/accept_redirects", "0"),
    ("net/ipv4/conf/default/accept_redirects", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/conf/all/rp_filter", "1"),
    ("net/ipv4/conf/all/arp_ignore", "1"),
    ("net/ipv4/conf/all/arp_announce", "2"),
    ("net/ipv6/conf/all/disable_ipv6", "1"),
    ("net/ipv6/conf/default/disable_ipv6", "1"),
    ("net/bridge/bridge-nf-call-iptables", "0"),
    ("net/bridge/bridge-nf-call-ip6tables", "0"),
    ("net/bridge/bridge-nf-call-arptables", "0"),
];

/// The host's switch that lets it pass packets on.
pub const FORWARDING: &str = "net/ipv4/ip_forward";

fn path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name)
}

/// The value, without the newline; `None` when the kernel has no such sysctl.
pub(super) fn get(name: &str) -> Result<Option<String>> {
    match fs::read_to_string(path(name)) {
        Ok(text) => Ok(Some(text.trim_end().to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed_read(name, source)),
    }
}

pub(super) fn set(name: &str, value: &str) -> Result<()> {
    fs::write(path(name), value).map_err(|source| NetworkError::Sysctl {
        name: name.to_string(),
        operation: "write",
        source,
    })
}

/// Those of [`NAMESPACE`] that this kernel has, open. A file shows the namespace in which it was opened, whichever thread
/// reads it, and does not keep that namespace alive.
#[derive(Debug)]
pub(super) struct OpenSysctls(Vec<(&'static str, Option<File>)>);

/// Enough for any value of [`NAMESPACE`].
const LONGEST: usize = 32;

impl OpenSysctls {
    /// Of the namespace of the calling thread.
    pub fn open() -> Result<Self> {
        let open = |(name, _): &(&'static str, &str)| match File::open(path(name)) {
            Ok(file) => Ok((*name, Some(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((*name, None)),
            Err(source) => Err(failed_read(name, source)),
        };
        NAMESPACE.iter().map(open).collect::<Result<_>>().map(Self)
    }

    /// Their values now; `None` when the kernel has others by now (a module was loaded, the namespace ended): open them again.
    pub fn values(&self) -> Result<Option<BTreeMap<String, String>>> {
        let mut values = BTreeMap::new();
        for (name, file) in &self.0 {
            let Some(file) = file else {
                // A module that brings it brings it to all namespaces.
                if path(name).exists() {
                    return Ok(None);
                }
                continue;
            };
            let mut buffer = [0; LONGEST];
            match file.read_at(&mut buffer, 0) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&buffer[..length]);
                    values.insert((*name).to_string(), text.trim_end().to_string());
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(source) => return Err(failed_read(name, source)),
            }
        }
        Ok(Some(values))
    }
}

/// There were others a moment ago, and nobody knows what is there now.
pub(super) fn changed() -> NetworkError {
    failed_read("net", io::Error::other("the kernel's sysctls change"))
}

fn failed_read(name: &str, source: io::Error) -> NetworkError {
    NetworkError::Sysctl { name: name.to_string(), operation: "read", source }
}

pub(super) fn set_namespace_values() -> Result<()> {
    for (name, wanted) in NAMESPACE {
        if get(name)?.is_some_and(|value| value != *wanted) {
            set(name, wanted)?;
        }
    }
    Ok(())
}
