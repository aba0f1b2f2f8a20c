//! What a Server's spec comes to: the children it wants, and its seed once it is bound.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use kube::ResourceExt;
use nubium_api::{MadeFor, PortSpec, VolumeSpec};

use super::{
    gather::{Bound, Gathered, Seed},
    seed,
};
use crate::users::terminating;

/// The desired state. Once the Server is being deleted it wants no child and no seed.
#[derive(Debug, PartialEq)]
pub(super) struct Desired {
    /// False: the Server is being deleted.
    pub present: bool,
    /// By disk name, for disks from an image and blank ones.
    pub volumes: BTreeMap<String, VolumeSpec>,
    /// By NIC name, for NICs on a network.
    pub ports: BTreeMap<String, PortSpec>,
    /// For this host, this seed.
    pub seed: Option<(String, BTreeMap<String, ByteString>)>,
}

pub(super) fn desired(seen: &Gathered) -> Desired {
    let server = &seen.server;
    if terminating(server.as_ref()) {
        return Desired { present: false, volumes: BTreeMap::new(), ports: BTreeMap::new(), seed: None };
    }
    let made_for = MadeFor { server: server.name_any(), uid: server.uid().unwrap_or_default() };
    let made_disks = server.spec.disks.iter().filter(|disk| disk.volume.is_none());
    let volumes = made_disks.map(|disk| {
        let spec = VolumeSpec {
            size: disk.size.clone(),
            image: disk.image.clone(),
            pool: disk.pool.clone(),
            // Said of the disk, deletionPolicy is about the Volume; said of a Volume, about its data. A Volume that is
            // to outlive the Server is then deleted, data and all, by deleting the Volume.
            deletion_policy: None,
            made_for: Some(made_for.clone()),
        };
        (disk.name.clone(), spec)
    });
    let ports = server.spec.nics.iter().filter_map(|nic| {
        let network = nic.network.clone()?;
        let addresses = nic.requested_addresses();
        let spec = PortSpec {
            network,
            addresses: (!addresses.is_empty()).then(|| addresses.to_vec()),
            address: None,
            mac_address: None,
            made_for: Some(made_for.clone()),
        };
        Some((nic.name.clone(), spec))
    });
    let host = match &seen.host {
        Bound::To(host) | Bound::ToSilent(host) => Some(host.clone()),
        Bound::Nowhere | Bound::ToNoMore(_) => None,
    };
    let seed = match (&seen.seed, host) {
        (Seed::From(sources), Some(host)) => seed::nics(seen).map(|nics| (host, seed::render(server, sources, &nics))),
        _ => None,
    };
    Desired { present: true, volumes: volumes.collect(), ports: ports.collect(), seed }
}
