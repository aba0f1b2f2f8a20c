//! Which addresses the host will fetch from for a tenant.
//!
//! A tenant who names an address has the *host* knock there: on services that listen on loopback only, on a cloud's
//! metadata address, on other tenants' servers. So those are refused, unless the host's admin allowed the range
//! (`--image-http-allow`). Addresses that carry an IPv4 address are judged by what they carry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::IpNet;

/// Why an address is not fetched from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    Loopback,
    LinkLocal,
    ThisHost,
    TenantNetwork,
    Special,
}

impl Forbidden {
    /// Completes "… is".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "a link-local address",
            Self::ThisHost => "an address of the host itself",
            Self::TenantNetwork => "an address in a network of this cloud",
            Self::Special => "not a public or private unicast address",
        }
    }
}

/// The ranges an admin allowed although they would be refused, and the names of the links that lead to tenants.
#[derive(Debug, Clone)]
pub struct AddressPolicy {
    pub allow: Vec<IpNet>,
    /// Links whose name begins so are ways to tenants' networks.
    pub tenant_links: &'static str,
}

impl Default for AddressPolicy {
    fn default() -> Self {
        Self { allow: Vec::new(), tenant_links: "nub" }
    }
}

/// The host's own addresses, each with its link's name.
pub type OwnAddresses = Vec<(IpAddr, String)>;

impl AddressPolicy {
    /// Judges an address as of now: by its range, by the host's addresses, by the link that leads there. Blocking, short.
    pub fn check(&self, address: IpAddr) -> Result<(), Forbidden> {
        self.judge(address, &own_addresses(), way_from(address))
    }

    /// The decision, given the host's addresses and the one it would speak from. Pure.
    pub fn judge(&self, address: IpAddr, own: &OwnAddresses, from: Option<IpAddr>) -> Result<(), Forbidden> {
        let bare = carried(address);
        if self.allow.iter().any(|net| net.contains(&bare)) {
            return Ok(());
        }
        by_range(bare)?;
        if own.iter().any(|(mine, _)| *mine == bare) || from == Some(bare) {
            return Err(Forbidden::ThisHost);
        }
        let to_tenants = |(mine, link): &(IpAddr, String)| Some(*mine) == from && link.starts_with(self.tenant_links);
        if own.iter().any(to_tenants) { Err(Forbidden::TenantNetwork) } else { Ok(()) }
    }
}

/// The IPv4 address inside an IPv6 address that is mapped, compatible or translated (64:ff9b::/96); else the address.
fn carried(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, c, d, e, f, high, low] = v6.segments();
    let [[w, x], [y, z]] = [high.to_be_bytes(), low.to_be_bytes()];
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0] if high != 0 => Ipv4Addr::new(w, x, y, z).into(),
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => Ipv4Addr::new(w, x, y, z).into(),
        _ => address,
    }
}

fn by_range(address: IpAddr) -> Result<(), Forbidden> {
    match address {
        IpAddr::V4(v4) => by_v4_range(v4),
        IpAddr::V6(v6) => by_v6_range(v6),
    }
}

fn by_v4_range(address: Ipv4Addr) -> Result<(), Forbidden> {
    match address.octets() {
        [127, ..] => Err(Forbidden::Loopback),
        [169, 254, ..] => Err(Forbidden::LinkLocal),
        // This network, shared (100.64/10, where some clouds keep metadata), protocol assignments, benchmarks, multicast, reserved.
        [0, ..] | [192, 0, 0, _] | [198, 18..=19, ..] | [224..=255, ..] => Err(Forbidden::Special),
        [100, 64..=127, ..] => Err(Forbidden::Special),
        _ => Ok(()),
    }
}

fn by_v6_range(address: Ipv6Addr) -> Result<(), Forbidden> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Err(Forbidden::Loopback),
        [0xfe80..=0xfeff, ..] => Err(Forbidden::LinkLocal), // and the old site-local range
        [0xfd00, 0x0ec2, ..] => Err(Forbidden::LinkLocal),  // where a large cloud keeps its metadata
        // Unspecified and compatible, discard, Teredo, 6to4, local translation, multicast.
        [0, ..] | [0x0100, ..] | [0x2001, 0, ..] | [0x2002, ..] | [0x64, 0xff9b, ..] | [0xff00..=0xffff, ..] => {
            Err(Forbidden::Special)
        }
        _ => Ok(()),
    }
}

fn own_addresses() -> OwnAddresses {
    let links = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let addressed = links.filter_map(|link| {
        let address = link.address?;
        let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::V4(v4.ip()),
            (_, Some(v6)) => IpAddr::V6(v6.ip()),
            _ => return None,
        };
        Some((ip, link.interface_name))
    });
    addressed.collect()
}

/// The address the host would speak to `address` from; connecting a UDP socket asks the routes and sends nothing.
fn way_from(address: IpAddr) -> Option<IpAddr> {
    let any: SocketAddr =
        if address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect((address, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(address: &str, allow: &[&str]) -> Result<(), Forbidden> {
        let fence =
            AddressPolicy { allow: allow.iter().map(|net| net.parse().unwrap()).collect(), ..AddressPolicy::default() };
        let own = vec![
            ("192.0.2.7".parse().unwrap(), "eth0".to_owned()),
            ("10.255.0.0".parse().unwrap(), "nubabc".to_owned()),
        ];
        let from = if address.starts_with("10.10.") { "10.255.0.0" } else { "192.0.2.7" };
        fence.judge(address.parse().unwrap(), &own, Some(from.parse().unwrap()))
    }

    #[test]
    fn the_hosts_own_world_is_refused() {
        for (address, why) in [
            ("127.0.0.1", Forbidden::Loopback),
            ("127.255.0.9", Forbidden::Loopback),
            ("::1", Forbidden::Loopback),
            ("169.254.169.254", Forbidden::LinkLocal),
            ("fe80::1", Forbidden::LinkLocal),
            ("fd00:ec2::254", Forbidden::LinkLocal),
            ("192.0.2.7", Forbidden::ThisHost),
            ("10.255.0.0", Forbidden::ThisHost),
            ("10.10.0.5", Forbidden::TenantNetwork),
            ("0.0.0.0", Forbidden::Special),
            ("100.100.100.200", Forbidden::Special),
            ("224.0.0.1", Forbidden::Special),
            ("255.255.255.255", Forbidden::Special),
            ("::", Forbidden::Special),
            ("ff02::1", Forbidden::Special),
            ("2002:7f00:1::", Forbidden::Special),
            ("::ffff:127.0.0.1", Forbidden::Loopback),
            ("::127.0.0.1", Forbidden::Loopback),
            ("64:ff9b::169.254.169.254", Forbidden::LinkLocal),
            ("::ffff:192.0.2.7", Forbidden::ThisHost),
        ] {
            assert_eq!(judged(address, &[]), Err(why), "{address}");
        }
    }

    #[test]
    fn the_rest_of_the_world_is_not() {
        for address in
            ["1.1.1.1", "192.168.1.10", "10.0.0.1", "172.16.0.1", "2606:4700::1111", "fd12:3456::1", "::ffff:1.1.1.1"]
        {
            assert_eq!(judged(address, &[]), Ok(()), "{address}");
        }
    }

    #[test]
    fn an_admin_can_allow_a_range_and_nothing_beside_it() {
        assert_eq!(judged("127.0.0.1", &["127.0.0.0/8"]), Ok(()));
        assert_eq!(judged("::ffff:127.0.0.1", &["127.0.0.0/8"]), Ok(()));
        assert_eq!(judged("::1", &["127.0.0.0/8"]), Err(Forbidden::Loopback));
        assert_eq!(judged("10.10.0.5", &["10.10.0.0/24"]), Ok(()));
    }

    #[test]
    fn the_machine_this_runs_on_is_seen() {
        assert_eq!(AddressPolicy::default().check("127.0.0.1".parse().unwrap()), Err(Forbidden::Loopback));
        for (own, _) in own_addresses() {
            assert!(AddressPolicy::default().check(own).is_err(), "{own}");
        }
    }
}
