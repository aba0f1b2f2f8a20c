//! Placements, by values: who wins, and what is said when nobody can.

mod changes;

use std::collections::BTreeMap;

use kube::core::Selector;
use nubium_api::{CpuCount, Quantity, ServerResources};

use super::{
    index::Index,
    plan::{Candidate, Request, Unplaced},
};

const GIB: u64 = 1 << 30;

fn request(cpu: u64, gib: u64) -> Request {
    Request {
        resources: ServerResources {
            cpu: CpuCount(cpu.to_string()),
            memory: Quantity::from_bytes(gib * GIB),
            flavor: None,
        },
        cpu,
        memory: gib * GIB,
        runs: true,
        host: None,
        selector: None,
        volumes: Vec::new(),
        pools: vec!["default".into()],
    }
}

fn host(name: &str, cpu_free: i64, gib_free: i64) -> Candidate {
    Candidate {
        name: name.into(),
        labels: BTreeMap::from([("rack".to_owned(), name.to_owned())]),
        ready: true,
        reported: true,
        unschedulable: false,
        pools: vec!["default".into()],
        cpu_free,
        memory_free: gib_free * GIB as i64,
        cpu_capacity: 16,
        memory_capacity: 64 * GIB as i64,
    }
}

/// By an index that has these hosts.
fn place(request: &Request, hosts: &[Candidate]) -> Result<String, Unplaced> {
    let mut index = Index::default();
    hosts.iter().for_each(|host| index.put(host.clone()));
    index.place(request).map(str::to_owned)
}

#[test]
fn most_free_memory_wins_and_names_break_ties() {
    let hosts = [host("c", 8, 16), host("b", 8, 32), host("a", 8, 32)];
    assert_eq!(place(&request(2, 2), &hosts).unwrap(), "a");
}

#[test]
fn an_impossible_size_says_which_host_lacks_what() {
    let error = place(&request(2, 32), &[host("host-a", 8, 2)]).unwrap_err();
    assert_eq!(error.to_string(), "0/1 hosts fit: host-a lacks 30Gi memory");
    let error = place(&request(9, 4), &[host("host-a", 8, 8), host("host-b", -1, 2)]).unwrap_err();
    assert_eq!(error.to_string(), "0/2 hosts fit: host-a lacks 1 cpu; host-b lacks 10 cpu and 2Gi memory");
    assert_eq!(place(&request(1, 1), &[]).unwrap_err().to_string(), "there is no host yet: start an agent on one");
}

#[test]
fn a_stopped_server_goes_where_it_could_run_some_day() {
    let stopped = |cpu, gib| Request { runs: false, ..request(cpu, gib) };
    assert_eq!(place(&stopped(4, 8), &[host("a", 0, 0), host("b", -3, 1)]).unwrap(), "b");
    let error = place(&stopped(17, 8), &[host("a", 16, 64)]).unwrap_err();
    assert_eq!(error.to_string(), "0/1 hosts fit: a lacks 1 cpu, even with nothing running there");
}

#[test]
fn a_host_that_has_not_reported_stops_nothing_but_itself() {
    let mut silent = host("b", 9, 9);
    silent.reported = false;
    assert_eq!(place(&request(1, 1), &[host("a", 8, 8), silent.clone()]).unwrap(), "a", "b has most room");
    let unreported = Unplaced::Unreported(vec!["host b".into()]);
    assert_eq!(place(&request(9, 9), &[host("a", 8, 8), silent.clone()]).unwrap_err(), unreported);
    silent.ready = false;
    let error = place(&request(9, 9), &[host("a", 9, 8), silent]).unwrap_err();
    assert_eq!(error.to_string(), "0/2 hosts fit: a lacks 1Gi memory; b is not ready");
}

#[test]
fn each_filter_refuses_with_its_own_words() {
    let refused = |request: Request, host: Candidate| match place(&request, &[host]).unwrap_err() {
        Unplaced::NoHostFits { hosts: 1, lacking } => lacking[0].1.clone(),
        other => panic!("{other:?}"),
    };
    let mut one = request(1, 1);
    one.host = Some("other".into());
    assert_eq!(refused(one, host("a", 8, 8)), "is not the host that spec.scheduling.host names");
    let mut one = request(1, 1);
    one.selector = Some(Selector::from_iter([("rack", "z")]));
    assert_eq!(refused(one, host("a", 8, 8)), "does not match spec.scheduling.hostSelector");
    let mut one = request(1, 1);
    one.volumes = vec![("db".into(), "b".into())];
    assert_eq!(refused(one, host("a", 8, 8)), "cannot reach Volume db, which is on b");
    let mut one = request(1, 1);
    one.pools = vec!["fast".into()];
    assert_eq!(refused(one, host("a", 8, 8)), "has no pool fast");
    assert_eq!(refused(request(1, 1), Candidate { unschedulable: true, ..host("a", 8, 8) }), "is unschedulable");
    assert_eq!(refused(request(1, 1), Candidate { ready: false, ..host("a", 8, 8) }), "is not ready");
}

/// Every mix of room, against an oracle that only asks whether a host has at least what is asked.
#[test]
fn a_server_is_placed_exactly_where_it_fits() {
    for (cpu, gib) in [(1, 1), (2, 4), (4, 2), (8, 8)] {
        for a in 0..5 {
            for b in 0..5 {
                let hosts = [host("a", 2 * a, 3 * b), host("b", 2 * b, 3 * a)];
                let fits = |host: &Candidate| host.cpu_free >= cpu as i64 && host.memory_free >= (gib * GIB) as i64;
                match place(&request(cpu, gib), &hosts) {
                    Ok(name) => assert!(fits(hosts.iter().find(|host| host.name == name).unwrap())),
                    Err(_) => assert!(!hosts.iter().any(fits)),
                }
            }
        }
    }
}
