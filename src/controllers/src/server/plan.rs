//! The difference between what a Server wants and what is there, as stages of steps.

use kube::ResourceExt;
use nubium_api::{
    DeletionPolicy, Port, PortSpec, Server, Volume, VolumeSpec, child_name,
    contract::{ORPHAN_FINALIZER, ORPHANED},
};
use nubium_runtime::{Key, has_finalizer};

use super::{
    desired::Desired,
    gather::{Bound, Gathered},
};
use crate::users::{host_of, is_released, terminating};

/// One call. Everything it needs is in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Hold,
    /// Goes on only if a live look shows that the Server is there, held and not being deleted.
    Confirm,
    CreateVolume(Box<Volume>),
    CreatePort(Box<Port>),
    CreateSeed {
        host: String,
        files: std::collections::BTreeMap<String, k8s_openapi::ByteString>,
    },
    DeleteVolume {
        key: Key,
        uid: String,
    },
    DeletePort {
        key: Key,
        uid: String,
    },
    /// Writes down on the Server that what it made stays: the finalizer that says so goes before the Server does.
    RecordOrphan,
    /// Writes the same on a Volume, so that it is kept although nothing is on it yet.
    KeepVolume {
        key: Key,
        uid: String,
    },
    DeleteSeed {
        host: String,
    },
    LetGo,
}

/// Steps of one stage do not depend on each other; a stage begins when the one before it is done. No stage: settled.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Plan {
    pub stages: Vec<Vec<Step>>,
}

impl Plan {
    /// Whether it ends with the finalizer gone: then there is nothing left to report on.
    pub fn releases(&self) -> bool {
        self.stages.last().is_some_and(|stage| stage.contains(&Step::LetGo))
    }
}

pub(super) fn plan(want: &Desired, seen: &Gathered) -> Plan {
    let stages = if want.present { make(want, seen) } else { unmake(seen) };
    Plan { stages: stages.into_iter().filter(|stage| !stage.is_empty()).collect() }
}

fn make(want: &Desired, seen: &Gathered) -> Vec<Vec<Step>> {
    let Desired { present: _, volumes, ports, seed } = want;
    let server = &seen.server;
    let new_volumes = volumes.iter().filter(|(disk, _)| !seen.volumes.contains_key(*disk));
    let new_ports = ports.iter().filter(|(nic, _)| !seen.ports.contains_key(*nic));
    let children = new_volumes
        .map(|(disk, spec)| Step::CreateVolume(Box::new(volume(server, disk, spec))))
        .chain(new_ports.map(|(nic, spec)| Step::CreatePort(Box::new(port(server, nic, spec)))));
    let seed = seed.iter().map(|(host, files)| Step::CreateSeed { host: host.clone(), files: files.clone() });
    let made: Vec<Step> = children.chain(seed).chain(unasked(server, seen)).collect();
    // The cache may be of a time before the Server was released: what is made then, nobody would ever take away.
    let first = match (has_finalizer(server.as_ref(), Server::FINALIZER), made.is_empty()) {
        (false, _) => vec![Step::Hold],
        (true, false) => vec![Step::Confirm],
        (true, true) => vec![],
    };
    vec![first, made]
}

/// Ports that were made for NICs which the Server no longer has. Each goes as soon as no guest has it. A disk's Volume
/// holds data, and is for its owner to delete.
fn unasked(server: &Server, seen: &Gathered) -> Vec<Step> {
    let me = server.name_any();
    let is_asked = |port: &Port| server.spec.nics.iter().any(|nic| nic.port_name(&me) == port.name_any());
    let unasked = seen.made_ports.iter().filter(|port| !terminating(port.as_ref()) && !is_asked(port));
    unasked.map(|port| Step::DeletePort { key: Key::of(port.as_ref()), uid: port.uid().unwrap_or_default() }).collect()
}

fn unmake(seen: &Gathered) -> Vec<Vec<Step>> {
    let server = &seen.server;
    if !has_finalizer(server.as_ref(), Server::FINALIZER) {
        return Vec::new();
    }
    let orphan = orphans(seen);
    if !is_released(server) && !matches!(seen.host, Bound::ToNoMore(_)) {
        return if orphan && !is_recorded(server) { vec![vec![Step::RecordOrphan]] } else { Vec::new() };
    }
    let there = seen.made_volumes.iter().filter(|volume| !terminating(volume.as_ref()));
    let volumes = there.filter_map(|volume| {
        let (key, uid) = (Key::of(volume.as_ref()), volume.uid().unwrap_or_default());
        match (orphan, goes_with(server, volume)) {
            (true, _) => Some(Step::KeepVolume { key, uid }),
            (false, true) => Some(Step::DeleteVolume { key, uid }),
            (false, false) => None,
        }
    });
    let owned = |port: &&std::sync::Arc<Port>| !orphan && is_owned(port, server);
    let ports = seen
        .made_ports
        .iter()
        .filter(|port| !terminating(port.as_ref()))
        .filter(owned)
        .map(|port| Step::DeletePort { key: Key::of(port.as_ref()), uid: port.uid().unwrap_or_default() });
    let seed = host_of(server).map(|host| Step::DeleteSeed { host: host.to_owned() });
    vec![volumes.chain(ports).chain(seed).collect(), vec![Step::LetGo]]
}

/// Whether what a Server made is to stay when it goes: the deletion said so (`--cascade=orphan`), which is read from the
/// finalizer that Kubernetes sets for it, from our record of it, or from that Kubernetes has taken all its ownerReferences
/// off its Ports.
pub(super) fn orphans(seen: &Gathered) -> bool {
    let server = seen.server.as_ref();
    let no_longer_owned = || !seen.made_ports.is_empty() && !seen.made_ports.iter().any(|port| is_owned(port, server));
    has_finalizer(server, ORPHAN_FINALIZER) || is_recorded(server) || no_longer_owned()
}

fn is_recorded(server: &Server) -> bool {
    server.annotations().get(ORPHANED).is_some_and(|uid| server.uid().as_ref() == Some(uid))
}

fn is_owned(port: &Port, server: &Server) -> bool {
    port.owner_references().iter().any(|owner| Some(&owner.uid) == server.metadata.uid.as_ref())
}

/// Whether a Volume that this Server made is deleted with it. A disk that the Server no longer has cannot say so any
/// more: its Volume is kept, and is for its owner to delete.
fn goes_with(server: &Server, volume: &Volume) -> bool {
    let name = volume.name_any();
    let disk =
        server.spec.disks.iter().find(|disk| disk.volume.is_none() && disk.volume_name(&server.name_any()) == name);
    disk.is_some_and(|disk| disk.deletion_policy.unwrap_or_default() == DeletionPolicy::Delete)
}

fn volume(server: &Server, disk: &str, spec: &VolumeSpec) -> Volume {
    let mut volume = Volume::new(&child_name(&server.name_any(), disk), spec.clone());
    volume.metadata.namespace = server.namespace();
    volume.metadata.finalizers = Some(vec![Volume::FINALIZER.to_owned()]);
    volume
}

fn port(server: &Server, nic: &str, spec: &PortSpec) -> Port {
    let mut port = Port::new(&child_name(&server.name_any(), nic), spec.clone());
    port.metadata.namespace = server.namespace();
    port.metadata.finalizers = Some(vec![Port::FINALIZER.to_owned()]);
    port.metadata.owner_references = kube::Resource::controller_owner_ref(server, &()).map(|owner| vec![owner]);
    port
}
