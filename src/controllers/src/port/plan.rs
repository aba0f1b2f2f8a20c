//! Which MAC and address a Port gets, and whether it must stay. Pure.

use std::{collections::BTreeSet, net::Ipv4Addr};

use kube::ResourceExt;
use nubium_api::{AddressRefusal, IPAddress, SubnetError};

use super::{gather::Gathered, mac::mac};
use crate::{users::terminating, verdict::Verdict};

/// What to do about a Port's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Addressing {
    /// It holds this one.
    Has(Ipv4Addr),
    /// It should take this one.
    Claim(Ipv4Addr),
    /// It can have none for now.
    Unavailable { reason: &'static str, message: String },
}

/// The address. `reserved` are addresses that count as taken beyond those that are seen to be.
pub(super) fn addressing(seen: &Gathered, reserved: &BTreeSet<Ipv4Addr>) -> Addressing {
    match (seen.reported_address(), seen.held_address()) {
        // A guest may use it: its claim is asked for again before any other counts, should the cache not show it.
        (Some(reported), held) if held != Some(reported) && !seen.taken.contains_key(&reported) => {
            return Addressing::Claim(reported);
        }
        (_, Some(address)) => return Addressing::Has(address),
        (_, None) => {}
    }
    let unavailable = |reason, message| Addressing::Unavailable { reason, message };
    let name = &seen.port.spec.network;
    if let Some(other) = &seen.same_mac {
        let message = format!("MAC address {} of Network {name} is taken by Port {other}", mac(&seen.port));
        return unavailable("MacAddressTaken", message);
    }
    let Some(network) = &seen.network else {
        return unavailable("NetworkNotFound", format!("waits for Network {name}, which does not exist"));
    };
    if terminating(network.as_ref()) {
        return unavailable("NetworkNotFound", format!("Network {name} is being deleted"));
    }
    let subnet = network.subnet();
    let (range, allocation) = match (subnet.range(), subnet.allocation()) {
        (Ok(range), Ok(allocation)) => (range, allocation),
        (Err(SubnetError::NoRange), _) => {
            return unavailable("NetworkNotReady", format!("waits for Network {name}, which has taken no range yet"));
        }
        _ => {
            return unavailable(
                "InvalidSubnet",
                format!("Network {name} has a subnet that cannot be used: look at its conditions"),
            );
        }
    };
    match seen.port.spec.requested_addresses().first() {
        Some(requested) => match range.requested(requested) {
            Ok(address) => match seen.taken.get(&address) {
                Some(other) => unavailable(
                    "AddressTaken",
                    format!("address {requested} of Network {name} is taken by Port {other}"),
                ),
                None if reserved.contains(&address) => {
                    unavailable("AddressTaken", format!("address {requested} of Network {name} is taken"))
                }
                None => Addressing::Claim(address),
            },
            Err(AddressRefusal::NotAnAddress) => {
                unavailable("InvalidAddress", format!("{requested} is not an IPv4 address"))
            }
            Err(AddressRefusal::OutOfRange) => {
                let message =
                    format!("address {requested} is not one of Network {name}, whose range is {}", range.cidr);
                unavailable("AddressOutOfRange", message)
            }
            Err(AddressRefusal::Edge) => {
                let message = format!(
                    "address {requested} is the first or the last of {}, which no machine can have",
                    range.cidr
                );
                unavailable("AddressOutOfRange", message)
            }
            Err(AddressRefusal::Gateway) => {
                unavailable("AddressTaken", format!("address {requested} is the gateway of Network {name}"))
            }
        },
        None => {
            let taken = seen.taken.keys().chain(reserved).copied().collect();
            match allocation.free(&taken) {
                Some(address) => Addressing::Claim(address),
                None => unavailable("PoolExhausted", format!("Network {name} has no address left to give out")),
            }
        }
    }
}

/// Claims for this Port beyond its address, once that its status reports: a controller that was cut off had made one, and the next
/// one another before it could see it.
pub(super) fn surplus(seen: &Gathered) -> Vec<&IPAddress> {
    let Some(address) = seen.reported_address().filter(|reported| seen.held_address() == Some(*reported)) else {
        return Vec::new();
    };
    let beyond = |claim: &&IPAddress| claim.spec.address != address.to_string() && !terminating(*claim);
    seen.claims.iter().map(AsRef::as_ref).filter(beyond).collect()
}

/// Why a Port that is being deleted must stay.
pub(super) fn kept(seen: &Gathered) -> Option<Verdict> {
    if let Some(user) = seen.users.first() {
        let name = user.name_any();
        return Some(if terminating(user.as_ref()) {
            Verdict::working("Deleting", format!("waits for Server {name} to be released by its host"))
        } else {
            Verdict::working("InUse", format!("it is to be deleted, and waits: Server {name} uses it"))
        });
    }
    let name = seen.user_live.as_ref()?;
    Some(Verdict::working("InUse", format!("it is to be deleted, and waits: Server {name} uses it")))
}
