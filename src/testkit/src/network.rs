//! A host's networks and its DHCP without a kernel: what an agent is tested against, and what a simulated host runs.
//!
//! The world is the very structures that a look returns; a test changes them as somebody on the machine would, and
//! reads off them what came of it. Clones share one world.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use ipnet::Ipv4Net;
use nubium_host::network::{
    Bridge, BridgeSeen, Connection, Guest, HostFirewallSeen, HostSeen, IptablesChain, Neighbours, Netns, NetworkError,
    NetworkSeen, Networks, OutSeen, Result, RouteSeen, RulesSeen, Ruleset, Tap, TapFound, TapSeen, Transit, Uplink,
    UplinkSeen, names::BRIDGE, sysctl,
};
use nubium_netd::{Dhcp, DhcpError, DhcpSeen, Network};

/// Everything on the simulated host that Networks are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetWorld {
    pub namespaces: BTreeMap<Netns, NetworkSeen>,
    pub host: HostSeen,
    /// With whom the host is connected.
    pub connections: BTreeSet<Connection>,
    /// Taps that are still in the host's own namespace.
    pub taps: BTreeSet<String>,
    /// Taps that a process has open.
    pub held: BTreeSet<String>,
    pub netd_runs: bool,
    pub served: BTreeMap<String, Network>,
    /// Namespace numbers given out so far.
    inodes: u64,
    /// In which namespace, by its number, netd listens.
    pub listens: BTreeMap<String, u64>,
}

/// One simulated host; it is its [`Networks`] and its [`Dhcp`] at once.
#[derive(Debug, Clone)]
pub struct SimNetworks {
    world: Arc<Mutex<NetWorld>>,
    failures: Arc<Mutex<VecDeque<usize>>>,
    connection_looks: Arc<AtomicUsize>,
}

impl Default for SimNetworks {
    fn default() -> Self {
        let host_firewall = HostFirewallSeen { rules: None, forwarding: false, firewall: Default::default() };
        let host = HostSeen {
            uplinks: BTreeMap::new(),
            foreign_routes: Vec::new(),
            addresses: BTreeSet::new(),
            resolvers: vec!["192.0.2.53".parse().expect("an address")],
            host_firewall,
        };
        let world = NetWorld {
            namespaces: BTreeMap::new(),
            host,
            connections: BTreeSet::new(),
            taps: BTreeSet::new(),
            held: BTreeSet::new(),
            netd_runs: false,
            served: BTreeMap::new(),
            inodes: 0,
            listens: BTreeMap::new(),
        };
        SimNetworks { world: Arc::new(Mutex::new(world)), failures: Arc::default(), connection_looks: Arc::default() }
    }
}

impl SimNetworks {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The world as it is, to read or to change behind everybody's back.
    pub fn world(&self) -> MutexGuard<'_, NetWorld> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often somebody asked with whom the host is connected.
    pub fn connection_looks(&self) -> usize {
        self.connection_looks.load(Ordering::Relaxed)
    }

    /// Of the changes from now on, the one after `successes` fails and does nothing.
    pub fn fail_after(&self, successes: usize) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push_back(successes);
    }

    /// A change begins: the world to make it in, or the failure that was asked for.
    fn begin(&self, what: &str) -> std::result::Result<MutexGuard<'_, NetWorld>, String> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match failures.front_mut() {
            Some(0) => {
                failures.pop_front();
                Err(format!("asked to fail: {what}"))
            }
            Some(left) => {
                *left -= 1;
                Ok(self.world())
            }
            None => Ok(self.world()),
        }
    }

    fn change(&self, what: &str) -> Result<MutexGuard<'_, NetWorld>> {
        self.begin(what).map_err(|output| NetworkError::Command { command: what.into(), output })
    }

    fn dhcp(&self, what: &str) -> std::result::Result<MutexGuard<'_, NetWorld>, DhcpError> {
        self.begin(what).map_err(|text| DhcpError::Stop(std::io::Error::other(text)))
    }
}

impl NetWorld {
    fn inside(&mut self, netns: &Netns) -> Result<&mut NetworkSeen> {
        self.namespaces.get_mut(netns).ok_or_else(|| NetworkError::NoNamespace { name: netns.to_string() })
    }

    /// The host's end goes, and with it the inner end and the routes.
    fn remove_uplink(&mut self, name: &str) {
        let Some(uplink) = self.host.uplinks.remove(name) else { return };
        if let Some(inside) = uplink.netns.and_then(|netns| self.namespaces.get_mut(&netns)) {
            inside.out = None;
        }
    }

    /// netd looks again: it listens where the namespace of that name is now.
    fn listen(&mut self) {
        let NetWorld { namespaces, served, listens, netd_runs, .. } = self;
        listens.clear();
        if *netd_runs {
            let number = |name: &String| Netns::parse(name).and_then(|netns| namespaces.get(&netns)).map(|n| n.inode);
            listens.extend(served.keys().filter_map(|name| number(name).map(|inode| (name.clone(), inode))));
        }
    }
}

/// The guests in a ruleset's two sets.
fn guests_of(rules: &Ruleset) -> BTreeMap<String, Guest> {
    let elements = |set: &str| -> Vec<Vec<String>> {
        let line =
            rules.text.lines().find(|line| line.trim_start().starts_with(&format!("set {set} "))).unwrap_or_default();
        let inner = line.split_once("elements = {").map_or("", |(_, rest)| rest).split('}').next().unwrap_or_default();
        inner
            .split(',')
            .map(|element| element.split(" . ").map(|part| part.trim().trim_matches('"').to_string()).collect())
            .filter(|parts: &Vec<String>| parts.len() > 1)
            .collect()
    };
    let mut guests: BTreeMap<String, Guest> = BTreeMap::new();
    for parts in elements("macs") {
        if let Ok(mac) = parts[1].parse() {
            let macs = &mut guests.entry(parts[0].clone()).or_default().macs;
            macs.push(mac);
            macs.sort();
        }
    }
    for parts in elements("addresses") {
        if let (Some(guest), Some(Ok(address))) =
            (guests.get_mut(&parts[0]), parts.get(2).map(|a| a.parse::<Ipv4Addr>()))
        {
            guest.addresses.push(address);
            guest.addresses.sort();
            guest.addresses.dedup();
        }
    }
    guests
}

fn in_force(rules: &Ruleset) -> Option<RulesSeen> {
    Some(RulesSeen { digest: rules.digest(), intact: true })
}

impl Networks for SimNetworks {
    async fn list(&self) -> Result<Vec<Netns>> {
        Ok(self.world().namespaces.keys().cloned().collect())
    }

    async fn look(&self, netns: &Netns) -> Result<Option<NetworkSeen>> {
        Ok(self.world().namespaces.get(netns).cloned())
    }

    async fn taps(&self) -> Result<Vec<TapFound>> {
        let world = self.world();
        let found = |name: &String, netns: Option<&Netns>| TapFound { name: name.clone(), netns: netns.cloned() };
        let inside = world.namespaces.iter().flat_map(|(netns, seen)| seen.taps.keys().map(move |name| (name, netns)));
        let inside = inside.map(|(name, netns)| found(name, Some(netns)));
        Ok(world.taps.iter().map(|name| found(name, None)).chain(inside).collect())
    }

    async fn held_taps(&self) -> Result<BTreeSet<String>> {
        Ok(self.world().held.clone())
    }

    async fn look_host(&self) -> Result<HostSeen> {
        Ok(self.world().host.clone())
    }

    async fn connections(&self) -> Result<BTreeSet<Connection>> {
        self.connection_looks.fetch_add(1, Ordering::Relaxed);
        Ok(self.world().connections.clone())
    }

    async fn changed(&self) -> Option<Netns> {
        std::future::pending().await
    }

    async fn create_namespace(&self, netns: &Netns) -> Result<()> {
        let mut world = self.change("create a namespace")?;
        world.inodes += 1;
        let new = NetworkSeen {
            inode: world.inodes,
            owner: None,
            loopback_up: false,
            bridge: None,
            sysctls: sysctl::NAMESPACE.iter().map(|(name, _)| (name.to_string(), "inherited".to_string())).collect(),
            rules: None,
            guests: BTreeMap::new(),
            neighbours: Neighbours::new(),
            taps: BTreeMap::new(),
            out: None,
        };
        world.namespaces.entry(netns.clone()).or_insert(new);
        Ok(())
    }

    async fn set_sysctls(&self, netns: &Netns) -> Result<()> {
        let mut world = self.change("set sysctls")?;
        for (name, value) in sysctl::NAMESPACE {
            world.inside(netns)?.sysctls.insert(name.to_string(), value.to_string());
        }
        Ok(())
    }

    async fn set_bridge(&self, netns: &Netns, bridge: &Bridge) -> Result<()> {
        let mut world = self.change("set the bridge")?;
        let inside = world.inside(netns)?;
        let Bridge { owner, mac, mtu, gateway } = bridge.clone();
        inside.owner = Some(owner);
        inside.loopback_up = true;
        let addresses = vec![gateway];
        inside.bridge =
            Some(BridgeSeen { mac: Some(mac), mtu, up: true, stp: false, multicast_snooping: false, addresses });
        Ok(())
    }

    async fn set_neighbours(&self, netns: &Netns, neighbours: &Neighbours) -> Result<()> {
        let mut world = self.change("tell the neighbours")?;
        let inside = world.inside(netns)?;
        if inside.bridge.is_none() {
            return Err(NetworkError::NoLink { name: BRIDGE.into() });
        }
        inside.neighbours.clone_from(neighbours);
        Ok(())
    }

    async fn replace_rules(&self, netns: &Netns, rules: &Ruleset) -> Result<()> {
        let mut world = self.change("replace the rules")?;
        let inside = world.inside(netns)?;
        inside.guests = guests_of(rules);
        inside.rules = in_force(rules);
        Ok(())
    }

    async fn set_uplink(&self, netns: &Netns, uplink: &Uplink) -> Result<()> {
        let mut world = self.change("set the uplink")?;
        let Uplink { name, owner, transit, mtu } = uplink.clone();
        let pair = |seen: &UplinkSeen| seen.addresses.iter().any(|net| Transit::of(net.addr()) == transit);
        if let Some((by, _)) = world.host.uplinks.iter().find(|(other, seen)| **other != name && pair(seen)) {
            return Err(NetworkError::TransitTaken { pair: transit.to_string(), by: by.clone() });
        }
        let inside = world.inside(netns)?;
        let had_inner = inside.out.is_some();
        inside.out = Some(OutSeen { mtu, up: true, addresses: vec![transit.inner_net()], default_route: true });
        // Without its other end, it is a new pair, and no route leads over it yet.
        let routes = world.host.uplinks.get(&name).filter(|_| had_inner).map(|w| w.routes.clone()).unwrap_or_default();
        let seen = UplinkSeen {
            owner: Some(owner),
            netns: Some(netns.clone()),
            mtu,
            up: true,
            addresses: vec![transit.host_net()],
            routes,
        };
        world.host.uplinks.insert(name, seen);
        Ok(())
    }

    async fn delete_uplink(&self, name: &str) -> Result<()> {
        self.change("delete an uplink")?.remove_uplink(name);
        Ok(())
    }

    async fn add_host_route(&self, netns: &Netns, subnet: Ipv4Net, uplink: &Uplink, transits: Ipv4Net) -> Result<()> {
        let mut world = self.change("add a route")?;
        if let Some(by) = world.host.range_user(subnet, netns, transits, &world.connections) {
            return Err(NetworkError::RangeInUse { range: subnet.to_string(), by: by.to_string() });
        }
        let seen = world
            .host
            .uplinks
            .get_mut(&uplink.name)
            .ok_or_else(|| NetworkError::NoLink { name: uplink.name.clone() })?;
        seen.routes.retain(|route| route.destination != subnet);
        let gateway = Some(uplink.transit.inner());
        seen.routes.push(RouteSeen { destination: subnet, gateway, link: Some(uplink.name.clone()) });
        Ok(())
    }

    async fn delete_host_route(&self, subnet: Ipv4Net, uplink: &str) -> Result<()> {
        let mut world = self.change("delete a route")?;
        if let Some(seen) = world.host.uplinks.get_mut(uplink) {
            seen.routes.retain(|route| route.destination != subnet);
        }
        Ok(())
    }

    async fn set_host_firewall(&self, rules: &Ruleset) -> Result<()> {
        self.change("set the host_firewall")?.host.host_firewall.rules = in_force(rules);
        Ok(())
    }

    async fn enable_forwarding(&self) -> Result<()> {
        self.change("enable forwarding")?.host.host_firewall.forwarding = true;
        Ok(())
    }

    async fn allow_in_firewall(&self, chain: &IptablesChain) -> Result<()> {
        let mut world = self.change("tell the firewall")?;
        for (other, in_place) in &mut world.host.host_firewall.firewall.iptables {
            *in_place |= other == chain;
        }
        Ok(())
    }

    async fn create_tap(&self, tap: &Tap) -> Result<()> {
        self.change("create a tap")?.taps.insert(tap.name.clone());
        Ok(())
    }

    async fn move_tap(&self, name: &str, netns: &Netns, mtu: u32) -> Result<()> {
        let mut world = self.change("move a tap")?;
        let here = world.taps.remove(name);
        let inside = world.inside(netns)?;
        if !here && !inside.taps.contains_key(name) {
            return Err(NetworkError::NoLink { name: name.into() });
        }
        inside.taps.insert(name.into(), TapSeen { mtu, up: true, on_bridge: inside.bridge.is_some(), held: true });
        Ok(())
    }

    async fn attach_tap(&self, name: &str, netns: &Netns, mtu: u32) -> Result<()> {
        let mut world = self.change("attach a tap")?;
        let inside = world.inside(netns)?;
        let on_bridge = inside.bridge.is_some();
        let tap = inside.taps.get_mut(name).ok_or_else(|| NetworkError::NoLink { name: name.into() })?;
        *tap = TapSeen { mtu, up: true, on_bridge, held: tap.held };
        Ok(())
    }

    async fn delete_tap(&self, name: &str, netns: &Netns) -> Result<()> {
        let mut world = self.change("delete a tap")?;
        world.taps.remove(name);
        if let Some(inside) = world.namespaces.get_mut(netns) {
            inside.taps.remove(name);
        }
        Ok(())
    }

    async fn delete_link(&self, name: &str) -> Result<()> {
        let mut world = self.change("delete a link")?;
        world.taps.remove(name);
        world.remove_uplink(name);
        Ok(())
    }

    async fn delete_idle_tap(&self, name: &str, netns: &Netns) -> Result<()> {
        let mut world = self.change("delete an idle tap")?;
        world.inside(netns)?.taps.retain(|tap, seen| tap != name || seen.held);
        Ok(())
    }

    async fn delete_namespace(&self, netns: &Netns) -> Result<()> {
        let mut world = self.change("delete a namespace")?;
        world.namespaces.remove(netns);
        world.host.uplinks.retain(|_, uplink| uplink.netns.as_ref() != Some(netns));
        Ok(())
    }

    async fn teardown_host(&self) -> Result<()> {
        let mut world = self.change("tear down")?;
        world.taps.clear();
        world.host.uplinks.clear();
        world.host.host_firewall.rules = None;
        world.host.host_firewall.forwarding = false;
        for (_, in_place) in &mut world.host.host_firewall.firewall.iptables {
            *in_place = false;
        }
        Ok(())
    }
}

impl Dhcp for SimNetworks {
    async fn look(&self, namespace: &str) -> std::result::Result<DhcpSeen, DhcpError> {
        let world = self.world();
        Ok(DhcpSeen {
            running: world.netd_runs,
            configured: world.served.get(namespace).cloned(),
            serving: world.listens.get(namespace).copied().filter(|_| world.netd_runs),
        })
    }

    async fn start(&self) -> std::result::Result<(), DhcpError> {
        let mut world = self.dhcp("start netd")?;
        world.netd_runs = true;
        world.listen();
        Ok(())
    }

    async fn serve(&self, network: &Network) -> std::result::Result<(), DhcpError> {
        let mut world = self.dhcp("serve a network")?;
        world.served.insert(network.namespace.clone(), network.clone());
        world.listen();
        Ok(())
    }

    async fn forget(&self, namespace: &str) -> std::result::Result<(), DhcpError> {
        let mut world = self.dhcp("forget a network")?;
        world.served.remove(namespace);
        world.listen();
        Ok(())
    }

    async fn stop(&self) -> std::result::Result<(), DhcpError> {
        let mut world = self.dhcp("stop netd")?;
        world.netd_runs = false;
        world.served.clear();
        world.listen();
        Ok(())
    }
}
