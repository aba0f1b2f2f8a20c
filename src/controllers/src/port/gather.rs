//! Reads what one Port rests on.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use kube::ResourceExt;
use nubium_api::{IPAddress, Network, Port, Server};
use nubium_runtime::Key;

use super::mac::mac;
use crate::{
    error::{Error, calling},
    users::{is_released, port_users, terminating},
    world::{World, by, port_candidates},
};

/// A Port and all that it rests on, as of one moment.
pub(super) struct Gathered {
    pub port: Arc<Port>,
    pub network: Option<Arc<Network>>,
    /// The addresses that are claimed for this very Port.
    pub claims: Vec<Arc<IPAddress>>,
    /// Every address of the Network that is claimed, and the Port that has it. Not looked for where the Port keeps the
    /// address that it holds: what a pass costs then does not grow with the Network.
    pub taken: BTreeMap<Ipv4Addr, String>,
    /// The Servers that use it, the one that has it first.
    pub users: Vec<Arc<Server>>,
    /// Of a Port that asks for a MAC: the Port of the same Network that has that MAC before it.
    pub same_mac: Option<String>,
    /// Of a Port that is being deleted and that no Server in the cache uses: the Server that a live look found to have
    /// it still.
    pub user_live: Option<String>,
}

impl Gathered {
    /// The address that is held for this Port: the one that its status reports, whatever else was claimed for it since.
    pub fn held_address(&self) -> Option<Ipv4Addr> {
        let held = || self.claims.iter().filter_map(|claim| claim.spec.address.parse().ok());
        self.reported_address().filter(|reported| held().any(|address| address == *reported)).or_else(|| held().min())
    }

    /// The address that its status reports.
    pub fn reported_address(&self) -> Option<Ipv4Addr> {
        self.port.status.as_ref()?.addresses.first()?.address.parse().ok()
    }

    /// Whether it holds an address that it will keep.
    pub fn is_addressed(&self) -> bool {
        let (held, reported) = (self.held_address(), self.reported_address());
        held.is_some() && (reported.is_none() || held == reported)
    }
}

pub(super) async fn gather(world: &World, port: Arc<Port>) -> Result<Gathered, Error> {
    let key = Key::of(port.as_ref());
    let uid = port.uid().unwrap_or_default();
    let network = key.beside(port.spec.network.clone());
    let mut claims = world.addresses.by(by::PORT, &key.to_string());
    claims.retain(|claim| claim.spec.port_uid == uid);
    let users = port_users(&port, port_candidates(&world.servers, &port));
    let user_live = if terminating(port.as_ref()) && users.is_empty() { user_live(world, &port).await? } else { None };
    let same_mac = port.spec.mac_address.as_ref().and_then(|_| {
        let others = world.ports.by(by::NETWORK, &network.to_string());
        others.iter().find(|other| goes_before(other, &port)).map(|other| other.name_any())
    });
    let mut seen = Gathered {
        same_mac,
        network: world.networks.get(&network),
        taken: BTreeMap::new(),
        claims,
        users,
        user_live,
        port,
    };
    if !seen.is_addressed() {
        let all = world.addresses.by(by::NETWORK, &network.to_string());
        let taken = all.iter().filter_map(|claim| Some((claim.spec.address.parse().ok()?, claim.spec.port.clone())));
        seen.taken = taken.collect();
    }
    Ok(seen)
}

/// Whether `other` has the MAC of `port`, and has it first: it has an address already, or is older.
pub(super) fn goes_before(other: &Port, port: &Port) -> bool {
    let age = |port: &Port| (port.creation_timestamp().map(|time| time.0), port.name_any());
    let addressed = other.status.as_ref().is_some_and(|status| !status.addresses.is_empty());
    other.metadata.uid != port.metadata.uid && mac(other) == mac(port) && (addressed || age(other) < age(port))
}

/// Looks, live, for the Server that this Port was made for or last served. A guest may run with this Port's address:
/// that no cache shows its Server is not enough to give the address away.
async fn user_live(world: &World, port: &Port) -> Result<Option<String>, Error> {
    let made = port.spec.made_for.as_ref().map(|made| made.server.clone());
    let last = port.status.as_ref().and_then(|status| status.server.clone());
    let Some(name) = made.or(last) else { return Ok(None) };
    let key = Key::of(port).beside(name.clone());
    let found = world.api::<Server>(&key).get_opt(&name).await.map_err(calling::<Server>("get", &key))?;
    let found = found.filter(|server| !is_released(server)).map(Arc::new);
    Ok(found.and_then(|server| port_users(port, vec![server]).first().map(|server| server.name_any())))
}
