//! The /31 between the host and a Network's namespace.
//!
//! Which pairs are taken is never remembered: it is what the host's links carry. A Network starts its search at a
//! place that its UID decides, so that it usually gets the same pair again, and takes the first free one after it.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::Ipv4Net;
use sha2::{Digest, Sha256};

/// Where transit pairs come from by default: the range set aside for measuring networks against each other, which
/// nothing on the Internet or in a usual office uses. The obvious other choice, 100.64.0.0/10, is Tailscale's, whose
/// firewall drops it on every other link.
pub const DEFAULT_CIDR: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 19, 0, 0), 16);

/// Two neighbouring addresses: the even one is the host's, the odd one the Network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transit {
    host: Ipv4Addr,
}

impl Transit {
    /// The pair that holds `address`.
    pub fn of(address: Ipv4Addr) -> Self {
        Transit { host: Ipv4Addr::from_bits(address.to_bits() & !1) }
    }

    pub fn host(self) -> Ipv4Addr {
        self.host
    }

    pub fn inner(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.host.to_bits() | 1)
    }

    pub fn host_net(self) -> Ipv4Net {
        Ipv4Net::new_assert(self.host(), 31)
    }

    pub fn inner_net(self) -> Ipv4Net {
        Ipv4Net::new_assert(self.inner(), 31)
    }
}

impl std::fmt::Display for Transit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/31", self.host)
    }
}

/// A pair of `cidr` that is not in `taken`, for the Network with this UID; `None` when all are taken.
pub fn choose(cidr: Ipv4Net, network_uid: &str, taken: &BTreeSet<Transit>) -> Option<Transit> {
    let pairs = 1u64.checked_shl(31u32.checked_sub(u32::from(cidr.prefix_len()))?)?;
    let digest = Sha256::digest(format!("transit/{network_uid}").as_bytes());
    let start = u64::from_be_bytes(digest[..8].try_into().expect("a digest is 32 bytes")) % pairs;
    let first = cidr.network().to_bits();
    (0..pairs)
        .map(|n| Transit { host: Ipv4Addr::from_bits(first + 2 * ((start + n) % pairs) as u32) })
        .find(|pair| !taken.contains(pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_network_gets_the_same_pair_until_it_is_taken() {
        let mut taken = BTreeSet::new();
        let first = choose(DEFAULT_CIDR, "a", &taken).unwrap();
        assert_eq!(choose(DEFAULT_CIDR, "a", &taken), Some(first));
        assert!(DEFAULT_CIDR.contains(&first.host()) && DEFAULT_CIDR.contains(&first.inner()));
        assert_eq!((first.host().to_bits() & 1, first.inner().to_bits() & 1), (0, 1));
        taken.insert(first);
        assert_ne!(choose(DEFAULT_CIDR, "a", &taken), Some(first));
    }

    #[test]
    fn every_pair_of_a_small_range_is_found_and_then_none() {
        let cidr: Ipv4Net = "10.0.0.0/29".parse().unwrap();
        let mut taken = BTreeSet::new();
        for uid in ["a", "b", "c", "d"] {
            assert!(taken.insert(choose(cidr, uid, &taken).unwrap()));
        }
        assert_eq!(choose(cidr, "e", &taken), None);
        assert_eq!(choose("10.0.0.1/32".parse().unwrap(), "e", &BTreeSet::new()), None);
    }
}
