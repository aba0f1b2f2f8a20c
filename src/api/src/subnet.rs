//! The addresses of a subnet: which there are, which may be given out. The one place where a Subnet is interpreted: the
//! controllers that give addresses out and the agents that filter by them must read it alike.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::Ipv4Net;

use crate::{AddressPool, Subnet};

/// Why a subnet cannot be used, for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    #[error("no range was taken for it yet")]
    NoRange,
    #[error("cidr {0} is not an IPv4 range such as 10.10.0.0/24, with room for a gateway and a Server")]
    Cidr(String),
    #[error("{what} {text} is not an address of {cidr} that a machine can have")]
    Outside { what: &'static str, text: String, cidr: Ipv4Net },
    #[error("the pool's start {start} comes after its end {end}")]
    EmptyPool { start: Ipv4Addr, end: Ipv4Addr },
    #[error("dnsServers: {0} is not an IPv4 address")]
    DnsServer(String),
}

/// A subnet, read and with its defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetRange {
    pub cidr: Ipv4Net,
    /// The Network's own address.
    pub gateway: Ipv4Addr,
    /// The DNS servers that it names; `None` for those that the host uses.
    pub dns_servers: Option<Vec<Ipv4Addr>>,
}

/// What is given out unasked of a subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    gateway: Ipv4Addr,
    /// First and last of each run.
    pools: Vec<(Ipv4Addr, Ipv4Addr)>,
}

/// Why an address that somebody asked for cannot be theirs, whoever else has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressRefusal {
    NotAnAddress,
    OutOfRange,
    /// The range's first or last address, which no machine can have.
    Edge,
    Gateway,
}

impl Subnet {
    /// Reads the subnet, filling in what it leaves out.
    pub fn range(&self) -> Result<SubnetRange, SubnetError> {
        let text = self.cidr.as_ref().ok_or(SubnetError::NoRange)?;
        let cidr = text.parse::<Ipv4Net>().ok().filter(|cidr| cidr.prefix_len() <= 30);
        let cidr = cidr.ok_or_else(|| SubnetError::Cidr(text.clone()))?.trunc();
        let first = Ipv4Addr::from_bits(cidr.network().to_bits() + 1);
        let gateway = self.gateway.as_deref().map_or(Ok(first), |text| usable_in(cidr, "gateway", text))?;
        let dns = |text: &String| text.parse().map_err(|_| SubnetError::DnsServer(text.clone()));
        let dns_servers = match &self.dns_servers {
            None => None,
            Some(servers) => Some(servers.iter().map(dns).collect::<Result<_, _>>()?),
        };
        Ok(SubnetRange { cidr, gateway, dns_servers })
    }

    /// The addresses of its range that are given out unasked. A host needs to know none of this: what is wrong with it is
    /// no reason to cut off the guests that have an address.
    pub fn allocation(&self) -> Result<Allocation, SubnetError> {
        let SubnetRange { cidr, gateway, .. } = self.range()?;
        let given = self.allocation_pools.as_deref().or(self.pool.as_ref().map(std::slice::from_ref));
        let read = |pool: &AddressPool| {
            let start = usable_in(cidr, "the pool's start", &pool.start)?;
            let end = usable_in(cidr, "the pool's end", &pool.end)?;
            if start > end { Err(SubnetError::EmptyPool { start, end }) } else { Ok((start, end)) }
        };
        let pools = match given {
            None | Some([]) => {
                let (first, last) = (cidr.network().to_bits() + 1, cidr.broadcast().to_bits() - 1);
                vec![(Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(last))]
            }
            Some(pools) => pools.iter().map(read).collect::<Result<_, _>>()?,
        };
        Ok(Allocation { gateway, pools })
    }
}

impl SubnetRange {
    /// The address that somebody asked for, if a Server can have it.
    pub fn requested(&self, text: &str) -> Result<Ipv4Addr, AddressRefusal> {
        let address = text.parse().map_err(|_| AddressRefusal::NotAnAddress)?;
        match self.refusal(address) {
            Some(refusal) => Err(refusal),
            None => Ok(address),
        }
    }

    /// Why no Server can have this address.
    #[must_use]
    pub fn refusal(&self, address: Ipv4Addr) -> Option<AddressRefusal> {
        if !self.cidr.contains(&address) {
            Some(AddressRefusal::OutOfRange)
        } else if !usable(self.cidr, address) {
            Some(AddressRefusal::Edge)
        } else {
            (address == self.gateway).then_some(AddressRefusal::Gateway)
        }
    }
}

impl Allocation {
    /// The first address of the pools that is not taken.
    #[must_use]
    pub fn free(&self, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
        let all = self.pools.iter().flat_map(|(start, end)| start.to_bits()..=end.to_bits());
        // At most one more than are taken needs to be looked at, and one for the gateway.
        all.map(Ipv4Addr::from_bits).find(|address| *address != self.gateway && !taken.contains(address))
    }
}

fn usable_in(cidr: Ipv4Net, what: &'static str, text: &str) -> Result<Ipv4Addr, SubnetError> {
    let address = text.parse().ok().filter(|address| usable(cidr, *address));
    address.ok_or_else(|| SubnetError::Outside { what, text: text.to_owned(), cidr })
}

fn usable(cidr: Ipv4Net, address: Ipv4Addr) -> bool {
    cidr.contains(&address) && address != cidr.network() && address != cidr.broadcast()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(start: &str, end: &str) -> AddressPool {
        AddressPool { start: start.into(), end: end.into() }
    }

    fn subnet(cidr: &str) -> Subnet {
        serde_json::from_value(serde_json::json!({"name": "v4", "cidr": cidr})).unwrap()
    }

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn all(range: &Allocation) -> Vec<Ipv4Addr> {
        let mut taken = BTreeSet::new();
        while let Some(free) = range.free(&taken) {
            taken.insert(free);
        }
        taken.into_iter().collect()
    }

    #[test]
    fn what_is_left_out_is_the_first_address_and_all_the_others() {
        let small = subnet("10.10.0.0/29");
        assert_eq!(small.range().unwrap().gateway, ip("10.10.0.1"));
        let others: Vec<_> = (2..=6).map(|last| Ipv4Addr::new(10, 10, 0, last)).collect();
        assert_eq!(all(&small.allocation().unwrap()), others);
        assert_eq!(subnet("10.10.0.7/29").range(), small.range(), "a range that was stored unmasked");
        assert_eq!(
            subnet("010.10.0.0/29").range(),
            small.range(),
            "and one that was stored before its digits were looked at"
        );
    }

    #[test]
    fn the_old_pool_means_a_list_of_one() {
        let old = Subnet { pool: Some(pool("10.10.0.4", "10.10.0.6")), ..subnet("10.10.0.0/24") };
        let new = Subnet { allocation_pools: Some(vec![pool("10.10.0.4", "10.10.0.6")]), ..subnet("10.10.0.0/24") };
        assert_eq!(old.allocation(), new.allocation());
        let two = vec![pool("10.10.0.200", "10.10.0.201"), pool("10.10.0.4", "10.10.0.4")];
        let allocation = Subnet { allocation_pools: Some(two), ..subnet("10.10.0.0/24") }.allocation().unwrap();
        assert_eq!(allocation.free(&BTreeSet::new()), Some(ip("10.10.0.200")), "in the order of the spec");
        assert_eq!(all(&allocation), [ip("10.10.0.4"), ip("10.10.0.200"), ip("10.10.0.201")]);
    }

    #[test]
    fn nonsense_is_refused_with_the_field_that_is_wrong() {
        for cidr in ["10.10.0.0", "10.0.0.0/33", "10.0.0.0/31", "10.0.0.1/32", "fd00::/64"] {
            assert_eq!(subnet(cidr).range(), Err(SubnetError::Cidr(cidr.into())), "{cidr}");
        }
        for gateway in ["10.11.0.1", "10.10.0.255", "10.10.0.0", "10.10.0.01"] {
            let refused = Subnet { gateway: Some(gateway.into()), ..subnet("10.10.0.0/24") }.range().unwrap_err();
            assert!(refused.to_string().starts_with(&format!("gateway {gateway}")), "{refused}");
        }
        let dns = Subnet { dns_servers: Some(vec!["1.2.3.999".into()]), ..subnet("10.10.0.0/24") };
        assert_eq!(dns.range(), Err(SubnetError::DnsServer("1.2.3.999".into())));
        let backwards = Subnet { pool: Some(pool("10.10.0.9", "10.10.0.5")), ..subnet("10.10.0.0/24") };
        assert!(matches!(backwards.allocation(), Err(SubnetError::EmptyPool { .. })));
        assert!(backwards.range().is_ok(), "guests that have an address keep it");
    }

    #[test]
    fn a_requested_address_may_be_outside_the_pools_but_not_outside_the_range() {
        let pools = Some(vec![pool("10.10.0.100", "10.10.0.199")]);
        let subnet = Subnet { allocation_pools: pools, ..subnet("10.10.0.0/24") };
        let range = subnet.range().unwrap();
        assert_eq!(range.requested("10.10.0.5"), Ok(ip("10.10.0.5")));
        assert_eq!(range.requested("10.10.1.5"), Err(AddressRefusal::OutOfRange));
        assert_eq!(range.requested("10.10.0.0"), Err(AddressRefusal::Edge));
        assert_eq!(range.requested("10.10.0.255"), Err(AddressRefusal::Edge));
        assert_eq!(range.requested("10.10.0.1"), Err(AddressRefusal::Gateway));
        assert_eq!(range.requested("10.10.0"), Err(AddressRefusal::NotAnAddress));
        assert_eq!(subnet.allocation().unwrap().free(&BTreeSet::new()), Some(ip("10.10.0.100")));
    }
}
