//! Who has which address of a Network: given to the kernel, instead of left for it to ask.
//!
//! A neighbour that was learnt is believed for half a minute after its guest is gone, and a new guest at the same address
//! is not reached as long.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use futures::TryStreamExt;
use netlink_packet_route::{
    AddressFamily,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
};
use rtnetlink::Handle;

use super::{error::Result, links, mac::MacAddr, names::BRIDGE};

/// A guest's MAC by each of its addresses.
pub type Neighbours = BTreeMap<Ipv4Addr, MacAddr>;

/// The permanent neighbours of the link of that index; learnt ones are left out.
pub(super) async fn configured(handle: &Handle, index: u32) -> Result<Neighbours> {
    let all = all(handle, index).await?;
    Ok(all.iter().filter(|message| permanent(message)).filter_map(of_guest).collect())
}

/// Adds those of these that are missing, and removes all others that were added.
pub(super) async fn set(handle: &Handle, want: &Neighbours) -> Result<()> {
    let bridge = links::need(handle, BRIDGE).await?;
    let mut found = Neighbours::new();
    for message in all(handle, bridge.index).await? {
        let Some((address, mac)) = of_guest(&message).filter(|_| permanent(&message)) else { continue };
        if want.contains_key(&address) {
            found.insert(address, mac);
        } else {
            match handle.neighbours().del(message).execute().await {
                Err(error) if links::errno(&error) != Some(libc::ENOENT) => {
                    return Err(links::failed("forget a neighbour")(error));
                }
                _ => {}
            }
        }
    }
    for (address, mac) in want.iter().filter(|(address, mac)| found.get(address) != Some(mac)) {
        let add = handle.neighbours().add(bridge.index, IpAddr::V4(*address)).link_layer_address(&mac.0);
        let added = add.state(NeighbourState::Permanent).replace().execute().await;
        added.map_err(links::failed(format!("set the neighbour {address} to {mac}")))?;
    }
    Ok(())
}

async fn all(handle: &Handle, index: u32) -> Result<Vec<NeighbourMessage>> {
    let request = handle.neighbours().get().set_address_family(AddressFamily::Inet).execute();
    let mut all: Vec<_> = request.try_collect().await.map_err(links::failed("list the neighbours"))?;
    all.retain(|message: &NeighbourMessage| message.header.ifindex == index);
    Ok(all)
}

fn permanent(message: &NeighbourMessage) -> bool {
    message.header.state == NeighbourState::Permanent
}

fn of_guest(message: &NeighbourMessage) -> Option<(Ipv4Addr, MacAddr)> {
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(*address),
        _ => None,
    });
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok().map(MacAddr),
        _ => None,
    });
    Some((address?, mac?))
}
