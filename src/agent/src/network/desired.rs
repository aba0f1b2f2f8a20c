//! The input: a Network and its Ports on this host, as validated values with every default filled in.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::Ipv4Net;
use nubium_api::{DEFAULT_MTU, EgressType, Network, Port};
use nubium_host::network::{Guest, MacAddr, MadeFrom, Netns, names};

/// What is the same for all Networks of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// This Host's name.
    pub host: String,
    /// Where the /31 of an uplink comes from (`--transit-cidr`).
    pub transit: Ipv4Net,
    /// The DNS servers of Networks that name none: the host's real ones.
    pub resolvers: Vec<IpAddr>,
    /// Ranges that `hostAccess` is given to although they are not private (`--host-access-allow`).
    pub host_access_allow: Vec<Ipv4Net>,
}

/// Ranges that are nobody's on the internet: private, shared, for measurements, for documentation. To any other one the
/// host may have traffic of its own, which a route into a Network would give to that Network's owner.
const PRIVATE: [Ipv4Net; 8] = [
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10),
    Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 2, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(198, 51, 100, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(203, 0, 113, 0), 24),
];

impl Settings {
    /// Whether the host may send what is for that range into a Network.
    fn may_reach(&self, range: &Ipv4Net) -> bool {
        PRIVATE.iter().chain(&self.host_access_allow).any(|allowed| allowed.contains(range))
    }
}

/// What this host shall have of one Network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    pub netns: Netns,
    pub owner: MadeFrom,
    /// False only after a live GET of this very UID showed it marked for deletion.
    pub present: bool,
    pub subnet: Ipv4Net,
    pub gateway: Ipv4Addr,
    pub mtu: u32,
    pub egress: bool,
    /// Wished, and given.
    pub host_access: bool,
    /// Wished, and not given: the range is not a private one, and the host's admin did not allow it.
    pub access_refused: bool,
    pub dhcp: bool,
    pub dns: Vec<Ipv4Addr>,
    pub transit: Ipv4Net,
    /// The Ports of Servers that are bound to this host, by tap. Those without a MAC and an address yet are not here.
    pub guests: BTreeMap<String, WantedGuest>,
    /// Ports that are bound here and are not ready to be used, by name, and why.
    pub waiting: BTreeMap<String, String>,
}

/// One Port's guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedGuest {
    /// The Port's name.
    pub port: String,
    pub guest: Guest,
    /// What DHCP calls it: its Server's name.
    pub hostname: Option<String>,
}

/// Why a Network cannot be made true on any host. Only another spec helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the Network has no {0} yet")]
    Unborn(&'static str),
    #[error("the Network has {0} subnets, and exactly one is possible for now")]
    Subnets(usize),
    #[error("{0} is not an IPv4 range")]
    Cidr(String),
    #[error("{0} is not an address of {1} that a gateway can have")]
    Gateway(String, Ipv4Net),
    #[error("{0} is not the IPv4 address of a DNS server")]
    Dns(String),
    #[error("the range {0} overlaps with {1}, which this host uses between itself and its Networks")]
    Transit(Ipv4Net, Ipv4Net),
}

impl Desired {
    /// `ports` are those that name this Network and whose Server is bound to this host.
    pub fn new(network: &Network, ports: &[Port], present: bool, settings: &Settings) -> Result<Self, Invalid> {
        let meta = &network.metadata;
        let namespace = meta.namespace.as_deref().ok_or(Invalid::Unborn("namespace"))?;
        let name = meta.name.as_deref().ok_or(Invalid::Unborn("name"))?;
        let uid = meta.uid.clone().ok_or(Invalid::Unborn("UID"))?;
        let generation = meta.generation.ok_or(Invalid::Unborn("generation"))?;
        if !present {
            return Ok(Self::gone(Netns::new(namespace, name), MadeFrom { uid, generation }, settings.transit));
        }
        let [subnet] = network.spec.subnets.as_slice() else {
            return Err(Invalid::Subnets(network.spec.subnets.len()));
        };
        let range: Ipv4Net = subnet.cidr.parse().map_err(|_| Invalid::Cidr(subnet.cidr.clone()))?;
        let range = range.trunc();
        if range.prefix_len() > 30 {
            return Err(Invalid::Cidr(subnet.cidr.clone()));
        }
        let gateway = match &subnet.gateway {
            None => Ipv4Addr::from_bits(range.network().to_bits() + 1),
            Some(text) => text
                .parse()
                .ok()
                .filter(|a| range.contains(a) && *a != range.network() && *a != range.broadcast())
                .ok_or_else(|| Invalid::Gateway(text.clone(), range))?,
        };
        let dns = match &subnet.dns_servers {
            Some(servers) => servers
                .iter()
                .map(|text| text.parse().map_err(|_| Invalid::Dns(text.clone())))
                .collect::<Result<_, _>>()?,
            None => settings
                .resolvers
                .iter()
                .filter_map(|a| if let IpAddr::V4(v4) = a { Some(*v4) } else { None })
                .collect(),
        };
        let egress = network.spec.egress.type_ == EgressType::NAT;
        let allowed = settings.may_reach(&range);
        let host_access = network.spec.host_access && allowed;
        let transit = settings.transit;
        if (egress || host_access) && (transit.contains(&range) || range.contains(&transit)) {
            return Err(Invalid::Transit(range, transit));
        }
        let mtu = network.status.as_ref().and_then(|s| s.mtu).unwrap_or(DEFAULT_MTU);
        let (guests, waiting) = guests(ports, range, gateway);
        Ok(Desired {
            netns: Netns::new(namespace, name),
            owner: MadeFrom { uid, generation },
            present,
            subnet: range,
            gateway,
            mtu: u32::try_from(mtu).ok().filter(|mtu| (576..=65535).contains(mtu)).unwrap_or(DEFAULT_MTU as u32),
            egress,
            host_access,
            access_refused: network.spec.host_access && !allowed,
            dhcp: subnet.dhcp.unwrap_or(true),
            dns,
            transit,
            guests,
            waiting,
        })
    }

    /// The input that nothing of it be here. It needs no more than a name and a UID, so that a Network whose spec
    /// cannot be made true can still be deleted.
    fn gone(netns: Netns, owner: MadeFrom, transit: Ipv4Net) -> Self {
        Desired {
            netns,
            owner,
            present: false,
            subnet: Ipv4Net::default(),
            gateway: Ipv4Addr::UNSPECIFIED,
            mtu: DEFAULT_MTU as u32,
            egress: false,
            host_access: false,
            access_refused: false,
            dhcp: false,
            dns: Vec::new(),
            transit,
            guests: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// The host's end of the uplink.
    pub fn uplink(&self) -> String {
        names::uplink(&self.owner.uid)
    }

    /// Whether the namespace has an uplink at all.
    pub fn wants_uplink(&self) -> bool {
        self.present && (self.egress || self.host_access)
    }
}

fn guests(
    ports: &[Port],
    range: Ipv4Net,
    gateway: Ipv4Addr,
) -> (BTreeMap<String, WantedGuest>, BTreeMap<String, String>) {
    let mut guests = BTreeMap::new();
    let mut waiting = BTreeMap::new();
    for port in ports {
        let name = port.metadata.name.clone().unwrap_or_default();
        let status = port.status.clone().unwrap_or_default();
        let mac = status.mac_address.as_deref().map(str::parse::<MacAddr>);
        let addresses: Result<Vec<Ipv4Addr>, _> = status.addresses.iter().map(|a| a.address.parse()).collect();
        match (&port.metadata.uid, mac, addresses) {
            (Some(uid), Some(Ok(mac)), Ok(mut addresses)) if !addresses.is_empty() => {
                addresses.sort();
                addresses.dedup();
                // A guest with the gateway's address, or with one of another Network, is not let speak.
                if let Some(bad) = addresses.iter().find(|a| !range.contains(*a) || **a == gateway) {
                    waiting.insert(name, format!("its address {bad} is not one that a Server can have in {range}"));
                    continue;
                }
                let hostname = status.server.or_else(|| port.spec.made_for.as_ref().map(|m| m.server.clone()));
                let guest = Guest { mac, addresses };
                guests.insert(names::tap(uid), WantedGuest { port: name, guest, hostname });
            }
            (_, None, _) => drop(waiting.insert(name, "it has no MAC address yet".into())),
            (_, Some(Ok(_)), Ok(_)) => drop(waiting.insert(name, "it has no address yet".into())),
            _ => drop(waiting.insert(name, "its status holds a MAC or an address that is none".into())),
        }
    }
    (guests, waiting)
}
