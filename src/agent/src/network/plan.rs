//! The difference between the input and the host, as an ordered list of steps.
//!
//! Order, when it is to be present: the namespace, its rules before anything can speak, the bridge, its neighbours, the host's host_firewall before
//! an uplink leads to it, the uplink, who may use it, the taps, DHCP. When it is not: DHCP lets go, the uplink, the namespace.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::Ipv4Net;
use nubium_host::network::{
    Bridge, Guest, HostSeen, IptablesChain, NamespaceRules, Neighbours, Netns, NetworkSeen, RangeUser, RulesSeen,
    Ruleset, TapSeen, Transit, Uplink, UplinkSeen, host_firewall_rules, names, sysctl, transit,
};
use nubium_netd as netd;

use super::{
    desired::{Desired, DnsServers, HostAccess},
    observe::Seen,
    refusal::{self, Refusal},
};

/// What was found in place of what should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    /// Nothing.
    Missing,
    /// Something of ours that somebody changed.
    Damaged,
    /// Ours, whole, and made for an earlier input.
    Outdated,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    CreateNamespace {
        netns: Netns,
    },
    /// The sysctls that have another value.
    SetSysctls {
        netns: Netns,
        wrong: Vec<String>,
    },
    ReplaceRules {
        netns: Netns,
        rules: Ruleset,
        found: Found,
    },
    SetBridge {
        netns: Netns,
        bridge: Bridge,
        found: Found,
    },
    SetNeighbours {
        netns: Netns,
        neighbours: Neighbours,
    },
    SetHostFirewall {
        rules: Ruleset,
        found: Found,
    },
    EnableForwarding,
    AllowInFirewall {
        chain: IptablesChain,
    },
    DeleteUplink {
        name: String,
    },
    SetUplink {
        netns: Netns,
        uplink: Uplink,
        found: Found,
    },
    DeleteHostRoute {
        subnet: Ipv4Net,
        uplink: String,
    },
    AddHostRoute {
        netns: Netns,
        subnet: Ipv4Net,
        uplink: Uplink,
        /// Where all uplinks have their addresses.
        transits: Ipv4Net,
    },
    AttachTap {
        netns: Netns,
        tap: String,
        mtu: u32,
    },
    /// Its guest has ended, and it belongs to nobody here.
    DeleteIdleTap {
        netns: Netns,
        tap: String,
    },
    StartDhcp,
    ServeDhcp {
        network: netd::Network,
        found: Found,
    },
    ForgetDhcp {
        netns: Netns,
    },
    DeleteNamespace {
        netns: Netns,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub refusals: Vec<Refusal>,
}

impl Plan {
    pub fn new(want: &Desired, seen: &Seen) -> Self {
        let mut plan = Plan::default();
        match &seen.network {
            Some(there) if foreign(want, there) => plan.beside_another(want, there),
            Some(there) if want.present && newer(want, there).is_some() => {
                plan.refusals.extend(newer(want, there).map(|there| Refusal::OlderGeneration { there }));
                return plan;
            }
            _ => {}
        }
        if !plan.refusals.is_empty() {
            return plan;
        }
        match (want.present, &seen.network) {
            (true, None) if want.guests.is_empty() && want.waiting.is_empty() => {}
            (true, there) => plan.make(want, there.as_ref(), seen),
            (false, Some(there)) if foreign(want, there) => {}
            (false, there) => plan.unmake(want, there.as_ref(), seen),
        }
        plan
    }

    /// A namespace of this name that was made for another UID: with guests it is left alone; without, it is only a
    /// name, and is taken over when we need it.
    fn beside_another(&mut self, want: &Desired, there: &NetworkSeen) {
        if let Some(owner) = there.owner.as_ref().filter(|_| want.present && !taps_in_use(want, there).is_empty()) {
            self.refusals.push(Refusal::HeldByStranger { uid: owner.uid.clone() });
        }
    }

    fn make(&mut self, want: &Desired, there: Option<&NetworkSeen>, seen: &Seen) {
        let netns = &want.netns;
        if there.is_none() {
            self.steps.push(Step::CreateNamespace { netns: netns.clone() });
        }
        let wrong = match there {
            None => sysctl::NAMESPACE.iter().map(|(name, _)| name.to_string()).collect(),
            Some(there) => wrong_sysctls(&there.sysctls),
        };
        if !wrong.is_empty() {
            self.steps.push(Step::SetSysctls { netns: netns.clone(), wrong });
        }
        let guests = guests(want, there);
        let rules = rules(want, &guests, &seen.host);
        if let Some(found) = compare_rules(&rules, there.and_then(|t| t.rules.as_ref())) {
            self.steps.push(Step::ReplaceRules { netns: netns.clone(), rules, found });
        }
        self.bridge(want, there);
        let neighbours = neighbours(want, there, &guests);
        if there.map_or(!neighbours.is_empty(), |there| there.neighbours != neighbours) {
            self.steps.push(Step::SetNeighbours { netns: netns.clone(), neighbours });
        }
        self.uplink(want, there, seen);
        for (tap, state) in there.iter().flat_map(|t| &t.taps) {
            if is_idle(want, tap, state) {
                self.steps.push(Step::DeleteIdleTap { netns: netns.clone(), tap: tap.clone() });
            } else if !state.works(want.mtu) {
                self.steps.push(Step::AttachTap { netns: netns.clone(), tap: tap.clone(), mtu: want.mtu });
            }
        }
        self.dhcp(want, there, seen);
    }

    fn bridge(&mut self, want: &Desired, there: Option<&NetworkSeen>) {
        let bridge = Bridge {
            owner: want.owner.clone(),
            mac: names::bridge_mac(&want.owner.uid),
            mtu: want.mtu,
            gateway: Ipv4Net::new_assert(want.gateway, want.subnet.prefix_len()),
        };
        let found = match there.and_then(|t| t.bridge.as_ref().map(|b| (t, b))) {
            None => Found::Missing,
            Some((t, b)) => {
                let inherited = t.owner.as_ref().is_some_and(|owner| *owner != want.owner);
                let as_desired = b.mtu == want.mtu && b.addresses == [bridge.gateway] && b.mac == Some(bridge.mac);
                let sound = t.loopback_up && b.up && !b.stp && !b.multicast_snooping;
                match (inherited, as_desired && sound && t.owner.is_some()) {
                    (true, _) => Found::Outdated,
                    (false, true) => return,
                    (false, false) => Found::Damaged,
                }
            }
        };
        self.steps.push(Step::SetBridge { netns: want.netns.clone(), bridge, found });
    }

    fn uplink(&mut self, want: &Desired, there: Option<&NetworkSeen>, all: &Seen) {
        let host = &all.host;
        let name = want.uplink();
        // Those that lead here and are not ours: of a Network that had this name before.
        for (other, _) in
            host.uplinks.iter().filter(|(other, uplink)| **other != name && uplink.netns.as_ref() == Some(&want.netns))
        {
            self.steps.push(Step::DeleteUplink { name: other.clone() });
        }
        if let HostAccess::Refused(why) = &want.host_access {
            self.refusals.push(Refusal::HostAccessRefused { why: why.clone() });
        }
        let seen = host.uplinks.get(&name);
        if !want.wants_uplink() {
            if seen.is_some() {
                self.steps.push(Step::DeleteUplink { name });
            }
            return;
        }
        let Some(transit) = self.transit(want, seen, host) else { return };
        self.host_firewall(want, host);
        let uplink = Uplink { name: name.clone(), owner: want.owner.clone(), transit, mtu: want.mtu };
        if let Some(found) = compare_uplink(&uplink, want, seen, there) {
            self.steps.push(Step::SetUplink { netns: want.netns.clone(), uplink: uplink.clone(), found });
        }
        self.host_routes(want, seen, all, &uplink);
    }

    /// The host's own way into the Network.
    fn host_routes(&mut self, want: &Desired, seen: Option<&UplinkSeen>, all: &Seen, uplink: &Uplink) {
        let host = &all.host;
        let routes: Vec<_> = seen.iter().flat_map(|s| &s.routes).collect();
        let there = routes.iter().find(|route| route.destination == want.subnet);
        let user = match there {
            Some(_) => host.range_router(want.subnet, &want.netns),
            None => host.range_user(want.subnet, &want.netns, want.transit, &all.connections),
        };
        let api_server = want.api_server.iter().find(|address| want.subnet.contains(*address));
        let user = api_server.map(|address| RangeUser::ApiServer(*address)).or(user);
        let (stays, comes) = match (&want.host_access, user) {
            (HostAccess::No | HostAccess::Refused(_), _) => (false, false),
            (HostAccess::Yes | HostAccess::Unknown, Some(by)) => {
                self.refusals.push(Refusal::RangeTaken { range: want.subnet, by });
                (false, false)
            }
            (HostAccess::Yes, None) => (true, there.is_none_or(|route| route.gateway != Some(uplink.transit.inner()))),
            (HostAccess::Unknown, None) => {
                if there.is_none() {
                    self.refusals.push(Refusal::HostAccessUnknown);
                }
                (true, false)
            }
        };
        for route in routes.iter().filter(|route| !(stays && route.destination == want.subnet)) {
            self.steps.push(Step::DeleteHostRoute { subnet: route.destination, uplink: uplink.name.clone() });
        }
        if comes {
            let (netns, subnet) = (want.netns.clone(), want.subnet);
            let transits = want.transit;
            self.steps.push(Step::AddHostRoute { netns, subnet, uplink: uplink.clone(), transits });
        }
    }

    /// The pair it has, or a free one.
    fn transit(&mut self, want: &Desired, seen: Option<&UplinkSeen>, host: &HostSeen) -> Option<Transit> {
        let cidr = want.transit;
        if let Some(by) = host.foreign_routes.iter().find(|route| {
            let d = route.destination;
            d.prefix_len() > 1 && (d.contains(&cidr) || cidr.contains(&d))
        }) {
            let link = by.link.as_deref().unwrap_or("no link");
            self.refusals.push(Refusal::NoTransit {
                because: format!("this host already routes {} by {link}, which overlaps with {cidr}", by.destination),
            });
            return None;
        }
        let has = seen
            .and_then(|uplink| uplink.addresses.iter().find(|net| cidr.contains(&net.addr())))
            .map(|net| Transit::of(net.addr()))
            .filter(|pair| {
                host.uplinks.values().filter(|w| w.addresses.iter().any(|n| Transit::of(n.addr()) == *pair)).count()
                    == 1
            });
        let pair = has.or_else(|| transit::choose(cidr, &want.owner.uid, &host.transits_taken()));
        if pair.is_none() {
            self.refusals.push(Refusal::NoTransit { because: format!("every pair of {cidr} is in use") });
        }
        pair
    }

    /// What all uplinks share on the host.
    fn host_firewall(&mut self, want: &Desired, host: &HostSeen) {
        let rules = host_firewall_rules(want.transit, &host.default_links());
        if let Some(found) = compare_rules(&rules, host.host_firewall.rules.as_ref()) {
            self.steps.push(Step::SetHostFirewall { rules, found });
        }
        // The host answers for itself without forwarding; only egress passes through it.
        if !want.egress {
            return;
        }
        if !host.host_firewall.forwarding {
            self.steps.push(Step::EnableForwarding);
        }
        for (chain, in_place) in &host.host_firewall.firewall.iptables {
            if !in_place {
                self.steps.push(Step::AllowInFirewall { chain: chain.clone() });
            }
        }
        self.refusals.extend(refusal::blocked(&host.host_firewall.firewall));
    }

    fn dhcp(&mut self, want: &Desired, there: Option<&NetworkSeen>, seen: &Seen) {
        let wanted = served(want, there, seen);
        if want.dhcp && want.egress && want.dns == DnsServers::OfHost && dns_servers(want, &seen.host).is_empty() {
            let resolvers: Vec<_> = resolvers(&seen.host).collect();
            if !resolvers.is_empty() {
                self.refusals.push(Refusal::NoDns { resolvers });
            }
        }
        let Some(network) = wanted else {
            if seen.dhcp.configured.is_some() {
                self.steps.push(Step::ForgetDhcp { netns: want.netns.clone() });
            }
            return;
        };
        if !seen.dhcp.running {
            self.steps.push(Step::StartDhcp);
        }
        let found = match &seen.dhcp.configured {
            None => Found::Missing,
            Some(other) if *other != network => Found::Outdated,
            // It listens elsewhere, or nowhere: in a namespace that had this name, or to a bridge that is gone.
            Some(_) if seen.dhcp.running && seen.dhcp.serving != there.map(|t| t.inode) => Found::Damaged,
            Some(_) if there.is_none() => Found::Damaged,
            Some(_) => return,
        };
        self.steps.push(Step::ServeDhcp { network, found });
    }

    fn unmake(&mut self, want: &Desired, there: Option<&NetworkSeen>, seen: &Seen) {
        let taps: Vec<String> = there.map(|there| taps_in_use(want, there)).unwrap_or_default();
        if !taps.is_empty() {
            self.refusals.push(Refusal::InUse { taps });
            return;
        }
        if seen.dhcp.configured.is_some() {
            self.steps.push(Step::ForgetDhcp { netns: want.netns.clone() });
        }
        for (name, uplink) in &seen.host.uplinks {
            if *name == want.uplink() || (there.is_some() && uplink.netns.as_ref() == Some(&want.netns)) {
                self.steps.push(Step::DeleteUplink { name: name.clone() });
            }
        }
        if there.is_some() {
            self.steps.push(Step::DeleteNamespace { netns: want.netns.clone() });
        }
    }
}

/// Whether a tap is left over: no process has it open, as QEMU does from before it comes into the namespace until its guest
/// ends, and no Port here is its owner, whose Server could be started anew.
fn is_idle(want: &Desired, tap: &str, seen: &TapSeen) -> bool {
    !seen.held && !want.taps.contains(tap)
}

fn taps_in_use(want: &Desired, there: &NetworkSeen) -> Vec<String> {
    there.taps.iter().filter(|(tap, seen)| !is_idle(want, tap, seen)).map(|(tap, _)| tap.clone()).collect()
}

fn foreign(want: &Desired, there: &NetworkSeen) -> bool {
    there.owner.as_ref().is_some_and(|owner| owner.uid != want.owner.uid)
}

fn newer(want: &Desired, there: &NetworkSeen) -> Option<i64> {
    let owner = there.owner.as_ref()?;
    (owner.uid == want.owner.uid && owner.generation > want.owner.generation).then_some(owner.generation)
}

fn wrong_sysctls(seen: &BTreeMap<String, String>) -> Vec<String> {
    sysctl::NAMESPACE
        .iter()
        .filter(|(name, value)| seen.get(*name).is_some_and(|seen| seen != value))
        .map(|(name, _)| name.to_string())
        .collect()
}

/// Guests whose Port is not bound here (or not seen) and whose tap is: they run, so they go on talking. An entry
/// goes with its tap, never for want of an object.
fn kept<'a>(want: &Desired, there: Option<&'a NetworkSeen>) -> BTreeMap<String, &'a Guest> {
    there
        .iter()
        .flat_map(|t| t.guests.iter().filter(|(tap, _)| t.taps.get(*tap).is_some_and(|seen| !is_idle(want, tap, seen))))
        .filter(|(tap, _)| !want.guests.contains_key(*tap))
        .map(|(tap, guest)| (tap.clone(), guest))
        .collect()
}

/// All that may speak, by tap.
fn guests(want: &Desired, there: Option<&NetworkSeen>) -> BTreeMap<String, Guest> {
    let mut guests: BTreeMap<String, Guest> =
        want.guests.iter().map(|(tap, wanted)| (tap.clone(), wanted.guest.clone())).collect();
    guests.extend(kept(want, there).into_iter().map(|(tap, guest)| (tap, guest.clone())));
    guests
}

fn rules(want: &Desired, guests: &BTreeMap<String, Guest>, host: &HostSeen) -> Ruleset {
    let guests = guests.clone();
    let host_access = match want.host_access {
        HostAccess::Yes => true,
        HostAccess::Unknown => is_routed(want, host),
        HostAccess::No | HostAccess::Refused(_) => false,
    };
    NamespaceRules { subnet: want.subnet, guests, egress: want.egress, host_access }.render()
}

/// Whether the host has a route into the Network.
fn is_routed(want: &Desired, host: &HostSeen) -> bool {
    host.uplinks.get(&want.uplink()).is_some_and(|uplink| uplink.routes.iter().any(|r| r.destination == want.subnet))
}

/// The DNS servers that DHCP names. Of the host's own, only those that a guest reaches: not through a Network that nothing
/// leaves, not those in the Network's own range, and not the host itself, which guests do not reach.
fn dns_servers(want: &Desired, host: &HostSeen) -> Vec<Ipv4Addr> {
    match &want.dns {
        DnsServers::Named(servers) => servers.clone(),
        DnsServers::OfHost if !want.egress => Vec::new(),
        DnsServers::OfHost => {
            let out_of_reach = |address: &Ipv4Addr| {
                want.subnet.contains(address) || want.transit.contains(address) || host.addresses.contains(address)
            };
            resolvers(host).filter(|address| !out_of_reach(address)).collect()
        }
    }
}

fn resolvers(host: &HostSeen) -> impl Iterator<Item = Ipv4Addr> {
    host.resolvers.iter().filter_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    })
}

/// Who has which address. Of a guest whose Port is not here, it is what was set before, as far as that guest may use it.
fn neighbours(want: &Desired, there: Option<&NetworkSeen>, guests: &BTreeMap<String, Guest>) -> Neighbours {
    let kept: Vec<&Guest> = guests.iter().filter(|(tap, _)| !want.guests.contains_key(*tap)).map(|(_, g)| g).collect();
    let mut all = Neighbours::new();
    for guest in &kept {
        if let [mac] = guest.macs.as_slice() {
            all.extend(guest.addresses.iter().map(|address| (*address, *mac)));
        }
    }
    for (address, mac) in there.iter().flat_map(|there| &there.neighbours) {
        if kept.iter().any(|guest| guest.macs.contains(mac) && guest.addresses.contains(address)) {
            all.insert(*address, *mac);
        }
    }
    all.extend(want.guests.values().flat_map(|wanted| wanted.addresses.iter().map(|address| (*address, wanted.mac))));
    all
}

fn compare_rules(want: &Ruleset, seen: Option<&RulesSeen>) -> Option<Found> {
    match seen {
        None => Some(Found::Missing),
        Some(RulesSeen { intact: false, .. }) => Some(Found::Damaged),
        Some(RulesSeen { digest, .. }) if *digest != want.digest() => Some(Found::Outdated),
        Some(_) => None,
    }
}

fn compare_uplink(
    uplink: &Uplink,
    want: &Desired,
    seen: Option<&UplinkSeen>,
    there: Option<&NetworkSeen>,
) -> Option<Found> {
    let (Some(outer), Some(inner)) = (seen, there.and_then(|t| t.out.as_ref())) else { return Some(Found::Missing) };
    let outer_good =
        outer.up && outer.addresses == [uplink.transit.host_net()] && outer.netns.as_ref() == Some(&want.netns);
    let inner_good = inner.up && inner.default_route && inner.addresses == [uplink.transit.inner_net()];
    if !outer_good || !inner_good {
        return Some(Found::Damaged);
    }
    let current = outer.mtu == uplink.mtu && inner.mtu == uplink.mtu && outer.owner.as_ref() == Some(&uplink.owner);
    (!current).then_some(Found::Outdated)
}

/// What netd shall serve, kept guests included.
fn served(want: &Desired, there: Option<&NetworkSeen>, seen: &Seen) -> Option<netd::Network> {
    if !want.dhcp {
        return None;
    }
    let mut leases: Vec<netd::Lease> = want
        .guests
        .values()
        .flat_map(|wanted| {
            // A client has one address by DHCP; more are for its own configuration.
            wanted.addresses.first().map(|address| netd::Lease {
                mac: netd::Mac(wanted.mac.0),
                address: *address,
                hostname: wanted.hostname.clone(),
            })
        })
        .collect();
    let dns = dns_servers(want, &seen.host);
    let kept = kept(want, there);
    for lease in seen.dhcp.configured.iter().flat_map(|n| &n.leases) {
        if kept.values().any(|guest| guest.macs.iter().any(|mac| mac.0 == lease.mac.0))
            && !leases.iter().any(|l| l.mac == lease.mac)
        {
            leases.push(lease.clone());
        }
    }
    leases.sort_by_key(|lease| (lease.address, lease.mac));
    Some(netd::Network {
        namespace: want.netns.to_string(),
        bridge: names::BRIDGE.to_string(),
        gateway: want.gateway,
        default_route: want.egress,
        prefix: want.subnet.prefix_len(),
        dns,
        mtu: want.mtu.min(u32::from(u16::MAX)) as u16,
        leases,
    })
}
