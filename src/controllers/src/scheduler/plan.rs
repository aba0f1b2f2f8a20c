//! What a Server asks, what a host has, and why one does not fit the other. Pure.

use std::{collections::BTreeMap, fmt};

use kube::core::{Selector, SelectorExt};
use nubium_api::{Quantity, ServerResources};

/// What a Server asks of a host.
#[derive(Debug, Clone)]
pub struct Request {
    pub resources: ServerResources,
    pub cpu: u64,
    pub memory: u64,
    /// It is to run, and needs room at once.
    pub runs: bool,
    /// This host and no other.
    pub host: Option<String>,
    /// Hosts with these labels.
    pub selector: Option<Selector>,
    /// Its Volumes that live on a host already: name, host.
    pub volumes: Vec<(String, String)>,
    /// The pools that its other Volumes go to.
    pub pools: Vec<String>,
}

impl Request {
    /// The one host that it can go to, where something names one.
    pub(super) fn only_host(&self) -> Option<&str> {
        self.host.as_deref().or_else(|| self.volumes.first().map(|(_, host)| host.as_str()))
    }

    /// The CPUs that have to be free: as many as are used too, for one that is not to run.
    pub(super) fn least_cpu(&self) -> i64 {
        if self.runs { to_i64(self.cpu) } else { i64::MIN }
    }

    /// The memory that has to be free.
    pub(super) fn least_memory(&self) -> i64 {
        if self.runs { to_i64(self.memory) } else { i64::MIN }
    }
}

/// A host as the scheduler sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Candidate {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// Its heartbeat is there and its agent works.
    pub ready: bool,
    /// It has said what it runs.
    pub reported: bool,
    pub unschedulable: bool,
    pub pools: Vec<String>,
    pub cpu_free: i64,
    pub memory_free: i64,
    /// With no Server running there.
    pub cpu_capacity: i64,
    pub memory_capacity: i64,
}

/// Why a Server has no host yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unplaced {
    /// Something about the Server itself: reason and message.
    Waits(&'static str, String),
    /// None fits of those that have reported what they run, and these have not yet.
    Unreported(Vec<String>),
    /// No host fits: how many there are, and what the first of them lack.
    NoHostFits { hosts: usize, lacking: Vec<(String, String)> },
}

/// So many hosts are named: a message is read by people.
const NAMED: usize = 5;

impl Unplaced {
    /// None of these hosts fits, which are ordered by name.
    pub(super) fn no_host_fits<'a>(request: &Request, hosts: impl ExactSizeIterator<Item = &'a Candidate>) -> Self {
        let count = hosts.len();
        let lacking = hosts.take(NAMED).filter_map(|host| Some((host.name.clone(), lack(request, host)?)));
        Self::NoHostFits { hosts: count, lacking: lacking.collect() }
    }

    /// One word for it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Waits(reason, _) => reason,
            Self::Unreported(_) => "WaitingForHosts",
            Self::NoHostFits { .. } => "NoHostFits",
        }
    }
}

impl fmt::Display for Unplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waits(_, message) => f.write_str(message),
            Self::Unreported(hosts) => {
                write!(f, "waits for {} to report what runs there", crate::verdict::names(hosts))
            }
            Self::NoHostFits { hosts: 0, lacking: _ } => f.write_str("there is no host yet: start an agent on one"),
            Self::NoHostFits { hosts, lacking } => {
                write!(f, "0/{hosts} hosts fit: ")?;
                for (index, (host, lack)) in lacking.iter().enumerate() {
                    write!(f, "{}{host} {lack}", if index == 0 { "" } else { "; " })?;
                }
                if *hosts > lacking.len() { write!(f, "; and {} more", hosts - lacking.len()) } else { Ok(()) }
            }
        }
    }
}

/// What a host lacks whose agent has not written yet what runs there: until then nobody knows its room.
pub(super) const UNREPORTED: &str = "has not reported yet what runs there";

/// Why `host` does not fit, as the end of a sentence that begins with its name.
pub(super) fn lack(request: &Request, host: &Candidate) -> Option<String> {
    let Request { resources: _, cpu, memory, runs, host: only, selector, volumes, pools } = request;
    if only.as_ref().is_some_and(|only| *only != host.name) {
        return Some("is not the host that spec.scheduling.host names".into());
    }
    if selector.as_ref().is_some_and(|selector| !selector.matches(&host.labels)) {
        return Some("does not match spec.scheduling.hostSelector".into());
    }
    if let Some((volume, where_)) = volumes.iter().find(|(_, where_)| *where_ != host.name) {
        return Some(format!("cannot reach Volume {volume}, which is on {where_}"));
    }
    if !host.ready {
        return Some("is not ready".into());
    }
    if !host.reported {
        return Some(UNREPORTED.into());
    }
    if host.unschedulable {
        return Some("is unschedulable".into());
    }
    if let Some(pool) = pools.iter().find(|pool| !host.pools.contains(pool)) {
        return Some(format!("has no pool {pool}"));
    }
    if *runs {
        return short(*cpu, *memory, host.cpu_free, host.memory_free);
    }
    // A stopped Server holds no room, and must be able to start some day.
    let short = short(*cpu, *memory, host.cpu_capacity, host.memory_capacity)?;
    Some(format!("{short}, even with nothing running there"))
}

fn short(cpu: u64, memory: u64, cpu_room: i64, memory_room: i64) -> Option<String> {
    let cpu_short = to_i64(cpu).saturating_sub(cpu_room);
    let memory_short = to_i64(memory).saturating_sub(memory_room);
    match (cpu_short > 0, memory_short > 0) {
        (false, false) => None,
        (true, false) => Some(format!("lacks {cpu_short} cpu")),
        (false, true) => Some(format!("lacks {} memory", rounded(memory_short))),
        (true, true) => Some(format!("lacks {cpu_short} cpu and {} memory", rounded(memory_short))),
    }
}

/// Whether a Server of that size can start on the host that it is on.
pub(super) fn has_room(host: &Candidate, cpu: u64, memory: u64) -> bool {
    short(cpu, memory, host.cpu_free, host.memory_free).is_none()
}

fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Rounded up to whole mebibytes: people read it.
fn rounded(bytes: i64) -> Quantity {
    const MEBI: u64 = 1 << 20;
    Quantity::from_bytes(u64::try_from(bytes).unwrap_or(0).div_ceil(MEBI).saturating_mul(MEBI))
}
