//! The difference between the input and the host, as an ordered list of steps.
//!
//! A start, in order: the seed and the definition (whose record names all that is made from here on), the taps, QEMU with
//! its guest halted, each tap into its Network, and only then the guest runs. The way out, in order: the guest off, its
//! taps, its folder, and last the definition, which is the record of the rest.

use std::path::PathBuf;

use nubium_host::libvirt::{
    DiskFile, DiskFormat, DiskSpec, DomainRecord, DomainSeen, DomainSpec, DomainState, Element, NicSpec, Off, Stop,
    merge,
};
use nubium_host::network::{Netns, Tap};
use nubium_host::seed::Seed;
use nubium_host::storage::VolumeSeen;
use uuid::Uuid;

use super::desired::{Desired, Presence, Settings, WantedDisk, WantedNic};
use super::observe::Seen;
use super::power::{self, Due, Move, Power};
use super::slots::{self, Slots};

/// How often a guest that is to power off hears the button, in seconds, whatever wakes a pass meanwhile.
const PRESS_EVERY: i64 = 5;

/// How often room is looked for, for a guest that a full pool has paused.
const LOOK_FOR_ROOM: u64 = 2;

/// One primitive, idempotent call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    PutSeed {
        path: PathBuf,
        seed: Seed,
        owner: (u32, u32),
    },
    Define {
        name: String,
        xml: String,
    },
    /// Makes a running domain persistent again.
    DefineAgain {
        name: String,
        xml: String,
    },
    CreateTap {
        tap: Tap,
    },
    DeleteTap {
        name: String,
        netns: Netns,
    },
    StartPaused {
        uid: Uuid,
        found: Option<Found>,
    },
    /// `must`: a guest that starts must have it; one that only stood still goes on without a tap that was deleted.
    MoveTap {
        name: String,
        netns: Netns,
        mtu: u32,
        must: bool,
    },
    Resume {
        uid: Uuid,
    },
    Press {
        uid: Uuid,
    },
    Kill {
        uid: Uuid,
        why: Why,
    },
    Remember {
        owner: DomainRecord,
    },
    RemoveFolder {
        path: PathBuf,
    },
    Undefine {
        uid: Uuid,
    },
}

/// What was found of a guest that should have been running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    EndedByHost,
    Destroyed,
    Died,
    NotStarted,
    /// libvirtd or the host was restarted meanwhile.
    OffForUnknownReason,
}

/// Why a guest is turned off hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    DidNotPowerOff,
    StoodStill,
    Panicked,
}

/// What cannot be done, and no step can help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A domain of that UUID is somebody else's.
    NotOurs,
    /// A domain of that name belongs to an earlier Server.
    HeldByStranger { uid: Uuid },
    /// What is there was made for a later generation than the input we were given.
    OlderGeneration { there: i64 },
    /// What a start needs is not there yet.
    Waiting { volumes: Vec<String>, networks: Vec<String>, seed: bool },
    /// The host keeps no cpu and memory for it.
    NotAdmitted,
    /// The guest has no place for that many devices.
    NoSlot { device: String },
    /// The definition on the host cannot be read.
    Unreadable,
}

/// What to do, in order. `Plan::default()`: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub refusal: Option<Refusal>,
    /// Come back after so many seconds, unasked: a deadline runs.
    pub again: Option<u64>,
}

impl Plan {
    /// Pure: the same input and world give the same plan.
    #[must_use]
    pub fn new(want: &Desired, seen: &Seen, settings: &Settings) -> Self {
        match refuse(want, seen) {
            Some(refusal) => Self { refusal: Some(refusal), ..Self::default() },
            None => {
                let mut plan = match &want.presence {
                    Presence::Present => present(want, seen, settings),
                    Presence::Absent(_) => absent(want, seen, settings),
                };
                plan.steps.splice(0..0, seen.domain.as_ref().and_then(define_again));
                plan
            }
        }
    }
}

/// Without a definition, libvirt would forget a guest when it ends, and with it the record of its taps.
fn define_again(domain: &DomainSeen) -> Option<Step> {
    let xml = || domain.definition.clone();
    (!domain.persistent).then(|| Step::DefineAgain { name: domain.name.clone(), xml: xml() })
}

fn refuse(want: &Desired, seen: &Seen) -> Option<Refusal> {
    match (&seen.domain, seen.name_held_by) {
        (Some(DomainSeen { owner: Some(owner), .. }), _) if owner.uid != want.uid => Some(Refusal::NotOurs),
        (Some(DomainSeen { owner: Some(owner), .. }), _) => {
            let newer = owner.generation > want.generation && want.presence == Presence::Present;
            newer.then_some(Refusal::OlderGeneration { there: owner.generation })
        }
        (Some(DomainSeen { owner: None, .. }), _) => Some(Refusal::NotOurs),
        (None, Some(uid)) if want.presence == Presence::Present => Some(Refusal::HeldByStranger { uid }),
        (None, _) => None,
    }
}

pub(super) fn desired_power(want: &Desired, owner: &DomainRecord) -> Power {
    match (&want.presence, want.running) {
        (Presence::Absent(_), _) => Power::Absent,
        (Presence::Present, false) => Power::Stopped,
        (Presence::Present, true) if want.restarted_at.is_some() && want.restarted_at != owner.restarted_at => {
            Power::Restarted
        }
        (Presence::Present, true) => Power::Running,
    }
}

/// A stop that we asked for, at `at`: seconds until its deadline, and until the button may be pressed again.
struct Stopping {
    at: i64,
    deadline: i64,
    press: i64,
}

impl Stopping {
    /// By the domain's record, so that another pass, or another agent, comes to the same.
    fn of(owner: &DomainRecord, seen: &Seen, settings: &Settings) -> Option<Self> {
        let Some(Stop::Asked { at, pressed }) = owner.stop else { return None };
        let deadline = i64::try_from(settings.stop_deadline.as_secs()).unwrap_or(i64::MAX);
        let left = |since: i64, seconds: i64| seconds.saturating_sub(seen.now.saturating_sub(since)).max(0);
        // A time that is still to come was not measured since this boot: the guest has all its time, and is asked anew.
        if at > seen.now || pressed > seen.now {
            return Some(Self { at: seen.now, deadline, press: 0 });
        }
        Some(Self { at, deadline: left(at, deadline), press: left(pressed, PRESS_EVERY) })
    }

    fn due(&self) -> Due {
        match (self.deadline, self.press) {
            (0, _) => Due::Kill,
            (_, 0) => Due::Press,
            (_, _) => Due::Nothing,
        }
    }

    /// Seconds until something is due; `None`: it is already.
    fn again(&self) -> Option<u64> {
        let next = if self.press > 0 { self.deadline.min(self.press) } else { self.deadline };
        u64::try_from(next).ok().filter(|next| *next > 0)
    }
}

fn present(want: &Desired, seen: &Seen, settings: &Settings) -> Plan {
    let Some(domain) = &seen.domain else {
        return if want.running { start(want, seen, settings, None) } else { Plan::default() };
    };
    let mut plan = powered(want, seen, settings, domain);
    // Whatever else was decided, the record says which generation it was decided by.
    let Some(owner) = domain.owner.as_ref().filter(|owner| owner.generation != want.generation) else { return plan };
    if plan.refusal.is_none()
        && !plan.steps.iter().any(|step| matches!(step, Step::Define { .. } | Step::Remember { .. }))
    {
        plan.steps.push(Step::Remember { owner: DomainRecord { generation: want.generation, ..owner.clone() } });
    }
    plan
}

/// What the table says, as steps.
fn powered(want: &Desired, seen: &Seen, settings: &Settings, domain: &DomainSeen) -> Plan {
    let owner = domain.owner.as_ref().expect("a domain without an owner is refused before");
    let uid = want.uid;
    let stopping = Stopping::of(owner, seen, settings);
    let remember = |stop| Step::Remember { owner: DomainRecord { generation: want.generation, stop, ..owner.clone() } };
    let asked = |at: i64| remember(Some(Stop::Asked { at, pressed: seen.now }));
    let desired = desired_power(want, owner);
    // A guest that could not come up again is not restarted.
    let lacking = no_start(want, seen, &slots::assign(want, Some(domain)));
    if let (Power::Restarted, true, None, Some(refusal)) = (desired, domain.live.is_some(), &stopping, lacking) {
        return Plan { refusal: Some(refusal), ..Plan::default() };
    }
    let due = stopping.as_ref().map_or(Due::Nothing, Stopping::due);
    match power::next(desired, domain.state, owner.stop.as_ref(), due) {
        None => {
            let again = stopping.as_ref().and_then(Stopping::again);
            Plan { steps: idle_taps(want, seen, domain), again, ..Plan::default() }
        }
        Some(Move::Start) => start(want, seen, settings, Some(domain)),
        Some(Move::Resume) if !seen.full_pools.is_empty() => Plan { again: Some(LOOK_FOR_ROOM), ..Plan::default() },
        Some(Move::Resume) => {
            let missing = want.nics.iter().filter(|nic| !in_place(nic, seen)).map(|nic| move_tap(nic, false));
            Plan { steps: missing.chain([Step::Resume { uid }]).collect(), ..Plan::default() }
        }
        Some(Move::Press) => {
            let steps = vec![asked(seen.now), Step::Press { uid }];
            Plan { steps, again: u64::try_from(PRESS_EVERY).ok(), ..Plan::default() }
        }
        Some(Move::PressAgain) => {
            let stopping = stopping.map(|stopping| Stopping { press: PRESS_EVERY, ..stopping });
            let at = stopping.as_ref().map_or(seen.now, |stopping| stopping.at);
            let again = stopping.as_ref().and_then(Stopping::again);
            Plan { steps: vec![asked(at), Step::Press { uid }], again, ..Plan::default() }
        }
        Some(Move::Kill) => {
            let why = match domain.state {
                DomainState::Paused(_) => Why::StoodStill,
                DomainState::Crashed => Why::Panicked,
                DomainState::Running | DomainState::Stopping | DomainState::Off(_) => Why::DidNotPowerOff,
            };
            let first = stopping.is_none().then(|| asked(seen.now));
            Plan { steps: first.into_iter().chain([Step::Kill { uid, why }]).collect(), ..Plan::default() }
        }
        Some(Move::Remember(stop)) => {
            let mut steps = idle_taps(want, seen, domain);
            steps.push(remember(stop));
            Plan { steps, ..Plan::default() }
        }
        Some(Move::Undefine) => Plan { steps: vec![Step::Undefine { uid }], ..Plan::default() },
    }
}

fn absent(want: &Desired, seen: &Seen, settings: &Settings) -> Plan {
    let folder = seen.folder.then(|| Step::RemoveFolder { path: want.folder(settings) });
    let Some(domain) = &seen.domain else {
        return Plan { steps: folder.into_iter().collect(), ..Plan::default() };
    };
    let mut plan = powered(want, seen, settings, domain);
    if let Some(undefine) = plan.steps.pop_if(|step| matches!(step, Step::Undefine { .. })) {
        // Whether they are seen or not: one may have been left on its way into its Network.
        plan.steps = own_taps(want, seen, domain).map(|(name, netns)| Step::DeleteTap { name, netns }).collect();
        plan.steps.extend(folder);
        plan.steps.push(undefine);
    }
    plan
}

/// The taps on a domain's record that are still its own: the Port of one may be another Server's by now, and its tap in
/// use by that one's guest.
fn own_taps(want: &Desired, seen: &Seen, domain: &DomainSeen) -> impl Iterator<Item = (String, Netns)> {
    let taps = domain.owner.iter().flat_map(|owner| &owner.taps);
    let own = taps.filter(|(tap, _)| !want.others_taps.contains(*tap) && !seen.held_taps.contains(*tap));
    own.filter_map(|(tap, netns)| Some((tap.clone(), Netns::parse(netns)?)))
}

/// A guest that is off, and stays off for now, needs no taps.
fn idle_taps(want: &Desired, seen: &Seen, domain: &DomainSeen) -> Vec<Step> {
    let DomainState::Off(_) = domain.state else { return Vec::new() };
    let there = own_taps(want, seen, domain)
        .filter(|(tap, netns)| seen.networks.get(netns).is_some_and(|network| network.taps.contains_key(tap)));
    there.map(|(name, netns)| Step::DeleteTap { name, netns }).collect()
}

fn in_place(nic: &WantedNic, seen: &Seen) -> bool {
    seen.networks.get(&nic.netns).is_some_and(|network| network.taps.contains_key(&nic.tap))
}

fn move_tap(nic: &WantedNic, must: bool) -> Step {
    Step::MoveTap { name: nic.tap.clone(), netns: nic.netns.clone(), mtu: nic.mtu, must }
}

fn start(want: &Desired, seen: &Seen, settings: &Settings, domain: Option<&DomainSeen>) -> Plan {
    let slots = slots::assign(want, domain);
    let refused = no_start(want, seen, &slots);
    let before = domain.map(|domain| Element::parse(&domain.definition)).transpose();
    let (None, Ok(before)) = (&refused, before) else {
        return Plan { refusal: Some(refused.unwrap_or(Refusal::Unreadable)), ..Plan::default() };
    };
    let mut steps = Vec::new();
    let folder = want.folder(settings);
    if let (Some(seed), false) = (&want.seed, seen.seed_is_there) {
        let owner = (settings.qemu.uid, settings.qemu.gid);
        steps.push(Step::PutSeed { path: Desired::seed_path(&folder), seed: seed.clone(), owner });
    }
    // Also those of an earlier start: a tap cannot be made where one is, and a NIC that went leaves its own behind,
    // maybe on its way into its Network, where it is not seen.
    let gone = |(name, _): &(String, Netns)| want.nics.iter().all(|nic| nic.tap != *name);
    let gone = domain.into_iter().flat_map(|domain| own_taps(want, seen, domain).filter(gone));
    let mut recorded: Vec<Step> = domain.map(|domain| idle_taps(want, seen, domain)).unwrap_or_default();
    for step in gone.map(|(name, netns)| Step::DeleteTap { name, netns }) {
        if !recorded.contains(&step) {
            recorded.push(step);
        }
    }
    let stale = want.nics.iter().filter(|nic| in_place(nic, seen));
    let stale = stale.map(|nic| Step::DeleteTap { name: nic.tap.clone(), netns: nic.netns.clone() });
    let stale: Vec<Step> = stale.filter(|step| !recorded.contains(step)).collect();
    steps.extend(recorded.into_iter().chain(stale));
    let spec = spec(want, seen, settings, &slots);
    let definition = merge(&spec, before.as_ref());
    if before.as_ref() != Some(&definition) {
        steps.push(Step::Define { name: spec.owner.domain_name(), xml: definition.to_xml() });
    }
    for nic in &want.nics {
        let tap = Tap { name: nic.tap.clone(), owner: settings.qemu.uid, mtu: nic.mtu, alias: nic.uid.to_string() };
        steps.push(Step::CreateTap { tap });
    }
    steps.push(Step::StartPaused { uid: want.uid, found: domain.and_then(found) });
    steps.extend(want.nics.iter().map(|nic| move_tap(nic, true)));
    steps.push(Step::Resume { uid: want.uid });
    Plan { steps, ..Plan::default() }
}

fn found(domain: &DomainSeen) -> Option<Found> {
    match (domain.state, domain.owner.as_ref().and_then(|owner| owner.stop.as_ref())) {
        (DomainState::Off(off), None) => Some(match off {
            Off::Host => Found::EndedByHost,
            Off::Destroyed => Found::Destroyed,
            Off::Crashed => Found::Died,
            Off::Failed => Found::NotStarted,
            Off::Unknown => Found::OffForUnknownReason,
            Off::Guest => return None,
        }),
        _ => None,
    }
}

/// Why the guest cannot be started.
fn no_start(want: &Desired, seen: &Seen, slots: &Slots) -> Option<Refusal> {
    let admitted = || (!want.admitted).then_some(Refusal::NotAdmitted);
    waiting(want, seen).or_else(|| no_slot(want, slots)).or_else(admitted)
}

/// What a start still waits for.
fn waiting(want: &Desired, seen: &Seen) -> Option<Refusal> {
    let mut volumes: Vec<String> = want.waiting_disks.values().cloned().collect();
    volumes.extend(want.disks.iter().filter_map(|disk| disk_lacks(disk, seen)));
    let mut networks: Vec<String> = want.waiting_nics.values().cloned().collect();
    networks.extend(want.nics.iter().filter_map(|nic| nic_lacks(nic, seen)));
    let seed = want.seed.is_none() && !seen.seed_is_there;
    let ready = volumes.is_empty() && networks.is_empty() && !seed;
    (!ready).then_some(Refusal::Waiting { volumes, networks, seed })
}

pub(super) fn disk_lacks(disk: &WantedDisk, seen: &Seen) -> Option<String> {
    let missing = !seen.volumes.contains_key(&disk.name);
    missing.then(|| format!("Volume {} is not made yet", disk.file.name()))
}

/// A guest is started into a Network whose rules already know it: it is never heard unfiltered, nor unheard.
pub(super) fn nic_lacks(nic: &WantedNic, seen: &Seen) -> Option<String> {
    let name = nic.netns.network();
    let Some(network) = seen.networks.get(&nic.netns) else {
        return Some(format!("Network {name} is not made on this host yet"));
    };
    let known = network.guests.get(&nic.tap).is_some_and(|guest| guest.macs.contains(&nic.mac));
    if !known {
        return Some(format!("Network {name} does not let NIC {} speak yet", nic.name));
    }
    let held = seen.held_taps.contains(&nic.tap);
    held.then(|| {
        format!("the guest of another Server still uses the Port of NIC {}: it has to stop or restart", nic.name)
    })
}

fn no_slot(want: &Desired, slots: &Slots) -> Option<Refusal> {
    let disks = want.disks.iter().map(|disk| (&disk.name, disk.uid));
    let nics = want.nics.iter().map(|nic| (&nic.name, nic.uid));
    let (name, _) = disks.chain(nics).find(|(_, uid)| !slots.contains_key(uid))?;
    Some(Refusal::NoSlot { device: name.clone() })
}

/// The domain that the next start runs. Everything it names was seen.
pub(super) fn spec(want: &Desired, seen: &Seen, settings: &Settings, slots: &Slots) -> DomainSpec {
    let folder = want.folder(settings);
    let disk = |disk: &WantedDisk| {
        let VolumeSeen { path, image, .. } = seen.volumes.get(&disk.name)?;
        let qcow2 = |path: &PathBuf| DiskFile { path: path.clone(), format: DiskFormat::Qcow2 };
        Some(DiskSpec {
            volume: disk.uid,
            slot: *slots.get(&disk.uid)?,
            file: qcow2(path),
            backing: image.iter().map(|image| qcow2(&image.path)).collect(),
        })
    };
    let nic = |nic: &WantedNic| {
        Some(NicSpec {
            port: nic.uid,
            slot: *slots.get(&nic.uid)?,
            mac: nic.mac.to_string(),
            tap: nic.tap.clone(),
            mtu: nic.mtu,
        })
    };
    DomainSpec {
        owner: DomainRecord {
            namespace: want.namespace.clone(),
            name: want.name.clone(),
            uid: want.uid,
            generation: want.generation,
            restarted_at: want.restarted_at.clone(),
            stop: None,
            taps: want.nics.iter().map(|nic| (nic.tap.clone(), nic.netns.to_string())).collect(),
        },
        accelerator: settings.accelerator,
        vcpus: want.vcpus,
        memory_bytes: want.memory_bytes,
        disks: want.disks.iter().filter_map(disk).collect(),
        nics: want.nics.iter().filter_map(nic).collect(),
        seed: Some(Desired::seed_path(&folder)),
        console_log: Desired::console_log(&folder),
        qemu: settings.qemu,
    }
}
