//! The uplink of a Network's namespace: a veth to the host with a /31 of its own.

use std::os::fd::AsRawFd;

use ipnet::Ipv4Net;
use netlink_packet_route::link::{InfoData, InfoVeth};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::{
    bridge::MadeFrom,
    error::{NetworkError, Result},
    links::{self, LinkSeen},
    marks,
    names::{Netns, OUT},
    sysctl,
    transit::Transit,
};

/// An uplink as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// The host's end, see [`super::names::uplink`].
    pub name: String,
    pub owner: MadeFrom,
    pub transit: Transit,
    pub mtu: u32,
}

impl Uplink {
    /// What stands on the host's end: whose it is and where it leads.
    pub fn alias(&self, netns: &Netns) -> String {
        format!("{} netns={netns}", self.owner.to_alias())
    }
}

/// The namespace that a host's end says it leads to.
pub fn leads_to(alias: &str) -> Option<Netns> {
    MadeFrom::from_alias(alias)?;
    Netns::parse(alias.split(" netns=").nth(1)?)
}

/// The host's half: makes the pair if there is none (its other end is born inside), gives the host's end its
/// address, and brings it up.
pub(super) async fn set_host(
    handle: &Handle,
    netns: &Netns,
    inside: &std::fs::File,
    remake: bool,
    uplink: &Uplink,
) -> Result<()> {
    let all = links::list(handle).await?;
    refuse_taken(&all, uplink)?;
    if remake {
        delete_old(handle, all.get(&uplink.name)).await?;
    }
    if remake || !all.contains_key(&uplink.name) {
        let peer =
            LinkMessageBuilder::<LinkUnspec>::new().name(OUT).setns_by_fd(inside.as_raw_fd()).mtu(uplink.mtu).build();
        let pair = LinkVeth::new(&uplink.name, OUT).set_info_data(InfoData::Veth(InfoVeth::Peer(peer))).mtu(uplink.mtu);
        let made = handle.link().add(pair.build()).execute().await;
        made.map_err(links::failed(format!("create the veth {}", uplink.name)))?;
    }
    let link = links::need(handle, &uplink.name).await?;
    // No IPv6 between the host and a Network for now: not even a link-local address.
    let no_ipv6 = format!("net/ipv6/conf/{}/disable_ipv6", uplink.name);
    if sysctl::get(&no_ipv6)?.is_some_and(|value| value != "1") {
        sysctl::set(&no_ipv6, "1")?;
    }
    let message = links::change(link.index).mtu(uplink.mtu).alias(uplink.alias(netns)).up().build();
    links::set(handle, &format!("the veth {}", uplink.name), message).await?;
    links::set_addresses(handle, &link, &[uplink.transit.host_net()]).await
}

/// Deletes a host's end whose other end is gone. One without an alias was left between its making and its marking.
async fn delete_old(handle: &Handle, link: Option<&LinkSeen>) -> Result<()> {
    match link {
        Some(link) if link.kind == "veth" && link.alias.is_none() => links::delete(handle, &link.name).await,
        Some(link) => marks::delete_ours(handle, &link.name).await,
        None => Ok(()),
    }
}

/// The inner half: address, up, and the default route over it. What may use it is for the rules to say.
pub(super) async fn set_inner(handle: &Handle, uplink: &Uplink) -> Result<()> {
    let link = links::need(handle, OUT).await?;
    links::set(handle, "the uplink", links::change(link.index).mtu(uplink.mtu).up().build()).await?;
    links::set_addresses(handle, &link, &[uplink.transit.inner_net()]).await?;
    let route = links::route(Ipv4Net::default(), uplink.transit.host(), link.index);
    let added = handle.route().add(route).replace().execute().await;
    added.map_err(links::failed("set the default route"))
}

/// The last word on who has a pair is the host's links, at the moment it is used.
fn refuse_taken(all: &std::collections::BTreeMap<String, LinkSeen>, uplink: &Uplink) -> Result<()> {
    let other = all.values().find(|link| {
        link.name != uplink.name && link.addresses.iter().any(|net| Transit::of(net.addr()) == uplink.transit)
    });
    match other {
        Some(link) => Err(NetworkError::TransitTaken { pair: uplink.transit.to_string(), by: link.name.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_end_says_where_it_leads() {
        let owner = MadeFrom { uid: "u".into(), generation: 3 };
        let transit = Transit::of("198.19.0.2".parse().unwrap());
        let uplink = Uplink { name: "nubx0".into(), owner: owner.clone(), transit, mtu: 1430 };
        let netns = Netns::new("shop", "blue");
        assert_eq!(leads_to(&uplink.alias(&netns)), Some(netns.clone()));
        assert_eq!(MadeFrom::from_alias(&uplink.alias(&netns)), Some(owner));
        assert_eq!(leads_to("something else"), None);
    }
}
