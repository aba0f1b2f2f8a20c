//! The input: a Network and its Ports on this host, as validated values with every default filled in.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;
use nubium_api::{DEFAULT_MTU, EgressType, Port, SubnetError, SubnetRange};
use nubium_host::network::{Guest, HostSeen, MacAddr, MadeFrom, Netns, names};

use super::Input;

/// What is the same for all Networks of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// This Host's name.
    pub host: String,
    /// Where the /31 of an uplink comes from (`--transit-cidr`).
    pub transit: Ipv4Net,
    /// Where the cloud's API server is, if not on this machine.
    pub api_server: Vec<Ipv4Addr>,
}

/// Whether the host reaches a Network's guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostAccess {
    No,
    Yes,
    /// It is asked for, and which ranges may have it is not known: a route that is there stays, and none is added.
    Unknown,
    /// It is asked for, and the cloud's admin does not allow it for this range: the text for the Network's owner.
    Refused(String),
}

/// Which DNS servers DHCP names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsServers {
    /// Those of the spec.
    Named(Vec<Ipv4Addr>),
    /// Those that the host asks, as far as guests can reach them.
    OfHost,
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
    pub host_access: HostAccess,
    pub dhcp: bool,
    pub dns: DnsServers,
    pub transit: Ipv4Net,
    /// See [`Settings::api_server`].
    pub api_server: Vec<Ipv4Addr>,
    /// The Ports of Servers that are bound to this host, by tap. Those without a MAC and an address yet are not here.
    pub guests: BTreeMap<String, WantedGuest>,
    /// Ports that are bound here and are not ready to be used, by name, and why.
    pub waiting: BTreeMap<String, String>,
    /// The taps of all Ports that are bound here.
    pub taps: BTreeSet<String>,
}

/// One Port's guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedGuest {
    /// The Port's name.
    pub port: String,
    pub mac: MacAddr,
    /// Its own, in order.
    pub addresses: Vec<Ipv4Addr>,
    /// What may be sent through its tap.
    pub guest: Guest,
    /// What DHCP calls it: its Server's name.
    pub hostname: Option<String>,
}

/// Why a Network cannot be made true on any host. Only another spec helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the Network has no {0} yet")]
    Unborn(&'static str),
    #[error("the Network has {0} subnets, and at most one is possible for now")]
    Subnets(usize),
    #[error(transparent)]
    Subnet(#[from] SubnetError),
    #[error("the range {0} overlaps with {1}, which this host uses between itself and its Networks")]
    Transit(Ipv4Net, Ipv4Net),
}

impl Desired {
    pub fn new(input: &Input<'_>, settings: &Settings) -> Result<Self, Invalid> {
        let Input { network, ports, present, host_access } = *input;
        let meta = &network.metadata;
        let namespace = meta.namespace.as_deref().ok_or(Invalid::Unborn("namespace"))?;
        let name = meta.name.as_deref().ok_or(Invalid::Unborn("name"))?;
        let uid = meta.uid.clone().ok_or(Invalid::Unborn("UID"))?;
        let generation = meta.generation.ok_or(Invalid::Unborn("generation"))?;
        if !present {
            let (netns, owner) = (Netns::new(namespace, name), MadeFrom { uid, generation });
            return Ok(Self::gone(netns, owner, settings.transit, taps(ports)));
        }
        if network.spec.subnets.len() > 1 {
            return Err(Invalid::Subnets(network.spec.subnets.len()));
        }
        let subnet = network.subnet();
        let subnet_range = subnet.range()?;
        let range = subnet_range.cidr;
        let gateway = subnet_range.gateway;
        let dns = subnet_range.dns_servers.clone().map_or(DnsServers::OfHost, DnsServers::Named);
        let egress = network.spec.egress.type_ == EgressType::NAT;
        let host_access = match (network.spec.host_access, host_access) {
            (false, _) => HostAccess::No,
            (true, None) => HostAccess::Unknown,
            (true, Some(ranges)) => ranges.refusal(range).map_or(HostAccess::Yes, HostAccess::Refused),
        };
        let transit = settings.transit;
        let uplink = egress || matches!(host_access, HostAccess::Yes | HostAccess::Unknown);
        if uplink && (transit.contains(&range) || range.contains(&transit)) {
            return Err(Invalid::Transit(range, transit));
        }
        let mtu = network.status.as_ref().and_then(|s| s.mtu).unwrap_or(DEFAULT_MTU);
        let (guests, waiting) = guests(ports, &subnet_range);
        Ok(Desired {
            netns: Netns::new(namespace, name),
            owner: MadeFrom { uid, generation },
            present,
            subnet: range,
            gateway,
            mtu: u32::try_from(mtu).ok().filter(|mtu| (576..=65535).contains(mtu)).unwrap_or(DEFAULT_MTU as u32),
            egress,
            host_access,
            dhcp: subnet.dhcp.unwrap_or(true),
            dns,
            transit,
            api_server: settings.api_server.clone(),
            guests,
            waiting,
            taps: taps(ports),
        })
    }

    /// The input that nothing of it be here. It needs no more than a name and a UID, so that a Network whose spec
    /// cannot be made true can still be deleted.
    fn gone(netns: Netns, owner: MadeFrom, transit: Ipv4Net, taps: BTreeSet<String>) -> Self {
        Desired {
            netns,
            owner,
            present: false,
            subnet: Ipv4Net::default(),
            gateway: Ipv4Addr::UNSPECIFIED,
            mtu: DEFAULT_MTU as u32,
            egress: false,
            host_access: HostAccess::No,
            dhcp: false,
            dns: DnsServers::OfHost,
            transit,
            api_server: Vec::new(),
            guests: BTreeMap::new(),
            waiting: BTreeMap::new(),
            taps,
        }
    }

    /// The host's end of the uplink.
    pub fn uplink(&self) -> String {
        names::uplink(&self.owner.uid)
    }

    /// Whether the namespace has an uplink at all.
    pub fn wants_uplink(&self) -> bool {
        self.present && (self.egress || self.wants_host_route())
    }

    /// Whether the host is to reach the subnet and has no route there, so that one would be new.
    pub fn lacks_host_route(&self, host: &HostSeen) -> bool {
        let uplink = host.uplinks.get(&self.uplink());
        let there = uplink.is_some_and(|seen| seen.routes.iter().any(|route| route.destination == self.subnet));
        self.present && self.wants_host_route() && !there
    }

    fn wants_host_route(&self) -> bool {
        matches!(self.host_access, HostAccess::Yes | HostAccess::Unknown)
    }
}

fn guests(ports: &[Port], range: &SubnetRange) -> (BTreeMap<String, WantedGuest>, BTreeMap<String, String>) {
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
                if let Some(bad) = addresses.iter().find(|address| range.refusal(**address).is_some()) {
                    let range = range.cidr;
                    waiting.insert(name, format!("its address {bad} is not one that a Server can have in {range}"));
                    continue;
                }
                let hostname = status.server.or_else(|| port.spec.made_for.as_ref().map(|m| m.server.clone()));
                let guest = Guest { macs: vec![mac], addresses: addresses.clone() };
                guests.insert(names::tap(uid), WantedGuest { port: name, mac, addresses, guest, hostname });
            }
            (_, None, _) => drop(waiting.insert(name, "it has no MAC address yet".into())),
            (_, Some(Ok(_)), Ok(_)) => drop(waiting.insert(name, "it has no address yet".into())),
            _ => drop(waiting.insert(name, "its status holds a MAC or an address that is none".into())),
        }
    }
    share_among_nics(&mut guests);
    (guests, waiting)
}

/// A Server with several NICs on the Network may use the MACs and addresses of all of them on each.
fn share_among_nics(guests: &mut BTreeMap<String, WantedGuest>) {
    let mut servers: BTreeMap<String, Guest> = BTreeMap::new();
    for (server, wanted) in guests.values().filter_map(|wanted| Some((wanted.hostname.clone()?, wanted))) {
        let shared = servers.entry(server).or_default();
        shared.macs.push(wanted.mac);
        shared.addresses.extend(&wanted.addresses);
    }
    for shared in servers.values_mut() {
        shared.macs.sort();
        shared.macs.dedup();
        shared.addresses.sort();
        shared.addresses.dedup();
    }
    for wanted in guests.values_mut() {
        if let Some(shared) = wanted.hostname.as_ref().and_then(|server| servers.get(server)) {
            wanted.guest.clone_from(shared);
        }
    }
}

fn taps(ports: &[Port]) -> BTreeSet<String> {
    ports.iter().filter_map(|port| port.metadata.uid.as_deref()).map(names::tap).collect()
}
