//! Sysctls under `/proc/sys/net`, which show the network namespace of the thread that reads them.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

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
        Err(source) => Err(NetworkError::Sysctl { name: name.to_string(), operation: "read", source }),
    }
}

pub(super) fn set(name: &str, value: &str) -> Result<()> {
    fs::write(path(name), value).map_err(|source| NetworkError::Sysctl {
        name: name.to_string(),
        operation: "write",
        source,
    })
}

/// Those of [`NAMESPACE`] that this kernel has, with their values here.
pub(super) fn namespace_values() -> Result<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    for (name, _) in NAMESPACE {
        if let Some(value) = get(name)? {
            values.insert(name.to_string(), value);
        }
    }
    Ok(values)
}

pub(super) fn set_namespace_values() -> Result<()> {
    for (name, wanted) in NAMESPACE {
        if get(name)?.is_some_and(|value| value != *wanted) {
            set(name, wanted)?;
        }
    }
    Ok(())
}
