//! Links, addresses and routes over netlink, in whichever namespace the handle was opened.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd, BorrowedFd},
};

use futures::TryStreamExt;
use ipnet::Ipv4Net;
use netlink_packet_route::{
    address::AddressAttribute,
    link::{InfoBridge, InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};

use super::{
    error::{NetworkError, Result},
    mac::MacAddr,
};

/// One link, as the kernel describes it, with its IPv4 addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSeen {
    pub index: u32,
    pub name: String,
    /// `bridge`, `veth`, `tun`, …; empty for physical ones.
    pub kind: String,
    pub mac: Option<MacAddr>,
    pub mtu: u32,
    pub up: bool,
    /// Whether something is at its other end: for a tap, a process that has it open.
    pub carrier: bool,
    /// What we, or somebody, wrote on it.
    pub alias: Option<String>,
    /// The index of the bridge it is a port of.
    pub controller: Option<u32>,
    pub addresses: Vec<Ipv4Net>,
    /// On a bridge only: whether spanning tree or multicast snooping is on.
    pub stp: bool,
    pub multicast_snooping: bool,
}

/// One IPv4 route of any table but the local one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteSeen {
    pub destination: Ipv4Net,
    pub gateway: Option<Ipv4Addr>,
    /// The link it leaves by, if it names one.
    pub link: Option<String>,
}

pub(super) fn failed(operation: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> NetworkError {
    let operation = operation.into();
    |source| NetworkError::Link { operation, source }
}

/// The errno inside, when the kernel refused.
pub(super) fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(-message.raw_code()),
        _ => None,
    }
}

/// All links of the namespace by name.
pub(super) async fn list(handle: &Handle) -> Result<BTreeMap<String, LinkSeen>> {
    let messages: Vec<LinkMessage> =
        handle.link().get().execute().try_collect().await.map_err(failed("list the links"))?;
    let mut links: BTreeMap<u32, LinkSeen> = messages.iter().map(from_message).map(|l| (l.index, l)).collect();
    let addresses: Vec<_> =
        handle.address().get().execute().try_collect().await.map_err(failed("list the addresses"))?;
    for message in addresses {
        let Some(link) = links.get_mut(&message.header.index) else { continue };
        let local = message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
            _ => None,
        });
        if let Some(net) = local.and_then(|address| Ipv4Net::new(address, message.header.prefix_len).ok()) {
            link.addresses.push(net);
        }
    }
    Ok(links
        .into_values()
        .map(|mut link| {
            link.addresses.sort();
            (link.name.clone(), link)
        })
        .collect())
}

fn from_message(message: &LinkMessage) -> LinkSeen {
    let mut link = LinkSeen {
        index: message.header.index,
        name: String::new(),
        kind: String::new(),
        mac: None,
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: false,
        alias: None,
        controller: None,
        addresses: Vec::new(),
        stp: false,
        multicast_snooping: false,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Carrier(carrier) => link.carrier = *carrier != 0,
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::Controller(index) => link.controller = Some(*index),
            LinkAttribute::Address(bytes) => link.mac = bytes.as_slice().try_into().ok().map(MacAddr),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => link.kind = kind_name(kind),
                        LinkInfo::Data(InfoData::Bridge(options)) => {
                            for option in options {
                                match option {
                                    InfoBridge::StpState(state) => link.stp = u32::from(*state) != 0,
                                    InfoBridge::MulticastSnooping(on) => link.multicast_snooping = *on,
                                    _ => {}
                                }
                            }
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    link
}

fn kind_name(kind: &InfoKind) -> String {
    match kind {
        InfoKind::Bridge => "bridge".into(),
        InfoKind::Veth => "veth".into(),
        InfoKind::Tun => "tun".into(),
        InfoKind::Other(other) => other.clone(),
        other => format!("{other:?}").to_lowercase(),
    }
}

pub(super) async fn find(handle: &Handle, name: &str) -> Result<Option<LinkSeen>> {
    Ok(list(handle).await?.remove(name))
}

pub(super) async fn need(handle: &Handle, name: &str) -> Result<LinkSeen> {
    find(handle, name).await?.ok_or_else(|| NetworkError::NoLink { name: name.to_string() })
}

/// Changes to one link, made in one message.
pub(super) fn change(index: u32) -> LinkMessageBuilder<LinkUnspec> {
    LinkUnspec::new_with_index(index)
}

pub(super) async fn set(handle: &Handle, what: &str, message: LinkMessage) -> Result<()> {
    handle.link().set(message).execute().await.map_err(failed(format!("set {what}")))
}

/// Deletes a link; gone already is fine.
pub(super) async fn delete(handle: &Handle, name: &str) -> Result<()> {
    let Some(link) = find(handle, name).await? else { return Ok(()) };
    match handle.link().del(link.index).execute().await {
        Err(error) if errno(&error) == Some(libc::ENODEV) => Ok(()),
        other => other.map_err(failed(format!("delete the link {name}"))),
    }
}

/// Makes `wanted` the link's only IPv4 addresses.
pub(super) async fn set_addresses(handle: &Handle, link: &LinkSeen, wanted: &[Ipv4Net]) -> Result<()> {
    let messages: Vec<_> = handle
        .address()
        .get()
        .set_link_index_filter(link.index)
        .execute()
        .try_collect()
        .await
        .map_err(failed("list the addresses"))?;
    for message in messages {
        let local = message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Local(IpAddr::V4(address)) => Ipv4Net::new(*address, message.header.prefix_len).ok(),
            _ => None,
        });
        if let Some(net) = local.filter(|net| !wanted.contains(net)) {
            let operation = format!("remove the address {net} from {}", link.name);
            handle.address().del(message).execute().await.map_err(failed(operation))?;
        }
    }
    for net in wanted {
        let added =
            handle.address().add(link.index, IpAddr::V4(net.addr()), net.prefix_len()).replace().execute().await;
        added.map_err(failed(format!("add the address {net} to {}", link.name)))?;
    }
    Ok(())
}

/// All unicast IPv4 routes but those of the local table.
pub(super) async fn routes(handle: &Handle, links: &BTreeMap<String, LinkSeen>) -> Result<Vec<RouteSeen>> {
    let request = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let messages: Vec<RouteMessage> =
        handle.route().get(request).execute().try_collect().await.map_err(failed("list the routes"))?;
    let name_of = |index: u32| links.values().find(|l| l.index == index).map(|l| l.name.clone());
    let mut routes = Vec::new();
    for message in messages {
        if message.header.table == libc::RT_TABLE_LOCAL || message.header.kind != RouteType::Unicast {
            continue;
        }
        let mut route = RouteSeen { destination: Ipv4Net::default(), gateway: None, link: None };
        let mut destination = Ipv4Addr::UNSPECIFIED;
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => destination = *address,
                RouteAttribute::Gateway(RouteAddress::Inet(address)) => route.gateway = Some(*address),
                RouteAttribute::Oif(index) => route.link = name_of(*index),
                _ => {}
            }
        }
        if let Ok(net) = Ipv4Net::new(destination, message.header.destination_prefix_length) {
            route.destination = net;
            routes.push(route);
        }
    }
    routes.sort();
    Ok(routes)
}

/// `destination via gateway dev link`.
pub(super) fn route(destination: Ipv4Net, gateway: Ipv4Addr, link: u32) -> RouteMessage {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(destination.network(), destination.prefix_len())
        .gateway(gateway)
        .output_interface(link)
        .build()
}

/// `destination dev link`, whatever the gateway: for removing it.
pub(super) fn route_over(destination: Ipv4Net, link: u32) -> RouteMessage {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(destination.network(), destination.prefix_len())
        .output_interface(link)
        .build()
}

/// Sends the link into another namespace, where it arrives down.
pub(super) async fn move_to(handle: &Handle, link: &LinkSeen, netns: BorrowedFd<'_>) -> Result<()> {
    let message = change(link.index).setns_by_fd(netns.as_raw_fd()).build();
    set(handle, &format!("the namespace of {}", link.name), message).await
}
