//! A Server's passes, by values: every small state of it and its children, and what must follow from each.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use nubium_api::{Port, Server, Volume, contract};
use serde_json::{Value, json};

use super::{
    awaited::{MissingSource, SourceKind},
    desired::desired,
    gather::{Bound, Gathered, Seed, Sources},
    plan::{Step, plan},
    status::verdict,
};
use crate::verdict::State;

const UID: &str = "uid-1";

/// A world small enough to try every state of it.
#[derive(Debug, Clone, Copy)]
struct State_ {
    held: bool,
    deleted: bool,
    bound: bool,
    released: bool,
    volume: Child,
    port: Child,
    seed: bool,
    orphan: Orphan,
}

/// How it is said that what was made stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Orphan {
    No,
    ByFinalizer,
    Recorded,
    OwnerReferencesGone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Child {
    Absent,
    Ours,
    Stranger,
}

fn fact(type_: &str, status: &str, reason: &str) -> Value {
    json!({"type": type_, "status": status, "observedGeneration": 1, "reason": reason, "message": reason,
           "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

fn server(state: State_, conditions: &[Value]) -> Arc<Server> {
    let mut conditions = conditions.to_vec();
    if state.released {
        conditions.push(fact("Released", "True", "Released"));
    }
    let held = state.held.then_some(Server::FINALIZER);
    let orphan = (state.orphan == Orphan::ByFinalizer).then_some(contract::ORPHAN_FINALIZER);
    let finalizers: Vec<&str> = held.into_iter().chain(orphan).collect();
    let json = json!({
        "apiVersion": "nubium.dev/v1alpha1", "kind": "Server",
        "metadata": {
            "name": "web-1", "namespace": "shop", "uid": UID, "generation": 1,
            "finalizers": finalizers,
            "annotations": (state.orphan == Orphan::Recorded).then(|| json!({contract::ORPHANED: UID})),
            "deletionTimestamp": state.deleted.then_some("2026-01-01T00:00:00Z"),
        },
        "spec": {
            "resources": {"cpu": 1, "memory": "64Mi"},
            "disks": [{"name": "root", "image": "tiny"}],
            "nics": [{"name": "eth0", "network": "blue"}],
        },
        "status": {"host": state.bound.then_some("host-a"), "conditions": conditions},
    });
    Arc::new(serde_json::from_value(json).unwrap())
}

fn mark(child: Child) -> Value {
    match child {
        Child::Ours => json!({"server": "web-1", "uid": UID}),
        Child::Stranger => json!({"server": "web-1", "uid": "another"}),
        Child::Absent => Value::Null,
    }
}

fn seen(state: State_, conditions: &[Value]) -> Gathered {
    let object = |kind: &str, name: &str, spec: Value| {
        json!({"apiVersion": "nubium.dev/v1alpha1", "kind": kind,
               "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-of-{name}")}, "spec": spec})
    };
    let volume = object("Volume", "web-1-root", json!({"image": "tiny", "madeFor": mark(state.volume)}));
    let volume: Arc<Volume> = Arc::new(serde_json::from_value(volume).unwrap());
    let port = object("Port", "web-1-eth0", json!({"network": "blue", "madeFor": mark(state.port)}));
    let mut port: Port = serde_json::from_value(port).unwrap();
    if state.port == Child::Ours && state.orphan != Orphan::OwnerReferencesGone {
        let owner = json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "Server", "name": "web-1", "uid": UID});
        port.metadata.owner_references = Some(vec![serde_json::from_value(owner).unwrap()]);
    }
    let port = Arc::new(port);
    let network = object("Network", "blue", json!({"subnets": [{"name": "v4", "cidr": "10.0.0.0/24"}]}));
    let image = object("Image", "tiny", json!({"source": {"file": {"path": "tiny"}}}));
    let mut image: nubium_api::Image = serde_json::from_value(image).unwrap();
    let ready = serde_json::from_value(fact("Ready", "True", "Imported")).unwrap();
    image.status = Some(nubium_api::ImageStatus { conditions: vec![ready], ..Default::default() });
    let pool = json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "StoragePool", "metadata": {"name": "default"}, "spec": {"directory": {}}});
    let there = |child: Child| child != Child::Absent;
    let ours = |child: Child| child == Child::Ours;
    Gathered {
        server: server(state, conditions),
        flavor: None,
        volumes: there(state.volume).then(|| ("root".to_owned(), (volume.clone(), None))).into_iter().collect(),
        ports: there(state.port).then(|| ("eth0".to_owned(), (port.clone(), None))).into_iter().collect(),
        networks: BTreeMap::from([("blue".to_owned(), Arc::new(serde_json::from_value(network).unwrap()))]),
        images: BTreeMap::from([("tiny".to_owned(), Arc::new(image))]),
        pools: BTreeMap::from([("default".to_owned(), Arc::new(serde_json::from_value(pool).unwrap()))]),
        made_volumes: ours(state.volume).then_some(volume).into_iter().collect(),
        made_ports: ours(state.port).then_some(port).into_iter().collect(),
        host: if state.bound { Bound::To("host-a".into()) } else { Bound::Nowhere },
        seed: match (state.seed, state.bound && !state.deleted) {
            (true, _) => Seed::There(None),
            (false, true) => Seed::From(Sources::default()),
            (false, false) => Seed::NotNeeded,
        },
    }
}

fn every_state() -> Vec<State_> {
    let mut all = Vec::new();
    let children = [Child::Absent, Child::Ours, Child::Stranger];
    let orphans = [Orphan::No, Orphan::ByFinalizer, Orphan::Recorded, Orphan::OwnerReferencesGone];
    for bits in 0..128_u8 {
        let bit = |n: u8| bits & (1 << n) != 0;
        let orphan = orphans[usize::from(bits >> 5)];
        for volume in children {
            for port in children {
                let state = State_ {
                    held: bit(0),
                    deleted: bit(1),
                    bound: bit(2),
                    released: bit(3),
                    seed: bit(4),
                    orphan,
                    volume,
                    port,
                };
                // What cannot be: a release or a seed without a host.
                if (state.released || state.seed) && !state.bound {
                    continue;
                }
                // Kubernetes takes ownerReferences off only when the Server is being deleted, and off what there is.
                if orphan == Orphan::OwnerReferencesGone && (!state.deleted || port != Child::Ours) {
                    continue;
                }
                all.push(state);
            }
        }
    }
    all
}

/// What the steps make of a state: the oracle's own idea of each step, not the planner's.
fn after(state: State_) -> (State_, bool) {
    let seen = seen(state, &[]);
    let mut next = state;
    let mut gone = false;
    for step in plan(&desired(&seen), &seen).stages.into_iter().flatten() {
        match step {
            Step::Hold => next.held = true,
            Step::Confirm => assert!(next.held && !next.deleted),
            Step::CreateVolume(volume) => {
                assert_eq!((volume.metadata.name.as_deref(), next.volume), (Some("web-1-root"), Child::Absent));
                assert_eq!(volume.metadata.owner_references, None);
                next.volume = Child::Ours;
            }
            Step::CreatePort(port) => {
                assert_eq!((port.metadata.name.as_deref(), next.port), (Some("web-1-eth0"), Child::Absent));
                next.port = Child::Ours;
            }
            Step::CreateSeed { host, .. } => {
                assert_eq!(host, "host-a");
                next.seed = true;
            }
            Step::DeleteVolume { uid, .. } => {
                assert_eq!((uid.as_str(), next.volume), ("uid-of-web-1-root", Child::Ours));
                next.volume = Child::Absent;
            }
            Step::DeletePort { uid, .. } => {
                assert_eq!((uid.as_str(), next.port), ("uid-of-web-1-eth0", Child::Ours));
                next.port = Child::Absent;
            }
            Step::RecordOrphan => {
                assert!(next.deleted && next.held);
                next.orphan = Orphan::Recorded;
            }
            Step::KeepVolume { uid, .. } => {
                assert_eq!((uid.as_str(), next.volume), ("uid-of-web-1-root", Child::Ours));
            }
            Step::DeleteSeed { .. } => next.seed = false,
            Step::LetGo => {
                next.held = false;
                gone = true;
            }
        }
    }
    (next, gone)
}

#[test]
fn the_desired_state_is_reached_from_every_state() {
    for state in every_state() {
        let (next, gone) = after(state);
        if !state.deleted {
            assert!(next.held, "{state:?}");
            assert!(next.volume != Child::Absent && next.port != Child::Absent, "{state:?}");
            assert_eq!(next.seed, state.bound, "{state:?}");
            assert!(!gone);
        } else if !state.held {
            assert!(!gone, "it is not ours to release: {state:?}");
        } else if !state.bound || state.released {
            assert!(gone && !next.seed, "{state:?}");
            let kept = state.orphan != Orphan::No;
            assert_eq!(next.volume == Child::Ours, kept && state.volume == Child::Ours, "{state:?}");
            assert_eq!(next.port == Child::Ours, kept && state.port == Child::Ours, "{state:?}");
        } else {
            let recorded = if state.orphan == Orphan::No { Orphan::No } else { Orphan::Recorded };
            let same = State_ { orphan: recorded, ..state };
            assert_eq!(format!("{next:?}"), format!("{same:?}"), "nothing may be taken from a guest that may run");
        }
        for (before, after) in [(state.volume, next.volume), (state.port, next.port)] {
            assert!(before != Child::Stranger || after == Child::Stranger, "a stranger's is never touched: {state:?}");
        }
    }
}

#[test]
fn a_second_pass_finds_nothing_to_do() {
    for state in every_state() {
        let (next, gone) = after(state);
        if !gone {
            let again = seen(next, &[]);
            assert_eq!(plan(&desired(&again), &again).stages, Vec::<Vec<Step>>::new(), "{state:?}");
        }
    }
}

fn up() -> State_ {
    State_ {
        held: true,
        deleted: false,
        bound: true,
        released: false,
        volume: Child::Ours,
        port: Child::Ours,
        seed: true,
        orphan: Orphan::No,
    }
}

fn says(seen: &Gathered) -> (State, String) {
    let verdict = verdict(&desired(seen), seen);
    (verdict.state, verdict.reason)
}

#[test]
fn children_are_made_after_the_finalizer_and_it_goes_last() {
    let new = State_ { held: false, bound: false, volume: Child::Absent, port: Child::Absent, seed: false, ..up() };
    let at_first = seen(new, &[]);
    let stages = plan(&desired(&at_first), &at_first).stages;
    assert_eq!(stages[0], [Step::Hold]);
    assert_eq!(stages[1].len(), 2);
    let one_is_lost = seen(State_ { volume: Child::Absent, ..up() }, &[]);
    let stages = plan(&desired(&one_is_lost), &one_is_lost).stages;
    assert_eq!(stages[0], [Step::Confirm], "what the cache says of the finalizer may be of yesterday");
    assert_eq!(stages[1].len(), 1);
    let at_last = seen(State_ { deleted: true, released: true, ..up() }, &[]);
    let stages = plan(&desired(&at_last), &at_last).stages;
    assert_eq!(stages.last().unwrap(), &[Step::LetGo]);
}

#[test]
fn ready_is_said_only_of_what_was_seen_at_this_generation() {
    let there = [fact("VolumesReady", "True", "Attached"), fact("NetworkReady", "True", "Connected")];
    let with = |running: Value| {
        let mut facts = there.to_vec();
        facts.push(running);
        seen(up(), &facts)
    };
    assert_eq!(says(&with(fact("Running", "True", "Running"))), (State::Ready, "Running".into()));
    assert_eq!(says(&with(fact("Running", "False", "GuestPoweredOff"))), (State::Working, "GuestPoweredOff".into()));
    let mut old = fact("Running", "True", "Running");
    old["observedGeneration"] = json!(0);
    assert_eq!(says(&with(old)), (State::Working, "Starting".into()));
    assert_eq!(says(&with(fact("Running", "True", "Stopping"))), (State::Working, "Stopping".into()), "a restart");
    assert_eq!(says(&with(fact("Running", "Unknown", "CannotLook"))), (State::Unknown, "CannotLook".into()));
    assert_eq!(says(&seen(up(), &[])), (State::Working, "Starting".into()));
    assert_eq!(says(&seen(up(), &[fact("Running", "True", "Running")])), (State::Working, "Starting".into()));
    let full = [fact("VolumesReady", "False", "PoolFull"), fact("NetworkReady", "True", "Connected")];
    assert_eq!(says(&seen(up(), &full)), (State::Working, "PoolFull".into()));
}

#[test]
fn off_is_ready_only_when_it_is_stopped() {
    let facts = [fact("Running", "False", "Stopped")];
    let mut stopped = seen(up(), &facts);
    Arc::make_mut(&mut stopped.server).spec.power_state = nubium_api::PowerState::Stopped;
    assert_eq!(says(&stopped), (State::Ready, "Stopped".into()));
    let mut still_on = seen(up(), &[fact("Running", "True", "Running")]);
    Arc::make_mut(&mut still_on.server).spec.power_state = nubium_api::PowerState::Stopped;
    assert_eq!(says(&still_on), (State::Working, "Stopping".into()));
    let mut held = seen(up(), &[fact("Running", "False", "HeldByStranger")]);
    Arc::make_mut(&mut held.server).spec.power_state = nubium_api::PowerState::Stopped;
    assert_eq!(says(&held), (State::Working, "HeldByStranger".into()));
}

#[test]
fn what_it_waits_for_is_named_most_fundamental_first() {
    let mut waiting =
        seen(State_ { bound: false, volume: Child::Absent, port: Child::Stranger, seed: false, ..up() }, &[]);
    assert_eq!(says(&waiting).1, "NameTaken");
    let mut said = |mark: Option<&str>| {
        let (port, _) = waiting.ports.get_mut("eth0").unwrap();
        let mark = mark.map(|server| nubium_api::MadeFor { server: server.into(), uid: "another".into() });
        Arc::make_mut(port).spec.made_for = mark;
        verdict(&desired(&waiting), &waiting).message
    };
    assert!(said(None).contains("delete it"));
    assert!(said(Some("web-1")).contains("an earlier Server of this name"));
    let neighbour = said(Some("web"));
    assert!(neighbour.contains("belongs to Server web,") && !neighbour.contains("delete"), "{neighbour}");
    waiting.ports.clear();
    waiting.networks.clear();
    assert_eq!(says(&waiting).1, "NetworkNotFound");
    waiting.networks = seen(up(), &[]).networks;
    waiting.images.clear();
    assert_eq!(says(&waiting).1, "ImageNotFound");
    waiting.images = seen(up(), &[]).images;
    assert_eq!(says(&waiting).1, "Scheduling");
    let refused = fact("Scheduled", "False", "NoHostFits");
    let unplaced = seen(State_ { bound: false, seed: false, ..up() }, std::slice::from_ref(&refused));
    assert_eq!(says(&unplaced).1, "NoHostFits");
    let mut unseeded = seen(up(), &[]);
    unseeded.seed = Seed::Missing(vec![MissingSource { kind: SourceKind::ConfigMap, name: "keys".into(), key: None }]);
    assert_eq!(says(&unseeded).1, "CloudInitNotFound");
}

#[test]
fn a_disk_that_cannot_be_made_says_why_on_its_server_too() {
    let facts = [fact("VolumesReady", "False", "WaitingForVolumes")];
    let mut waiting = seen(up(), &facts);
    assert_eq!(says(&waiting).1, "WaitingForVolumes");
    let (volume, _) = waiting.volumes.get_mut("root").unwrap();
    let volume = Arc::make_mut(volume);
    volume.metadata.generation = Some(1);
    let ready = serde_json::from_value(fact("Ready", "False", "SmallerThanImage")).unwrap();
    volume.status = Some(nubium_api::VolumeStatus { conditions: vec![ready], ..Default::default() });
    assert_eq!(says(&waiting).1, "SmallerThanImage");
    let message = verdict(&desired(&waiting), &waiting).message;
    assert_eq!(message, "Volume web-1-root: SmallerThanImage");
}

#[test]
fn a_size_that_nobody_carried_out_is_not_ready() {
    let facts =
        [fact("VolumesReady", "True", "A"), fact("NetworkReady", "True", "A"), fact("Running", "True", "Running")];
    let mut runs = seen(up(), &facts);
    let in_force = serde_json::from_value(json!({"cpu": "1", "memory": "65536Ki"})).unwrap();
    Arc::make_mut(&mut runs.server).status.as_mut().unwrap().resources = Some(in_force);
    assert_eq!(says(&runs), (State::Ready, "Running".into()), "the same in other words");
    let larger = serde_json::from_value(json!({"cpu": 2, "memory": "64Mi"})).unwrap();
    Arc::make_mut(&mut runs.server).spec.resources = Some(larger);
    assert_eq!(says(&runs), (State::Working, "ResizePending".into()));
    let message = verdict(&desired(&runs), &runs).message;
    assert!(message.starts_with("it has 1 cpu and 65536Ki of memory, not 2 and 64Mi: "), "{message}");

    let mut runs = seen(up(), &facts);
    let size = |text: &str| Some(serde_json::from_value(json!(text)).unwrap());
    Arc::make_mut(&mut runs.volumes.get_mut("root").unwrap().0).spec.size = size("1Gi");
    Arc::make_mut(&mut runs.server).spec.disks[0].size = size("2Gi");
    let message = verdict(&desired(&runs), &runs).message;
    assert!(message.starts_with("disk root has 1Gi, not 2Gi: "), "{message}");
}

#[test]
fn a_silent_host_makes_it_unknown_whatever_was_seen_before() {
    let facts =
        [fact("VolumesReady", "True", "A"), fact("NetworkReady", "True", "A"), fact("Running", "True", "Running")];
    let mut silent = seen(up(), &facts);
    silent.host = Bound::ToSilent("host-a".into());
    assert_eq!(says(&silent), (State::Unknown, "HostSilent".into()));
}

#[test]
fn a_disk_that_says_retain_and_one_that_is_no_more_in_the_spec_keep_their_volume() {
    let going = State_ { deleted: true, released: true, ..up() };
    let steps = |change: fn(&mut Server)| -> BTreeSet<String> {
        let mut seen = seen(going, &[]);
        change(Arc::make_mut(&mut seen.server));
        let stages = plan(&desired(&seen), &seen).stages;
        stages
            .into_iter()
            .flatten()
            .map(|step| format!("{step:?}").split([' ', '{']).next().unwrap().to_owned())
            .collect()
    };
    assert!(steps(|_| {}).contains("DeleteVolume"));
    let retain = |server: &mut Server| server.spec.disks[0].deletion_policy = Some(nubium_api::DeletionPolicy::Retain);
    assert!(!steps(retain).contains("DeleteVolume"));
    assert!(!steps(|server| server.spec.disks[0].name = "other".into()).contains("DeleteVolume"));
}

/// A Server that runs as its spec says, with all that it made.
fn settled() -> Gathered {
    let facts = [
        fact("VolumesReady", "True", "VolumesReady"),
        fact("NetworkReady", "True", "NetworkReady"),
        fact("Running", "True", "Running"),
    ];
    seen(up(), &facts)
}

/// That Server with another spec, of which its host has said the same.
fn edited(edit: impl Fn(&mut Value)) -> Gathered {
    let mut seen = settled();
    let mut object = serde_json::to_value(seen.server.as_ref()).unwrap();
    edit(&mut object["spec"]);
    seen.server = Arc::new(serde_json::from_value(object).unwrap());
    seen
}

#[test]
fn no_edit_is_ready_that_was_not_carried_out() {
    assert_eq!(says(&settled()), (State::Ready, "Running".into()));
    let pending = |edit: fn(&mut Value)| says(&edited(edit));
    let waits = |reason: &str| (State::Working, reason.to_owned());
    let flavor = |spec: &mut Value| {
        spec["resources"] = Value::Null;
        spec["flavor"] = json!("unknown");
    };
    assert_eq!(pending(flavor), waits("FlavorNotFound"));
    assert_eq!(pending(|spec| spec["nics"][0]["network"] = json!("red")), waits("NicChangePending"));
    assert_eq!(pending(|spec| spec["nics"][0]["address"] = json!("10.0.0.77")), waits("NicChangePending"));
    assert_eq!(pending(|spec| spec["disks"][0]["pool"] = json!("other")), waits("DiskChangePending"));
    let from_another = |spec: &mut Value| spec["disks"][0]["image"] = json!("another");
    assert_eq!(pending(from_another), waits("DiskChangePending"));

    // A Flavor may go once a Server was placed with its size.
    let mut placed = edited(flavor);
    let mut server = placed.server.as_ref().clone();
    let resources = json!({"cpu": 1, "memory": "64Mi", "flavor": "unknown"});
    server.status.as_mut().unwrap().resources = Some(serde_json::from_value(resources).unwrap());
    placed.server = Arc::new(server);
    assert_eq!(says(&placed), (State::Ready, "Running".into()));
}

#[test]
fn the_port_of_a_nic_that_was_taken_away_goes_and_the_volume_of_a_disk_stays() {
    let without = edited(|spec| {
        spec["nics"] = json!([]);
        spec["disks"] = json!([{"name": "other", "volume": "data"}]);
    });
    let steps = plan(&desired(&without), &without).stages.concat();
    let deletes = |step: &&Step| matches!(step, Step::DeletePort { key, .. } if key.name == "web-1-eth0");
    assert_eq!(steps.iter().filter(deletes).count(), 1);
    assert!(steps.contains(&Step::Confirm), "only what is asked now, seen live, lets a Port go");
    assert!(!steps.iter().any(|step| matches!(step, Step::DeleteVolume { .. })));
    let settled = settled();
    assert!(plan(&desired(&settled), &settled).stages.is_empty());
}

#[test]
fn an_edited_cloud_init_is_said_and_takes_nothing_from_ready() {
    let mut edited = edited(|spec| spec["cloudInit"] = json!({"hostname": "other"}));
    edited.seed = Seed::There(Some(super::seed::digest(&settled().server)));
    let verdict = verdict(&desired(&edited), &edited);
    assert_eq!(verdict.state, State::Ready);
    let reported = super::status::status(&verdict, &edited).conditions;
    assert!(reported.iter().any(|fact| fact.type_ == "CloudInitCurrent" && fact.reason == "EditedAfterFirstBoot"));
    edited.seed = Seed::There(Some(super::seed::digest(&edited.server)));
    assert!(!super::status::status(&verdict, &edited).conditions.iter().any(|fact| fact.type_ == "CloudInitCurrent"));
}
