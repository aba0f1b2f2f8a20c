//! The names a host gives to what it makes for a Network: pure functions of names and UIDs, so that
//! a restarted agent, or another host, arrives at the same ones without remembering anything.

use sha2::{Digest, Sha256};
use std::fmt;

use super::mac::MacAddr;

/// Every namespace of ours begins so.
pub const NETNS_PREFIX: &str = "nubium.";
/// Every link of ours in the host's own namespace begins so; host firewalls match `nub*`.
pub const LINK_PREFIX: &str = "nub";
/// The bridge, inside a Network's namespace.
pub const BRIDGE: &str = "br0";
/// The inner end of the uplink, inside a Network's namespace.
pub const OUT: &str = "out0";

/// The name of a Network's namespace, as `ip netns` shows it: `nubium.<namespace>.<network>`.
///
/// Both parts are DNS labels, so the name has exactly two dots and can be taken apart again. Namespaces of other kinds are
/// named `nubium-<kind>.<namespace>.<name>`, which is never the name of a Network's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Netns(String);

impl Netns {
    pub fn new(namespace: &str, network: &str) -> Self {
        Netns(format!("{NETNS_PREFIX}{namespace}.{network}"))
    }

    /// A name read from the host; `None` when it is not one of ours.
    pub fn parse(name: &str) -> Option<Self> {
        let (namespace, network) = name.strip_prefix(NETNS_PREFIX)?.split_once('.')?;
        let label = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        (label(namespace) && label(network)).then(|| Netns(name.to_string()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The Kubernetes namespace of the Network.
    pub fn namespace(&self) -> &str {
        self.parts().0
    }

    /// The name of the Network.
    pub fn network(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.0
            .strip_prefix(NETNS_PREFIX)
            .and_then(|rest| rest.split_once('.'))
            .expect("every constructor writes the prefix and a dot")
    }
}

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tap of a Port: `nub` and the first 11 hex digits of the Port's UID (14 characters; the kernel's limit is 15).
pub fn tap(port_uid: &str) -> String {
    let digits: String = port_uid.chars().filter(|c| *c != '-').take(11).collect();
    if digits.len() == 11 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return format!("{LINK_PREFIX}{}", digits.to_ascii_lowercase());
    }
    // Not a UUID: some other unique string, whose digest serves as well.
    format!("{LINK_PREFIX}{}", hex(&Sha256::digest(port_uid.as_bytes()), 11))
}

/// The host's end of a Network's uplink: `nubx` and 10 hex digits of the digest of its UID.
/// `x` is no hex digit, so it never meets a tap's name.
pub fn uplink(network_uid: &str) -> String {
    format!("{LINK_PREFIX}x{}", hex(&Sha256::digest(network_uid.as_bytes()), 10))
}

/// The bridge's MAC: the same for a Network on every host, so that a guest that moves keeps its gateway's.
/// Locally administered, unicast.
pub fn bridge_mac(network_uid: &str) -> MacAddr {
    let digest = Sha256::digest(format!("bridge/{network_uid}").as_bytes());
    MacAddr([0x02, 0x6e, digest[0], digest[1], digest[2], digest[3]])
}

/// The first `digits` hex digits of a digest.
pub(crate) fn hex(bytes: &[u8], digits: usize) -> String {
    bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .take(digits)
        .map(|d| char::from(b"0123456789abcdef"[d as usize]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel_and_never_meet() {
        let uid = "1f0e4c9a-7b21-4d7e-9a3e-5b5c7a0c1d2e";
        assert_eq!(tap(uid), "nub1f0e4c9a7b2");
        assert!(uplink(uid).len() <= 15 && uplink(uid).starts_with("nubx"));
        assert_eq!(tap("not-a-uuid").len(), 14);
        assert_ne!(tap("not-a-uuid"), tap("not-a-uuie"));
        assert_eq!(bridge_mac(uid), bridge_mac(uid));
        assert_eq!(bridge_mac(uid).0[0] & 3, 2, "locally administered, unicast");
    }

    #[test]
    fn a_namespace_name_comes_apart_again() {
        let name = Netns::new("shop", "blue-1");
        assert_eq!((name.as_str(), name.namespace(), name.network()), ("nubium.shop.blue-1", "shop", "blue-1"));
        assert_eq!(Netns::parse("nubium.shop.blue-1"), Some(name));
        for other in [
            "blue",
            "nubium-router.shop.blue",
            "nubium.",
            "nubium.shop",
            "nubium..x",
            "nubium.a.b.c",
            "nubium.a.../x",
            "nubium.A.b",
        ] {
            assert_eq!(Netns::parse(other), None, "{other}");
        }
    }
}
