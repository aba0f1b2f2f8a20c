//! A disk or a NIC that the Server has, and that is not what its spec asks for now. What was made keeps the name of its disk
//! or NIC; whether it is what was asked for shows only when the two specs are compared.

use kube::ResourceExt;
use nubium_api::{PortSpec, VolumeSpec};

use super::{desired::Desired, gather::Gathered};
use crate::{
    users::made_for,
    verdict::{Verdict, names},
    world::pool_name,
};

/// What differs, and what to do about it; None when all is as asked. Sizes are another matter.
pub(super) fn pending(want: &Desired, seen: &Gathered) -> Option<Verdict> {
    let disks: Vec<String> = want.volumes.iter().filter_map(|(disk, spec)| disk_differs(disk, spec, seen)).collect();
    if !disks.is_empty() {
        let message = format!(
            "{}: set it back, or give the disk another name to have another Volume made; this one is kept",
            names(&disks)
        );
        return Some(Verdict::working("DiskChangePending", message));
    }
    let nics: Vec<String> = want.ports.iter().filter_map(|(nic, spec)| nic_differs(nic, spec, seen)).collect();
    (!nics.is_empty()).then(|| {
        let message = format!(
            "{}: a NIC does not move; set it back, or give the NIC another name to have another one made in its place",
            names(&nics)
        );
        Verdict::working("NicChangePending", message)
    })
}

fn disk_differs(disk: &str, want: &VolumeSpec, seen: &Gathered) -> Option<String> {
    // A size is compared where sizes are, and what becomes of the Volume in the end is not said in it.
    let VolumeSpec { size: _, image, pool, deletion_policy: _, made_for: _ } = want;
    let (volume, _) = seen.volumes.get(disk).filter(|(it, _)| made_for(it.spec.made_for.as_ref(), &seen.server))?;
    let (name, has) = (volume.name_any(), &volume.spec);
    let source = |image: &Option<String>| match image {
        Some(image) => format!("Image {image}"),
        None => "no Image".to_owned(),
    };
    if has.image != *image {
        return Some(format!(
            "disk {disk} is Volume {name}, made from {}, not from {}",
            source(&has.image),
            source(image)
        ));
    }
    let (has_pool, pool) = (pool_name(has.pool.as_ref()), pool_name(pool.as_ref()));
    (has_pool != pool).then(|| format!("disk {disk} is Volume {name} in StoragePool {has_pool}, not in {pool}"))
}

fn nic_differs(nic: &str, want: &PortSpec, seen: &Gathered) -> Option<String> {
    let (port, _) = seen.ports.get(nic).filter(|(it, _)| made_for(it.spec.made_for.as_ref(), &seen.server))?;
    let has = &port.spec;
    if has.network != want.network {
        return Some(format!("NIC {nic} is on Network {}, not on {}", has.network, want.network));
    }
    (has.requested_addresses() != want.requested_addresses())
        .then(|| format!("NIC {nic} was made when another address was asked for"))
}
