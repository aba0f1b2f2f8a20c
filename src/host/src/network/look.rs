//! One snapshot of a Network's namespace, and one of what the host has around all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Instant,
};

use ipnet::Ipv4Net;

use super::{
    bridge::MadeFrom,
    connections::Connection,
    error::{NetworkError, Result},
    firewall::{self, Backend, FirewallSeen},
    inside::{inside, on_host},
    kept::{Found, Kept},
    links::{self, LinkSeen, RouteSeen},
    listings::Listings,
    mac::MacAddr,
    names::{BRIDGE, LINK_PREFIX, Netns, OUT},
    neighbours::{self, Neighbours},
    netns,
    nft::{self, RulesSeen},
    notices::Sockets,
    resolvers,
    ruleset::{self, Guest},
    sysctl::{self, OpenSysctls},
    tap::{self, TapSeen},
    transit::Transit,
    uplink,
};

/// What is inside a Network's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSeen {
    /// The kernel's number of the namespace: another one means that it was made anew.
    pub inode: u64,
    /// Read off the bridge; `None` when there is no bridge or it says nothing.
    pub owner: Option<MadeFrom>,
    pub loopback_up: bool,
    pub bridge: Option<BridgeSeen>,
    /// Those of [`sysctl::NAMESPACE`] that exist on this kernel.
    pub sysctls: BTreeMap<String, String>,
    pub rules: Option<RulesSeen>,
    /// The guests that the rules in force let speak, by tap.
    pub guests: BTreeMap<String, Guest>,
    /// Who has which address, as the namespace was configured.
    pub neighbours: Neighbours,
    pub taps: BTreeMap<String, TapSeen>,
    pub out: Option<OutSeen>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeSeen {
    pub mac: Option<MacAddr>,
    pub mtu: u32,
    pub up: bool,
    pub stp: bool,
    pub multicast_snooping: bool,
    pub addresses: Vec<Ipv4Net>,
}

/// The inner end of the uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutSeen {
    pub mtu: u32,
    pub up: bool,
    pub addresses: Vec<Ipv4Net>,
    /// Whether the default route leaves by it.
    pub default_route: bool,
}

/// What the host's own namespace has for all Networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSeen {
    /// The host's ends of the uplinks, by link name.
    pub uplinks: BTreeMap<String, UplinkSeen>,
    /// Routes over links that are not ours: ranges this host uses for something else.
    pub foreign_routes: Vec<RouteSeen>,
    /// The host's own addresses.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// The DNS servers that the host asks, a stub on its loopback left out.
    pub resolvers: Vec<IpAddr>,
    pub host_firewall: HostFirewallSeen,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UplinkSeen {
    pub owner: Option<MadeFrom>,
    /// The namespace it leads to, by its alias.
    pub netns: Option<Netns>,
    pub mtu: u32,
    pub up: bool,
    pub addresses: Vec<Ipv4Net>,
    /// Ranges the host reaches over it, the /31 left out.
    pub routes: Vec<RouteSeen>,
}

/// What lets packets of Networks through the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFirewallSeen {
    pub rules: Option<RulesSeen>,
    pub forwarding: bool,
    pub firewall: FirewallSeen,
}

impl HostSeen {
    /// The links by which the host reaches what it has no other route to.
    pub fn default_links(&self) -> BTreeSet<String> {
        let default = self.foreign_routes.iter().filter(|route| route.destination.prefix_len() <= 1);
        default.filter_map(|route| route.link.clone()).collect()
    }

    /// The transit pairs in use, by whatever link.
    pub fn transits_taken(&self) -> BTreeSet<Transit> {
        self.uplinks.values().flat_map(|w| &w.addresses).map(|net| Transit::of(net.addr())).collect()
    }

    /// What this host uses `range` for, so that a route into a Network would take it away: other routes, its DNS servers,
    /// its gateways, its `connections`. Left out are the uplinks that lead to `but`, and connections from addresses of
    /// `transit`, which already go into a Network.
    pub fn range_user(
        &self,
        range: Ipv4Net,
        but: &Netns,
        transit: Ipv4Net,
        connections: &BTreeSet<Connection>,
    ) -> Option<RangeUser> {
        self.range_router(range, but).or_else(|| {
            let connection = |c: &&Connection| range.contains(&c.peer) && !transit.contains(&c.local);
            connections.iter().find(connection).map(|c| RangeUser::Connection(c.peer))
        })
    }

    /// As [`HostSeen::range_user`], without its connections: for a range whose route into the Network is there already.
    /// Default routes, and halves of the Internet as VPNs set them, overlap with nothing; their gateways count.
    pub fn range_router(&self, range: Ipv4Net, but: &Netns) -> Option<RangeUser> {
        let overlaps = |route: &RouteSeen| {
            let d = route.destination;
            d.prefix_len() > 1 && (d.contains(&range) || range.contains(&d))
        };
        for (name, uplink) in &self.uplinks {
            if uplink.netns.as_ref() != Some(but) && uplink.routes.iter().any(overlaps) {
                return Some(match &uplink.netns {
                    Some(netns) => RangeUser::Network(netns.clone()),
                    None => RangeUser::Link(name.clone()),
                });
            }
        }
        if let Some(route) = self.foreign_routes.iter().find(|route| overlaps(route)) {
            return Some(match &route.link {
                Some(link) => RangeUser::Link(format!("{link} ({})", route.destination)),
                None => RangeUser::Link(route.destination.to_string()),
            });
        }
        let resolver = self.resolvers.iter().find_map(|address| match address {
            IpAddr::V4(address) if range.contains(address) => Some(RangeUser::Resolver(*address)),
            _ => None,
        });
        let gateways = || self.foreign_routes.iter().filter_map(|route| route.gateway);
        resolver.or_else(|| gateways().find(|gateway| range.contains(gateway)).map(RangeUser::Gateway))
    }
}

/// What a host uses a range for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeUser {
    /// Another Network has it, by its `hostAccess`.
    Network(Netns),
    /// A link of the host, with the range it routes.
    Link(String),
    /// One of the DNS servers that the host asks.
    Resolver(Ipv4Addr),
    /// The next hop of a route of the host.
    Gateway(Ipv4Addr),
    /// An address of the cloud's API server.
    ApiServer(Ipv4Addr),
    /// Somebody with whom the host is connected.
    Connection(Ipv4Addr),
}

impl std::fmt::Display for RangeUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RangeUser::Network(netns) => {
                write!(f, "it reaches Network {}/{} there", netns.namespace(), netns.network())
            }
            RangeUser::Link(link) => write!(f, "it routes it by {link}"),
            RangeUser::Resolver(address) => write!(f, "its DNS server {address} is there"),
            RangeUser::Gateway(address) => write!(f, "its gateway {address} is there"),
            RangeUser::ApiServer(address) => write!(f, "the cloud's API server {address} is there"),
            RangeUser::Connection(address) => write!(f, "it is connected with {address}"),
        }
    }
}

/// What the rules of a Network's namespace say.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    rules: Option<RulesSeen>,
    guests: BTreeMap<String, Guest>,
}

/// What the host's own rules say.
#[derive(Debug, Clone)]
pub(super) struct HostFilter {
    rules: Option<RulesSeen>,
    firewall: FirewallSeen,
}

/// A look at a Network's namespace, and how to read again what the kernel does not notify of.
#[derive(Debug, Clone)]
pub(super) struct Looked {
    seen: NetworkSeen,
    sysctls: Arc<OpenSysctls>,
}

impl Looked {
    /// What a look would find now, as no change was notified; `None`: look.
    fn again(self) -> Result<Option<NetworkSeen>> {
        let Self { seen, sysctls } = self;
        Ok(sysctls.values()?.map(|sysctls| NetworkSeen { sysctls, ..seen }))
    }
}

pub(super) async fn look(
    place: &Netns,
    listings: Arc<Listings<Filter>>,
    kept: &Kept<Netns, Looked>,
) -> Result<Option<NetworkSeen>> {
    let Some(file) = netns::open(place)? else {
        kept.forget(place);
        return Ok(None);
    };
    let inode =
        netns::inode(&file).map_err(|source| NetworkError::EnterNamespace { name: place.to_string(), source })?;
    drop(file);
    let listen = match kept.find(place, inode) {
        Found::Same(last) => match last.again()? {
            Some(seen) => return Ok(Some(seen)),
            None => false,
        },
        Found::Changed => false,
        Found::Unheard => true,
    };
    let began = Instant::now();
    match look_inside(place, inode, listings, listen).await {
        Ok((looked, sockets)) => {
            if let Some(sockets) = sockets {
                kept.listen(place, inode, sockets)?;
            }
            kept.keep(place, inode, began, looked.clone());
            Ok(Some(looked.seen))
        }
        // Deleted since it was opened.
        Err(NetworkError::NoNamespace { .. }) => {
            kept.forget(place);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn look_inside(
    place: &Netns,
    inode: u64,
    listings: Arc<Listings<Filter>>,
    listen: bool,
) -> Result<(Looked, Option<Sockets>)> {
    let name = place.clone();
    inside(Some(place), move |handle| async move {
        // Before anything is looked at: what is changed meanwhile is notified. Where no socket can be opened, each look is taken.
        let sockets = if listen { Sockets::open().ok() } else { None };
        let links = links::list(&handle).await?;
        let routes = links::routes(&handle, &links).await?;
        let filter = listings.read(Some(&name), inode, |listing| {
            Ok(Filter { rules: nft::seen(listing), guests: ruleset::guests_seen(listing) })
        })?;
        let open = OpenSysctls::open()?;
        let sysctls = open.values()?.ok_or_else(sysctl::changed)?;
        let bridge = links.get(BRIDGE).filter(|link| link.kind == "bridge");
        let neighbours = match bridge {
            Some(bridge) => neighbours::configured(&handle, bridge.index).await?,
            None => Neighbours::new(),
        };
        let seen = NetworkSeen {
            inode,
            owner: bridge.and_then(|b| b.alias.as_deref()).and_then(MadeFrom::from_alias),
            loopback_up: links.get("lo").is_some_and(|lo| lo.up),
            bridge: bridge.map(|b| BridgeSeen {
                mac: b.mac,
                mtu: b.mtu,
                up: b.up,
                stp: b.stp,
                multicast_snooping: b.multicast_snooping,
                addresses: b.addresses.clone(),
            }),
            sysctls,
            rules: filter.rules,
            guests: filter.guests,
            neighbours,
            taps: links.values().filter(|l| l.name.starts_with(LINK_PREFIX)).map(|l| tap_seen(l, bridge)).collect(),
            out: links.get(OUT).map(|out| OutSeen {
                mtu: out.mtu,
                up: out.up,
                addresses: out.addresses.clone(),
                default_route: routes.iter().any(|r| r.destination.prefix_len() == 0 && r.link.as_deref() == Some(OUT)),
            }),
        };
        Ok((Looked { seen, sysctls: Arc::new(open) }, sockets))
    })
    .await
}

fn tap_seen(link: &LinkSeen, bridge: Option<&LinkSeen>) -> (String, TapSeen) {
    let on_bridge = bridge.is_some_and(|b| link.controller == Some(b.index));
    (link.name.clone(), TapSeen { mtu: link.mtu, up: link.up, on_bridge, held: tap::is_held(link) })
}

/// The host's own namespace is the one that this process lives in.
const OWN: u64 = 0;

pub(super) async fn look_host(listings: Arc<Listings<HostFilter>>, kept: &Kept<(), HostSeen>) -> Result<HostSeen> {
    match kept.find(&(), OWN) {
        Found::Same(seen) => {
            // Of these the kernel does not notify; nor of what the old iptables holds.
            let (resolvers, forwarding, legacy) =
                on_host(|| Ok((resolvers::resolvers()?, forwards()?, firewall::look_legacy()?))).await?;
            let mut host_firewall = HostFirewallSeen { forwarding, ..seen.host_firewall };
            host_firewall.firewall.iptables.retain(|(chain, _)| chain.backend != Backend::Legacy);
            host_firewall.firewall.iptables.extend(legacy);
            Ok(HostSeen { resolvers, host_firewall, ..seen })
        }
        found => {
            let (began, listen) = (Instant::now(), matches!(found, Found::Unheard));
            let (seen, sockets) = look_at_host(listings, listen).await?;
            if let Some(sockets) = sockets {
                kept.listen(&(), OWN, sockets)?;
            }
            kept.keep(&(), OWN, began, seen.clone());
            Ok(seen)
        }
    }
}

fn forwards() -> Result<bool> {
    Ok(sysctl::get(sysctl::FORWARDING)?.as_deref() == Some("1"))
}

async fn look_at_host(listings: Arc<Listings<HostFilter>>, listen: bool) -> Result<(HostSeen, Option<Sockets>)> {
    inside(None, move |handle| async move {
        let sockets = if listen { Sockets::open().ok() } else { None };
        let links = links::list(&handle).await?;
        let routes = links::routes(&handle, &links).await?;
        let filter = listings.read(None, OWN, |listing| {
            Ok(HostFilter { rules: nft::seen(listing), firewall: firewall::look(listing)? })
        })?;
        let mut firewall = filter.firewall;
        firewall.iptables.extend(firewall::look_legacy()?);
        let (ours, foreign): (Vec<_>, Vec<_>) =
            routes.into_iter().partition(|r| r.link.as_deref().is_some_and(|name| name.starts_with(LINK_PREFIX)));
        let uplinks = links
            .values()
            // Only links that we made as uplinks: a tap on its way to its namespace has no address and no such alias.
            .filter(|link| link.name.starts_with(LINK_PREFIX) && link.kind == "veth")
            .map(|link| {
                let alias = link.alias.as_deref();
                let seen = UplinkSeen {
                    owner: alias.and_then(MadeFrom::from_alias),
                    netns: alias.and_then(uplink::leads_to),
                    mtu: link.mtu,
                    up: link.up,
                    addresses: link.addresses.clone(),
                    routes: ours
                        .iter()
                        .filter(|r| r.link.as_ref() == Some(&link.name) && r.gateway.is_some())
                        .cloned()
                        .collect(),
                };
                (link.name.clone(), seen)
            })
            .collect();
        let seen = HostSeen {
            uplinks,
            foreign_routes: foreign,
            addresses: links.values().flat_map(|link| &link.addresses).map(Ipv4Net::addr).collect(),
            resolvers: resolvers::resolvers()?,
            host_firewall: HostFirewallSeen { rules: filter.rules, forwarding: forwards()?, firewall },
        };
        Ok((seen, sockets))
    })
    .await
}
