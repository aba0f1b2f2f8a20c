//! What a user of a Network gets.

use nubium_host::network::Networks;
use serde_json::json;

use crate::{
    frames::Wire,
    host::{Agent, HOST, SERVICE, guest, host_pings, network, open, sh, try_sh},
};

pub fn a_guest_gets_its_address_and_reaches_the_outside() {
    let agent = Agent::new();
    let blue = open("blue", 1, "10.10.0.0/24");
    let (web, db) = (guest("web", 0x11, "blue", "10.10.0.5"), guest("db", 0x12, "blue", "10.10.0.6"));
    let ports = [web.port.clone(), db.port.clone()];
    agent.settled(&blue, &ports);
    agent.plug(&web);
    agent.plug(&db);
    agent.settled(&blue, &ports);

    let told = web.dhcp("").expect("netd answers");
    for line in [
        "ip='10.10.0.5'",
        "mask='24'",
        "router='10.10.0.1'",
        "dns='192.0.2.53'",
        "mtu='1430'",
        "hostname='web'",
        "lease='3600'",
        "serverid='10.10.0.1'",
    ] {
        assert!(told.contains(line), "{line} in\n{told}");
    }
    // A client that insists on broadcast, and one that asks for an address that is not its own, get it too.
    assert!(db.dhcp("-B").expect("netd answers").contains("ip='10.10.0.6'"));
    assert!(db.dhcp("-r 10.10.0.99").expect("netd answers").contains("ip='10.10.0.6'"));

    assert!(web.pings("10.10.0.1"), "the gateway");
    assert!(web.pings("10.10.0.6"), "its neighbour");
    assert!(host_pings("10.10.0.5"), "hostAccess");
    assert!(web.fetches(SERVICE), "out by NAT");
    web.sh("ping -q -c 1 -W 1 -s 1400 -M do 10.10.0.6");
    assert!(!web.try_sh("ping -q -c 1 -W 1 -s 1410 -M do 10.10.0.6"), "beyond the MTU");

    // Outside it is the host that speaks.
    let seen = sh("ip netns exec service ip neigh");
    assert!(seen.contains(HOST), "{seen}");
    let wire = Wire::of("service");
    web.try_sh("ping -q -c 1 -W 1 -p feedface 192.0.2.2");
    let [a, b, c, d] = HOST.parse::<std::net::Ipv4Addr>().expect("an address").octets();
    assert!(wire.hears(&[a, b, c, d, 192, 0, 2, 2, 8, 0]), "an echo request from the host's own address");
    assert!(!try_sh("ip netns exec service ping -q -c 1 -W 1 10.10.0.5").0, "nobody outside reaches a guest");
}

pub fn without_egress_nothing_leaves() {
    let agent = Agent::new();
    let spec = json!({"subnets": [{"name": "v4", "cidr": "10.11.0.0/24", "dhcp": false}], "egress": {"type": "None"}});
    let quiet = network("quiet", 2, spec.clone());
    let web = guest("web", 0x11, "quiet", "10.11.0.5");
    agent.settled(&quiet, std::slice::from_ref(&web.port));
    assert!(agent.run(agent.host.look_host()).expect("a look").uplinks.is_empty(), "no uplink at all");
    assert_eq!(sh("cat /proc/sys/net/ipv4/ip_forward").trim(), "0", "and the host's forwarding is untouched");
    agent.plug(&web);
    assert!(web.dhcp("").is_none(), "dhcp: false");
    web.sh("ip addr add 10.11.0.5/24 dev eth0");
    web.sh("ip route add default via 10.11.0.1");
    assert!(web.pings("10.11.0.1") && !web.fetches(SERVICE));

    // With hostAccess alone there is an uplink, and nothing but answers to the host uses it.
    let mut spec = spec;
    spec["hostAccess"] = true.into();
    let answering = network("quiet", 2, spec);
    agent.settled(&answering, std::slice::from_ref(&web.port));
    assert!(host_pings("10.11.0.5"));
    assert!(!web.fetches(SERVICE) && !web.pings(HOST));
    // DHCP names no router there, and the host reaches it all the same.
    let mut spec = serde_json::to_value(&answering.spec).expect("a spec");
    spec["subnets"][0]["dhcp"] = true.into();
    agent.settled(&network("quiet", 2, spec), std::slice::from_ref(&web.port));
    web.sh("ip route flush table main");
    let told = web.dhcp("").expect("netd answers");
    assert!(told.contains("ip='10.11.0.5'") && !told.contains("router=") && !told.contains("dns="), "{told}");
    assert!(!web.sh("ip route").contains("default"));
    assert!(host_pings("10.11.0.5"));
}

pub fn networks_with_the_same_range_do_not_meet() {
    let agent = Agent::new();
    let (blue, red) = (open("blue", 1, "10.10.0.0/24"), open("red", 2, "10.10.0.0/16"));
    let (web, twin) = (guest("web", 0x11, "blue", "10.10.0.5"), guest("twin", 0x21, "red", "10.10.0.5"));
    let other = guest("other", 0x22, "red", "10.10.0.6");
    agent.settled(&blue, std::slice::from_ref(&web.port));
    let ports = [twin.port.clone(), other.port.clone()];
    let report = agent.pass(&red, &ports, true);
    let entry = report.entry.expect("an entry");
    assert_eq!((entry.ready, entry.reason.as_deref()), (Some(false), Some("RangeTaken")));
    assert!(entry.message.as_deref().is_some_and(|m| m.contains("Network shop/blue")), "{:?}", entry.message);
    assert!(report.ports.values().all(|ready| *ready), "its guests need not wait for that");
    for guest in [&web, &twin, &other] {
        agent.plug(guest);
        assert!(guest.dhcp("").expect("netd answers").contains(&format!("ip='{}'", guest.address)));
        assert!(guest.fetches(SERVICE), "each has its own uplink");
    }
    assert!(twin.pings("10.10.0.6") && !web.pings("10.10.0.6"), "same range, other world");
    assert!(host_pings("10.10.0.5"), "and the host reaches the first one's");
    // The first gives the range up; the next pass of the second takes it.
    let mut spec = serde_json::to_value(&blue.spec).expect("a spec");
    spec["hostAccess"] = false.into();
    agent.ready(&network("blue", 1, spec), std::slice::from_ref(&web.port));
    agent.settled(&red, &ports);
    assert!(host_pings("10.10.0.6"));

    // A range that the host uses for something else is refused too, with what it is.
    let home = open("home", 3, "192.0.2.0/25");
    let report = agent.pass(&home, &[guest("h", 0x31, "home", "192.0.2.9").port], true);
    let message = report.entry.and_then(|e| e.message).expect("a message");
    assert!(message.contains("uplink (192.0.2.0/24)"), "{message}");
    assert!(host_pings(SERVICE), "and nothing of the host's was touched");
}

pub fn a_changed_spec_changes_the_host() {
    let agent = Agent::new();
    let blue = open("blue", 1, "10.10.0.0/24");
    let web = guest("web", 0x11, "blue", "10.10.0.5");
    agent.settled(&blue, std::slice::from_ref(&web.port));
    agent.plug(&web);
    web.dhcp("").expect("netd answers");
    let spec = json!({"subnets": [{"name": "v4", "cidr": "10.10.0.0/24", "dnsServers": ["198.51.100.1"]}], "egress": {"type": "None"}});
    let mut closed = network("blue", 1, spec);
    closed.metadata.generation = Some(2);
    let report = agent.ready(&closed, std::slice::from_ref(&web.port));
    assert_eq!(report.mended, Vec::<String>::new(), "a changed spec mends nothing");
    assert!(!web.fetches(SERVICE) && !host_pings("10.10.0.5"));
    assert!(web.dhcp("").expect("netd answers").contains("dns='198.51.100.1'"));
    agent.settled(&closed, std::slice::from_ref(&web.port));

    // A spec from before, out of somebody's old cache, changes nothing.
    let report = agent.pass(&blue, std::slice::from_ref(&web.port), true);
    assert_eq!(report.entry.and_then(|e| e.reason).as_deref(), Some("OlderGeneration"));
    assert!(report.done.is_empty() && !web.fetches(SERVICE));

    // Neither does the host's own way in and out of it, opened and closed, mend anything.
    for (generation, host_access) in [(3, true), (4, false), (5, true)] {
        closed.spec.host_access = host_access;
        closed.metadata.generation = Some(generation);
        let report = agent.ready(&closed, std::slice::from_ref(&web.port));
        assert_eq!((report.mended, host_pings("10.10.0.5")), (Vec::<String>::new(), host_access));
        agent.settled(&closed, std::slice::from_ref(&web.port));
    }
}
