//! What becomes of a Network: its number, who uses it, which hosts have it, how it stands. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube::ResourceExt;
use nubium_api::{HostAccessRanges, IPAddress, Network, NetworkHost, Port};

use crate::verdict::Verdict;

/// VNIs have 24 bits; the low ones are left to people.
const FIRST: u32 = 4096;
const END: u32 = 1 << 24;

/// The first free number from a place that the UID says.
pub(super) fn free_number(uid: &str, taken: &BTreeSet<i32>) -> i32 {
    let hash = uid.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let span = END - FIRST;
    let numbers = (0..span).map(|step| (FIRST + (hash % span + step) % span) as i32);
    numbers.into_iter().find(|number| !taken.contains(number)).unwrap_or(FIRST as i32)
}

/// Who keeps a Network from going: Ports that have an address or a place on a host, and addresses held on it. A Port
/// that never got anything from it does not count: else the two would wait for each other.
pub(super) fn users(ports: &[Arc<Port>], claims: &[Arc<IPAddress>]) -> Vec<String> {
    let mut users = BTreeMap::new();
    for port in ports {
        let status = port.status.clone().unwrap_or_default();
        if !status.addresses.is_empty() || status.host.is_some() {
            let of = status.server.map(|server| format!(" of Server {server}")).unwrap_or_default();
            users.insert(port.name_any(), format!("Port {}{of}", port.name_any()));
        }
    }
    for claim in claims {
        users.entry(claim.spec.port.clone()).or_insert_with(|| format!("Port {}", claim.spec.port));
    }
    users.into_values().collect()
}

/// The hosts that have some of it. `exists` says whether that Host still is: one that is no more holds nothing.
pub(super) fn holding(hosts: &[NetworkHost], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let held = hosts.iter().filter(|host| host.released != Some(true) && exists(&host.name));
    held.map(|host| host.name.clone()).collect()
}

/// How it stands: as its spec asks on every host that has it. `ranges` are those in which `hostAccess` is allowed; without
/// them that is left to the hosts.
pub(super) fn verdict(
    network: &Network,
    ranges: Option<&HostAccessRanges>,
    hosts: &[NetworkHost],
    exists: impl Fn(&str) -> bool,
) -> Verdict {
    let subnet = network.subnet();
    let range = match subnet.allocation().and_then(|_| subnet.range()) {
        Ok(range) => range,
        Err(error) => return Verdict::stalled("InvalidSubnet", format!("subnet {}: {error}", subnet.name)),
    };
    let refused = ranges.filter(|_| network.spec.host_access).and_then(|ranges| ranges.refusal(range.cidr));
    if let Some(refused) = refused {
        return Verdict::working("HostAccessRefused", refused);
    }
    let generation = network.metadata.generation;
    for host in hosts.iter().filter(|host| host.released != Some(true) && exists(&host.name)) {
        let NetworkHost { name, observed_generation, ready, reason, message, released: _ } = host;
        if *observed_generation != generation {
            return Verdict::working("Updating", format!("waits for host {name} to take it up"));
        }
        if *ready != Some(true) {
            let reason = reason.clone().unwrap_or_else(|| "Preparing".to_owned());
            let message = message.clone().unwrap_or_else(|| "it is being set up".to_owned());
            return Verdict::working(reason, format!("host {name}: {message}"));
        }
    }
    Verdict::ready("Available", "Servers can use it")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn network(cidr: &str) -> Network {
        serde_json::from_value(json!({
            "apiVersion": "nubium.dev/v1alpha1", "kind": "Network",
            "metadata": {"name": "blue", "namespace": "shop", "generation": 2},
            "spec": {"subnets": [{"name": "v4", "cidr": cidr}]},
        }))
        .unwrap()
    }

    fn host(name: &str, generation: i64, ready: bool) -> NetworkHost {
        NetworkHost {
            name: name.into(),
            observed_generation: Some(generation),
            ready: Some(ready),
            reason: (!ready).then(|| "RangeOverlaps".into()),
            message: (!ready).then(|| "overlaps with Network red".into()),
            released: None,
        }
    }

    #[test]
    fn numbers_are_in_range_apart_and_stable() {
        let mut taken = BTreeSet::new();
        for step in 0..200 {
            let number = free_number(&format!("uid-{}", step % 7), &taken);
            assert!((FIRST as i32..END as i32).contains(&number) && taken.insert(number));
        }
        assert_eq!(free_number("uid", &BTreeSet::new()), free_number("uid", &BTreeSet::new()));
    }

    #[test]
    fn it_is_ready_when_every_host_that_has_it_says_so_of_this_generation() {
        let reason =
            |hosts: &[NetworkHost]| verdict(&network("10.0.0.0/24"), None, hosts, |name| name != "gone").reason;
        assert_eq!(reason(&[]), "Available");
        assert_eq!(reason(&[host("a", 2, true), host("b", 2, true)]), "Available");
        assert_eq!(reason(&[host("a", 2, true), host("b", 1, true)]), "Updating");
        assert_eq!(reason(&[host("a", 2, true), host("b", 2, false)]), "RangeOverlaps");
        assert_eq!(reason(&[host("gone", 1, false)]), "Available");
        let bad = verdict(&network("10.0.0.0/33"), None, &[], |_| true);
        assert_eq!(bad.state, crate::verdict::State::Stalled);
    }

    #[test]
    fn host_access_outside_the_allowed_ranges_is_refused_before_any_host_has_it() {
        let mut network = network("10.99.0.0/24");
        let ranges = HostAccessRanges(vec!["10.77.0.0/16".parse().unwrap()]);
        let verdict_with = |network: &Network, ranges| verdict(network, ranges, &[], |_| true);
        assert_eq!(verdict_with(&network, Some(&ranges)).reason, "Available", "it does not ask for it");
        network.spec.host_access = true;
        let refused = verdict_with(&network, Some(&ranges));
        assert_eq!((refused.state, refused.reason.as_str()), (crate::verdict::State::Working, "HostAccessRefused"));
        assert!(refused.message.contains("kubectl patch cloudsettings default"), "{}", refused.message);
        assert_eq!(verdict_with(&network, None).reason, "Available", "what is allowed is not known");
    }

    #[test]
    fn a_port_that_got_nothing_keeps_nothing() {
        let port = |name: &str, status: serde_json::Value| -> Arc<Port> {
            Arc::new(
                serde_json::from_value(json!({
                    "apiVersion": "nubium.dev/v1alpha1", "kind": "Port",
                    "metadata": {"name": name, "namespace": "shop"}, "spec": {"network": "blue"}, "status": status,
                }))
                .unwrap(),
            )
        };
        let bare = port("bare", json!({}));
        let wired =
            port("web-1-eth0", json!({"server": "web-1", "addresses": [{"name": "v4", "address": "10.0.0.2"}]}));
        assert_eq!(users(&[bare, wired], &[]), ["Port web-1-eth0 of Server web-1"]);
    }
}
