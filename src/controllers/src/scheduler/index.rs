//! How much of each host is free, kept by every change of a Host or a Server: a placement looks at the best hosts only, never
//! at all hosts or all Servers. No I/O.
//!
//! ```text
//!  Host changed ───▶ facts ─┐
//!  Server changed ─▶ holds ─┼─▶ free room of that host ─▶ hosts by free CPUs, there by most free memory
//!  given by us ────▶ size ──┘
//! ```

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use kube::ResourceExt;
use nubium_api::{Host, Server, ServerResources};

use super::{
    gather,
    plan::{Candidate, Request, UNREPORTED, Unplaced, lack},
};

/// Most free memory first, then by name.
type Rank = (Reverse<i64>, Arc<str>);

/// All hosts, and what Servers hold of them.
#[derive(Debug, Default)]
pub struct Index {
    hosts: BTreeMap<Arc<str>, Candidate>,
    /// The hosts that take Servers, by free CPUs.
    open: BTreeMap<i64, BTreeSet<Rank>>,
    /// The hosts that are ready and have not reported yet what runs there.
    unreported: BTreeSet<Arc<str>>,
    /// By Server UID: what it holds.
    held: HashMap<String, Held>,
    /// The sum of it by host. A host may be unknown, and known again later.
    used: HashMap<Arc<str>, Room>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    host: Arc<str>,
    room: Room,
    /// Given here, and not yet shown by a watch.
    expected: bool,
}

/// Sums of many sizes of 64 bits do not overflow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Room {
    cpu: i128,
    memory: i128,
}

impl From<&ServerResources> for Room {
    fn from(size: &ServerResources) -> Self {
        Self { cpu: size.cpu.count().unwrap_or(0).into(), memory: size.memory.bytes().unwrap_or(0).into() }
    }
}

impl Index {
    /// Takes in a change of a Host. Whether it may help a Server that waits.
    pub fn host_changed(&mut self, old: Option<&Host>, new: Option<&Host>) -> bool {
        let seen = |host: Option<&Host>| host.and_then(gather::host);
        let (before, now) = (seen(old), seen(new));
        let Some(name) = new.or(old).map(|host| Arc::from(host.name_any())) else { return false };
        let known = self.hosts.contains_key(&name);
        if before == now && known == now.is_some() {
            return false;
        }
        self.unfile(&name);
        match now {
            Some(host) => drop(self.hosts.insert(name.clone(), host)),
            None => drop(self.hosts.remove(&name)),
        }
        self.file(&name);
        true
    }

    /// Takes in a change of a Server. Whether it has freed something.
    pub fn server_changed(&mut self, old: Option<&Server>, new: Option<&Server>) -> bool {
        let uid = |server: Option<&Server>| server.and_then(|server| server.metadata.uid.clone());
        let (before, now) = (uid(old), uid(new));
        let mut freed = false;
        if let Some(before) = before.filter(|before| Some(before) != now.as_ref()) {
            freed |= self.remove(&before);
        }
        let (Some(uid), Some(server)) = (now, new) else { return freed };
        match gather::holds(server) {
            Some((host, size)) => {
                let held = Held { host: host.into(), room: size.into(), expected: false };
                freed | self.hold(uid, held)
            }
            // What was given to it is on its way.
            None if self.held.get(&uid).is_some_and(|held| held.expected) => freed,
            None => freed | self.remove(&uid),
        }
    }

    /// Whether that Server holds something, or was given it.
    pub fn is_held(&self, uid: &str) -> bool {
        self.held.contains_key(uid)
    }

    /// Gives a Server its size of a host. It counts from now on, until a watch shows that Server otherwise or it is taken back.
    pub fn give(&mut self, uid: String, host: &str, size: &ServerResources) {
        self.hold(uid, Held { host: host.into(), room: size.into(), expected: true });
    }

    /// What was given could not be written. What a watch has shown meanwhile stands. Whether it has freed something.
    pub fn take_back(&mut self, uid: &str) -> bool {
        self.held.get(uid).is_some_and(|held| held.expected) && self.remove(uid)
    }

    /// A host, as it is now.
    pub(super) fn host(&self, name: &str) -> Option<&Candidate> {
        self.hosts.get(name)
    }

    /// Whether that has freed something.
    fn hold(&mut self, uid: String, held: Held) -> bool {
        self.add(&held, 1);
        let (host, room) = (held.host.clone(), held.room);
        let Some(old) = self.held.insert(uid, held) else { return false };
        self.add(&old, -1);
        old.host != host || old.room.cpu > room.cpu || old.room.memory > room.memory
    }

    /// Whether it did hold something.
    fn remove(&mut self, uid: &str) -> bool {
        let Some(old) = self.held.remove(uid) else { return false };
        self.add(&old, -1);
        true
    }

    /// The host for `request`: of those that fit, the one with most memory left over, then the first by name.
    ///
    /// # Errors
    /// Why there is none.
    pub fn place(&self, request: &Request) -> Result<&str, Unplaced> {
        let fits = |host: &&Candidate| lack(request, host).is_none();
        let best = match request.only_host() {
            Some(name) => self.hosts.get(name).filter(fits),
            None => self.best(request),
        };
        best.map(|host| host.name.as_str()).ok_or_else(|| self.unplaced(request))
    }

    fn best(&self, request: &Request) -> Option<&Candidate> {
        let mut best: Option<(&Rank, &Candidate)> = None;
        for hosts in self.open.range(request.least_cpu()..).map(|(_, hosts)| hosts) {
            let better = hosts.iter().take_while(|rank| {
                let Reverse(memory) = rank.0;
                memory >= request.least_memory() && best.is_none_or(|(first, _)| rank < &first)
            });
            let mut better = better.filter_map(|rank| Some((rank, self.hosts.get(&rank.1)?)));
            best = better.find(|(_, host)| lack(request, host).is_none()).or(best);
        }
        best.map(|(_, host)| host)
    }

    fn unplaced(&self, request: &Request) -> Unplaced {
        let known = |name: &Arc<str>| self.hosts.get(name);
        let unreported = self.unreported.iter().filter_map(known);
        let unreported = unreported.filter(|host| lack(request, host).as_deref() == Some(UNREPORTED));
        let unreported: Vec<String> = unreported.map(|host| format!("host {}", host.name)).collect();
        if unreported.is_empty() {
            Unplaced::no_host_fits(request, self.hosts.values())
        } else {
            Unplaced::Unreported(unreported)
        }
    }

    fn add(&mut self, held: &Held, sign: i128) {
        self.unfile(&held.host);
        let used = self.used.entry(held.host.clone()).or_default();
        used.cpu += sign * held.room.cpu;
        used.memory += sign * held.room.memory;
        if *used == Room::default() {
            self.used.remove(&held.host);
        }
        self.file(&held.host);
    }

    /// Takes a host out of the lists that it is found by, before it changes.
    fn unfile(&mut self, name: &Arc<str>) {
        self.unreported.remove(name);
        let Some(host) = self.hosts.get(name) else { return };
        if let Some(hosts) = self.open.get_mut(&host.cpu_free) {
            hosts.remove(&(Reverse(host.memory_free), name.clone()));
            if hosts.is_empty() {
                self.open.remove(&host.cpu_free);
            }
        }
    }

    /// Counts its free room, and puts it into those lists.
    fn file(&mut self, name: &Arc<str>) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        let used = self.used.get(name).copied().unwrap_or_default();
        host.cpu_free = left(host.cpu_capacity, used.cpu);
        host.memory_free = left(host.memory_capacity, used.memory);
        if host.ready && !host.reported {
            self.unreported.insert(name.clone());
        }
        if host.ready && host.reported && !host.unschedulable {
            let rank = (Reverse(host.memory_free), name.clone());
            self.open.entry(host.cpu_free).or_default().insert(rank);
        }
    }

    /// Puts in a host of that free room.
    #[cfg(test)]
    pub(super) fn put(&mut self, host: Candidate) {
        let name: Arc<str> = host.name.as_str().into();
        let cpu = i128::from(host.cpu_capacity) - i128::from(host.cpu_free);
        let memory = i128::from(host.memory_capacity) - i128::from(host.memory_free);
        self.used.insert(name.clone(), Room { cpu, memory });
        self.hosts.insert(name.clone(), host);
        self.file(&name);
    }

    #[cfg(test)]
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        self.hosts.values().cloned().collect()
    }
}

/// Negative where more is used than there is, as on a host that was made smaller.
fn left(capacity: i64, used: i128) -> i64 {
    let left = i128::from(capacity) - used;
    i64::try_from(left).unwrap_or(if left < 0 { i64::MIN } else { i64::MAX })
}
