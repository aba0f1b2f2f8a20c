//! The index after any sequence of changes, against a count from nothing and a placement that looks at every host.

use std::{cmp::Reverse, collections::BTreeMap};

use nubium_api::{Host, Server, ServerResources};
use proptest::{collection::vec, prelude::*};
use serde_json::json;

use super::super::{
    gather,
    index::Index,
    plan::{Candidate, Request, UNREPORTED, Unplaced, lack},
};
use super::{GIB, request};

const HOSTS: usize = 4;
const SERVERS: usize = 8;

/// What happens. Hosts and Servers by number.
#[derive(Debug, Clone)]
enum Change {
    Host {
        host: usize,
        cpu: u32,
        gib: u64,
        ready: bool,
        reported: bool,
        unschedulable: bool,
        deleted: bool,
    },
    NoHost(usize),
    /// The watch shows a Server, as it is or made anew under its name; bound, or not.
    Server {
        server: usize,
        made: u8,
        host: Option<usize>,
        cpu: u32,
        gib: u64,
        released: bool,
        admitted: bool,
    },
    NoServer(usize),
    /// A pass binds a Server, and no watch has shown it yet.
    Bind {
        server: usize,
        cpu: u32,
        gib: u64,
    },
    /// That binding fails.
    Fail(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let (host, server) = (0..HOSTS, 0..SERVERS);
    let size = (1..5u32, 1..5u64);
    let made = prop_oneof![4 => Just(0), 1 => Just(1)];
    prop_oneof![
        2 => (host.clone(), 0..9u32, 0..9u64, any::<[bool; 4]>()).prop_map(|(host, cpu, gib, [a, b, c, d])| Change::Host {
            host,
            cpu,
            gib,
            ready: a || b,
            reported: b || c,
            unschedulable: c && d,
            deleted: a && c && d,
        }),
        1 => host.clone().prop_map(Change::NoHost),
        4 => (server.clone(), made, proptest::option::of(host), size.clone(), any::<[bool; 4]>()).prop_map(
            |(server, made, host, (cpu, gib), [a, b, c, d])| Change::Server {
                server,
                made,
                host,
                cpu,
                gib,
                released: a && b,
                admitted: c || d,
            }
        ),
        1 => server.clone().prop_map(Change::NoServer),
        4 => (server.clone(), size).prop_map(|(server, (cpu, gib))| Change::Bind { server, cpu, gib }),
        1 => server.prop_map(Change::Fail),
    ]
}

/// So that something happens from the beginning: hosts with room, and Servers that are bound to none.
fn changes() -> impl Strategy<Value = Vec<Change>> {
    let host =
        |host| Change::Host { host, cpu: 8, gib: 8, ready: true, reported: true, unschedulable: false, deleted: false };
    let server =
        |server| Change::Server { server, made: 0, host: None, cpu: 1, gib: 1, released: false, admitted: true };
    let first: Vec<Change> = (0..HOSTS).map(host).chain((0..SERVERS).map(server)).collect();
    vec(change(), 1..40).prop_map(move |then| [first.clone(), then].concat())
}

/// The world as the caches have it, and the bindings that they do not show.
#[derive(Default)]
struct World {
    hosts: BTreeMap<usize, Host>,
    servers: BTreeMap<usize, Server>,
    expected: BTreeMap<String, (String, ServerResources)>,
}

fn size(cpu: u32, gib: u64) -> ServerResources {
    request(cpu.into(), gib).resources
}

fn uid(server: &Server) -> String {
    server.metadata.uid.clone().unwrap()
}

fn is_bound(server: &Server) -> bool {
    server.status.as_ref().is_some_and(|status| status.host.is_some())
}

impl World {
    /// Whether the index says that it may help who waits.
    fn apply(&mut self, change: &Change, index: &mut Index) -> bool {
        match *change {
            Change::Host { host, cpu, gib, ready, reported, unschedulable, deleted } => {
                let fact = |type_: &str, is: bool| {
                    json!({"type": type_, "status": if is { "True" } else { "False" }, "reason": "Test", "message": "",
                           "lastTransitionTime": "2026-01-01T00:00:00Z"})
                };
                let new: Host = serde_json::from_value(json!({
                    "apiVersion": "nubium.dev/v1alpha1", "kind": "Host",
                    "metadata": {"name": format!("h{host}"), "deletionTimestamp": deleted.then_some("2026-01-01T00:00:00Z")},
                    "spec": {"unschedulable": unschedulable},
                    "status": {"capacity": {"cpu": cpu, "memory": format!("{gib}Gi")},
                               "pools": [{"name": "default", "capacity": "1Ti", "free": "1Ti"}],
                               "conditions": [fact("Ready", ready), fact("ServersReported", reported)]},
                }))
                .unwrap();
                let old = self.hosts.insert(host, new);
                index.host_changed(old.as_ref(), self.hosts.get(&host))
            }
            Change::NoHost(host) => {
                let old = self.hosts.remove(&host);
                old.is_some_and(|old| index.host_changed(Some(&old), None))
            }
            Change::Server { server, made, host, cpu, gib, released, admitted } => {
                let mark = released.then_some("2026-01-01T00:00:00Z");
                let said = |type_: &str, is: bool| {
                    json!({"type": type_, "status": if is { "True" } else { "False" }, "reason": "Test", "message": "",
                           "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"})
                };
                let conditions = [said("Released", released), said("Admitted", admitted)];
                let bound = host.map(
                    |host| json!({"host": format!("h{host}"), "resources": size(cpu, gib), "conditions": conditions}),
                );
                let new: Server = serde_json::from_value(json!({
                    "apiVersion": "nubium.dev/v1alpha1", "kind": "Server",
                    "metadata": {"name": format!("s{server}"), "namespace": "shop", "uid": format!("s{server}-{made}"),
                                 "generation": 1, "deletionTimestamp": mark},
                    "spec": {"flavor": "small", "disks": []}, "status": bound,
                }))
                .unwrap();
                let old = self.servers.insert(server, new);
                let new = &self.servers[&server];
                if let Some(old) = old.as_ref().filter(|old| uid(old) != uid(new)) {
                    self.expected.remove(&uid(old));
                }
                if gather::holds(new).is_some() {
                    self.expected.remove(&uid(new));
                }
                index.server_changed(old.as_ref(), Some(new))
            }
            Change::NoServer(server) => {
                let Some(old) = self.servers.remove(&server) else { return false };
                self.expected.remove(&uid(&old));
                index.server_changed(Some(&old), None)
            }
            Change::Bind { server, cpu, gib } => {
                let Some(server) = self.servers.get(&server).filter(|server| !is_bound(server)) else { return false };
                if index.is_held(&uid(server)) {
                    return false;
                }
                let Ok(host) = index.place(&request(cpu.into(), gib)).map(str::to_owned) else { return false };
                index.give(uid(server), &host, &size(cpu, gib));
                self.expected.insert(uid(server), (host, size(cpu, gib)));
                false
            }
            Change::Fail(server) => {
                let Some(server) = self.servers.get(&server) else { return false };
                self.expected.remove(&uid(server)).is_some() && index.take_back(&uid(server))
            }
        }
    }

    /// Every host, counted from nothing.
    fn counted(&self) -> Vec<Candidate> {
        let count = |host: &Host| {
            let mut host = gather::host(host)?;
            let bound = self.servers.values().filter_map(gather::holds);
            let expected = self.expected.values().map(|(host, size)| (host.as_str(), size));
            for (_, size) in bound.chain(expected).filter(|(name, _)| *name == host.name) {
                host.cpu_free -= i64::from(size.cpu.count().unwrap());
                host.memory_free -= i64::try_from(size.memory.bytes().unwrap()).unwrap();
            }
            Some(host)
        };
        self.hosts.values().filter_map(count).collect()
    }
}

/// By a look at every host.
fn place(request: &Request, hosts: &[Candidate]) -> Result<String, Unplaced> {
    let fitting = hosts.iter().filter(|host| lack(request, host).is_none());
    let best = fitting.min_by_key(|host| (Reverse(host.memory_free), &host.name));
    best.map(|host| host.name.clone()).ok_or_else(|| {
        let silent = hosts.iter().filter(|host| lack(request, host).as_deref() == Some(UNREPORTED));
        let silent: Vec<String> = silent.map(|host| format!("host {}", host.name)).collect();
        if silent.is_empty() { Unplaced::no_host_fits(request, hosts.iter()) } else { Unplaced::Unreported(silent) }
    })
}

fn requests() -> Vec<Request> {
    let mut all: Vec<Request> = [(1, 1), (2, 4), (4, 1), (1, 8), (8, 8)].map(|(cpu, gib)| request(cpu, gib)).into();
    all.push(Request { host: Some("h1".into()), ..request(1, 1) });
    all.push(Request { host: Some("elsewhere".into()), ..request(1, 1) });
    all.push(Request { volumes: vec![("db".into(), "h2".into())], ..request(1, 1) });
    all.push(Request { host: Some("h0".into()), volumes: vec![("db".into(), "h2".into())], ..request(1, 1) });
    all.push(Request { runs: false, ..request(2, 2) });
    all.push(Request { pools: vec!["fast".into()], memory: GIB, ..request(1, 1) });
    all
}

proptest! {
    #[test]
    fn the_index_says_what_a_fresh_count_says(changes in changes()) {
        let (mut world, mut index) = (World::default(), Index::default());
        for change in &changes {
            world.apply(change, &mut index);
            let counted = world.counted();
            prop_assert_eq!(&index.candidates(), &counted);
            for request in requests() {
                prop_assert_eq!(index.place(&request).map(str::to_owned), place(&request, &counted));
            }
        }
    }

    /// Who waits is woken by whatever gives any host more room, or makes it fit.
    #[test]
    fn whatever_may_help_wakes_those_who_wait(changes in changes()) {
        let (mut world, mut index) = (World::default(), Index::default());
        for change in &changes {
            let before = world.counted();
            let reported = world.apply(change, &mut index);
            let now = world.counted();
            let helped = requests().iter().any(|one| place(one, &before).is_err() && place(one, &now).is_ok());
            prop_assert!(reported || !helped, "{:?}", change);
        }
    }
}
