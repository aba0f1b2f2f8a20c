//! A Port's passes, by values: what is planned and what is said for each state of its Network, claims and Server.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use nubium_api::{IPAddress, Network, Port, Server};
use serde_json::{Value, json};

use super::{
    gather::{Gathered, goes_before},
    mac::mac,
    plan::{Addressing, addressing, kept, surplus},
};

fn port(spec: Value) -> Arc<Port> {
    let json = json!({
        "apiVersion": "nubium.dev/v1alpha1", "kind": "Port",
        "metadata": {"name": "web-1-eth0", "namespace": "shop", "uid": "0f8fad5b-d9cb-469f-a165-70867728950e"},
        "spec": spec,
    });
    Arc::new(serde_json::from_value(json).unwrap())
}

fn network() -> Arc<Network> {
    let json = json!({
        "apiVersion": "nubium.dev/v1alpha1", "kind": "Network",
        "metadata": {"name": "blue", "namespace": "shop"},
        "spec": {"subnets": [{"name": "v4", "cidr": "10.10.0.0/29"}]},
    });
    Arc::new(serde_json::from_value(json).unwrap())
}

fn claim(address: &str) -> Arc<IPAddress> {
    let json = json!({
        "apiVersion": "nubium.dev/v1alpha1", "kind": "IPAddress",
        "metadata": {"name": "x", "namespace": "shop"},
        "spec": {"network": "blue", "address": address, "port": "web-1-eth0", "portUid": "u"},
    });
    Arc::new(serde_json::from_value(json).unwrap())
}

fn server(deleted: bool) -> Arc<Server> {
    let mark = deleted.then_some("2026-01-01T00:00:00Z");
    let json = json!({
        "apiVersion": "nubium.dev/v1alpha1", "kind": "Server",
        "metadata": {"name": "web-1", "namespace": "shop", "deletionTimestamp": mark},
        "spec": {"flavor": "small", "disks": [{"name": "root", "image": "i"}]},
    });
    Arc::new(serde_json::from_value(json).unwrap())
}

fn seen(spec: Value) -> Gathered {
    Gathered {
        port: port(spec),
        network: Some(network()),
        claims: Vec::new(),
        taken: BTreeMap::new(),
        users: Vec::new(),
        same_mac: None,
        user_live: None,
    }
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 10, 0, last)
}

fn unavailable(seen: &Gathered) -> (String, String) {
    match addressing(seen, &BTreeSet::new()) {
        Addressing::Unavailable { reason, message } => (reason.to_owned(), message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_ports_of_a_network_never_have_one_mac() {
    let spec = json!({"network": "blue", "macAddress": "02:00:00:00:00:01"});
    let port = |name: &str, day: u8, addressed: bool| {
        let mut port = Arc::unwrap_or_clone(port(spec.clone()));
        port.metadata.name = Some(name.to_owned());
        port.metadata.uid = Some(name.to_owned());
        port.metadata.creation_timestamp = serde_json::from_value(json!(format!("2026-01-0{day}T00:00:00Z"))).unwrap();
        let addresses = if addressed { json!([{"name": "v4", "address": "10.10.0.2"}]) } else { json!([]) };
        port.status = serde_json::from_value(json!({"addresses": addresses})).unwrap();
        port
    };
    assert!(goes_before(&port("b", 1, false), &port("a", 2, false)), "the older one");
    assert!(!goes_before(&port("a", 2, false), &port("b", 1, false)));
    assert!(
        goes_before(&port("a", 1, false), &port("b", 1, false))
            && !goes_before(&port("b", 1, false), &port("a", 1, false))
    );
    assert!(goes_before(&port("b", 2, true), &port("a", 1, false)), "the one that has an address");
    assert!(!goes_before(&port("a", 1, true), &port("a", 1, true)), "not itself");
    let mut seen = seen(spec);
    seen.same_mac = Some("other".into());
    let (reason, message) = unavailable(&seen);
    assert_eq!(reason, "MacAddressTaken");
    assert!(message.contains("02:00:00:00:00:01") && message.contains("Port other"), "{message}");
    seen.claims.push(claim("10.10.0.2"));
    assert_eq!(addressing(&seen, &BTreeSet::new()), Addressing::Has(ip(2)), "what works is left alone");
}

#[test]
fn the_lowest_free_address_is_taken_and_what_is_held_is_kept() {
    let mut seen = seen(json!({"network": "blue"}));
    assert!(!seen.is_addressed());
    assert_eq!(addressing(&seen, &BTreeSet::new()), Addressing::Claim(ip(2)));
    seen.taken.insert(ip(2), "other".into());
    assert_eq!(addressing(&seen, &BTreeSet::from([ip(3)])), Addressing::Claim(ip(4)));
    seen.claims.push(claim("10.10.0.6"));
    seen.network = None;
    assert_eq!(addressing(&seen, &BTreeSet::new()), Addressing::Has(ip(6)), "also when the Network is gone");
}

#[test]
fn an_address_that_was_given_stays_and_what_was_claimed_beyond_it_goes() {
    let mut seen = seen(json!({"network": "blue"}));
    let given = json!({"addresses": [{"name": "v4", "address": "10.10.0.5"}]});
    Arc::make_mut(&mut seen.port).status = serde_json::from_value(given).unwrap();
    seen.claims = vec![claim("10.10.0.3")];
    assert!(!seen.is_addressed(), "who has its address matters");
    assert_eq!(addressing(&seen, &BTreeSet::new()), Addressing::Claim(ip(5)), "no cache makes it another one");
    assert!(surplus(&seen).is_empty());
    seen.claims.push(claim("10.10.0.5"));
    seen.taken.insert(ip(5), "web-1-eth0".into());
    assert_eq!(addressing(&seen, &BTreeSet::new()), Addressing::Has(ip(5)));
    assert!(seen.is_addressed());
    let beyond: Vec<&str> = surplus(&seen).iter().map(|claim| claim.spec.address.as_str()).collect();
    assert_eq!(beyond, ["10.10.0.3"]);
    seen.claims.pop();
    seen.taken.insert(ip(5), "other".into());
    assert_eq!(addressing(&seen, &BTreeSet::new()), Addressing::Has(ip(3)), "another has it by now");
    assert!(surplus(&seen).is_empty(), "nothing goes before the new one is reported");
}

#[test]
fn a_request_that_cannot_be_met_says_why_and_by_whom() {
    let mut requested = seen(json!({"network": "blue", "address": "10.10.0.5"}));
    assert_eq!(addressing(&requested, &BTreeSet::new()), Addressing::Claim(ip(5)));
    requested.taken.insert(ip(5), "web-0-eth0".into());
    let (reason, message) = unavailable(&requested);
    assert_eq!(reason, "AddressTaken");
    assert!(message.contains("Port web-0-eth0"), "{message}");
    assert_eq!(unavailable(&seen(json!({"network": "blue", "address": "10.10.1.5"}))).0, "AddressOutOfRange");
    assert_eq!(unavailable(&seen(json!({"network": "blue", "address": "10.10.0.1"}))).0, "AddressTaken");
    assert_eq!(unavailable(&seen(json!({"network": "blue", "address": "10.10"}))).0, "InvalidAddress");
}

#[test]
fn a_list_of_addresses_means_what_the_old_field_means() {
    for spec in
        [json!({"network": "blue", "addresses": ["10.10.0.5"]}), json!({"network": "blue", "address": "10.10.0.5"})]
    {
        assert_eq!(addressing(&seen(spec), &BTreeSet::new()), Addressing::Claim(ip(5)));
    }
    let none = json!({"network": "blue", "addresses": []});
    assert_eq!(addressing(&seen(none), &BTreeSet::new()), Addressing::Claim(ip(2)));
}

#[test]
fn an_empty_pool_and_a_missing_network_are_waited_out() {
    let mut full = seen(json!({"network": "blue"}));
    full.taken = (2..=6).map(|last| (ip(last), "other".to_owned())).collect();
    assert_eq!(unavailable(&full).0, "PoolExhausted");
    full.network = None;
    assert_eq!(unavailable(&full).0, "NetworkNotFound");
}

#[test]
fn the_mac_comes_from_the_uid_and_is_locally_administered() {
    assert_eq!(mac(&port(json!({"network": "blue"}))), "02:86:77:28:95:0e");
    assert_eq!(mac(&port(json!({"network": "blue", "macAddress": "52:54:00:00:00:01"}))), "52:54:00:00:00:01");
}

#[test]
fn a_port_stays_while_a_guest_may_have_it() {
    let mut going = seen(json!({"network": "blue"}));
    assert_eq!(kept(&going), None);
    going.user_live = Some("web-1".into());
    assert_eq!(kept(&going).unwrap().reason, "InUse");
    going.users = vec![server(true)];
    assert_eq!(kept(&going).unwrap().reason, "Deleting");
    going.users = vec![server(false)];
    assert_eq!(kept(&going).unwrap().reason, "InUse");
}
