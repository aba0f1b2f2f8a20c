//! The addresses of a subnet: which there are, which may be given out. Pure.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::Ipv4Net;
use nubium_api::Subnet;

/// Why a subnet cannot be used, for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubnetError {
    #[error("cidr {0} is not an IPv4 range such as 10.10.0.0/24")]
    Cidr(String),
    #[error("{what} {text} is not an address of {cidr} that a machine can have")]
    Outside { what: &'static str, text: String, cidr: Ipv4Net },
    #[error("pool.start {start} comes after pool.end {end}")]
    EmptyPool { start: Ipv4Addr, end: Ipv4Addr },
}

/// A subnet with its defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub cidr: Ipv4Net,
    pub gateway: Ipv4Addr,
    /// First and last address that is given out unasked.
    pub pool: (Ipv4Addr, Ipv4Addr),
}

/// Why an address that somebody asked for cannot be theirs, whoever else has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotAnAddress,
    OutOfRange,
    /// The range's first or last address, which no machine can have.
    Edge,
    Gateway,
}

impl Range {
    /// Reads a subnet, filling in what it leaves out.
    pub fn of(subnet: &Subnet) -> Result<Self, SubnetError> {
        let cidr: Ipv4Net = subnet.cidr.parse().map_err(|_| SubnetError::Cidr(subnet.cidr.clone()))?;
        let inside = |what, text: &str| match text.parse() {
            Ok(address) if usable(cidr, address) => Ok(address),
            _ => Err(SubnetError::Outside { what, text: text.to_owned(), cidr }),
        };
        let first = next(cidr.network(), 1);
        let gateway = subnet.gateway.as_deref().map_or(Ok(first), |text| inside("gateway", text))?;
        let pool = match &subnet.pool {
            None => (first, Ipv4Addr::from_bits(cidr.broadcast().to_bits().saturating_sub(1))),
            Some(pool) => (inside("pool.start", &pool.start)?, inside("pool.end", &pool.end)?),
        };
        if pool.0 > pool.1 {
            return Err(SubnetError::EmptyPool { start: pool.0, end: pool.1 });
        }
        Ok(Self { cidr, gateway, pool })
    }

    /// Bits of the network part.
    pub fn prefix(&self) -> u8 {
        self.cidr.prefix_len()
    }

    /// The address that somebody asked for, if a machine of theirs can have it.
    pub fn wished(&self, text: &str) -> Result<Ipv4Addr, Refusal> {
        let address = text.parse().map_err(|_| Refusal::NotAnAddress)?;
        if !self.cidr.contains(&address) {
            return Err(Refusal::OutOfRange);
        }
        if !usable(self.cidr, address) {
            return Err(Refusal::Edge);
        }
        if address == self.gateway { Err(Refusal::Gateway) } else { Ok(address) }
    }

    /// The lowest address of the pool that is not taken.
    pub fn free(&self, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
        let (start, end) = (self.pool.0.to_bits(), self.pool.1.to_bits());
        // At most one more than are taken needs to be looked at, and one for the gateway.
        (start..=end).map(Ipv4Addr::from_bits).find(|address| *address != self.gateway && !taken.contains(address))
    }
}

fn usable(cidr: Ipv4Net, address: Ipv4Addr) -> bool {
    cidr.contains(&address) && address != cidr.network() && address != cidr.broadcast()
}

fn next(address: Ipv4Addr, by: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits().saturating_add(by))
}

#[cfg(test)]
mod tests {
    use nubium_api::AddressPool;

    use super::*;

    fn subnet(cidr: &str, gateway: Option<&str>, pool: Option<(&str, &str)>) -> Subnet {
        Subnet {
            name: "v4".into(),
            cidr: cidr.into(),
            gateway: gateway.map(String::from),
            pool: pool.map(|(start, end)| AddressPool { start: start.into(), end: end.into() }),
            dns_servers: None,
            dhcp: None,
        }
    }

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_left_out_is_the_first_address_and_all_the_others() {
        let range = Range::of(&subnet("10.10.0.0/29", None, None)).unwrap();
        assert_eq!(range.gateway, ip("10.10.0.1"));
        let mut taken = BTreeSet::new();
        while let Some(free) = range.free(&taken) {
            taken.insert(free);
        }
        let all: Vec<_> = (2..=6).map(|last| Ipv4Addr::new(10, 10, 0, last)).collect();
        assert_eq!(taken.into_iter().collect::<Vec<_>>(), all);
    }

    #[test]
    fn nonsense_is_refused_with_the_field_that_is_wrong() {
        assert!(matches!(Range::of(&subnet("10.10.0.0", None, None)), Err(SubnetError::Cidr(_))));
        let outside = Range::of(&subnet("10.10.0.0/24", Some("10.11.0.1"), None)).unwrap_err();
        assert!(outside.to_string().starts_with("gateway 10.11.0.1"), "{outside}");
        assert!(Range::of(&subnet("10.10.0.0/24", Some("10.10.0.255"), None)).is_err());
        let backwards = Range::of(&subnet("10.10.0.0/24", None, Some(("10.10.0.9", "10.10.0.5"))));
        assert!(matches!(backwards, Err(SubnetError::EmptyPool { .. })));
    }

    #[test]
    fn a_wished_address_may_be_outside_the_pool_but_not_outside_the_range() {
        let range = Range::of(&subnet("10.10.0.0/24", None, Some(("10.10.0.100", "10.10.0.199")))).unwrap();
        assert_eq!(range.wished("10.10.0.5"), Ok(ip("10.10.0.5")));
        assert_eq!(range.wished("10.10.1.5"), Err(Refusal::OutOfRange));
        assert_eq!(range.wished("10.10.0.0"), Err(Refusal::Edge));
        assert_eq!(range.wished("10.10.0.255"), Err(Refusal::Edge));
        assert_eq!(range.wished("10.10.0.1"), Err(Refusal::Gateway));
        assert_eq!(range.wished("10.10.0"), Err(Refusal::NotAnAddress));
        assert_eq!(range.free(&BTreeSet::new()), Some(ip("10.10.0.100")));
    }
}
