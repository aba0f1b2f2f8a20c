//! What a guest must not be able to do. Each lie is told, and beside it the truth that must still pass.

use crate::{
    frames::{Wire, frame, udp},
    host::{Agent, HOST, SERVICE, guest, host_pings, open, sh, try_sh},
};

pub fn a_guest_cannot_lie() {
    let agent = Agent::new();
    let blue = open("blue", 1, "10.10.0.0/24");
    let (web, db) = (guest("web", 0x11, "blue", "10.10.0.5"), guest("db", 0x12, "blue", "10.10.0.6"));
    let ports = [web.port.clone(), db.port.clone()];
    agent.ready(&blue, &ports);
    for guest in [&web, &db] {
        agent.plug(guest);
        guest.sh(&format!("ip addr add {}/24 dev eth0", guest.address));
        guest.sh("ip route add default via 10.10.0.1");
    }
    assert!(web.pings("10.10.0.6"));

    // Another address: neither IP nor ARP for it passes. (The neighbour is set by hand, so that IP alone is judged.)
    web.sh("ip addr add 10.10.0.77/24 dev eth0");
    web.sh("ip neigh replace 10.10.0.6 lladdr 52:54:00:00:00:12 dev eth0");
    db.sh("ip neigh replace 10.10.0.77 lladdr 52:54:00:00:00:11 dev eth0");
    assert!(!web.try_sh("ping -q -c 1 -W 1 -I 10.10.0.77 10.10.0.6"), "another's address");
    assert!(web.pings("10.10.0.6"), "its own, still");
    db.sh("ip neigh flush dev eth0");
    web.try_sh("busybox arping -q -c 2 -w 1 -U -s 10.10.0.1 -I eth0 10.10.0.1");
    let known = db.sh("ip neigh show 10.10.0.1");
    assert!(!known.contains("52:54:00:00:00:11"), "a claim of the gateway's address was heard: {known}");

    // Another MAC.
    web.sh("ip link set eth0 address 52:54:00:00:00:99");
    assert!(!web.pings("10.10.0.6"), "another's MAC");
    assert!(web.dhcp("").is_none(), "nor DHCP with it");
    web.sh("ip link set eth0 address 52:54:00:00:00:11");
    web.sh("ip addr flush dev eth0");
    assert!(web.dhcp("").is_some(), "with its own again");
    assert!(web.pings("10.10.0.6"));

    // A DHCP server of its own: its neighbour hears netd only, never it.
    sh(
        "printf 'start 10.10.0.200\\nend 10.10.0.210\\ninterface eth0\\nlease_file /run/udhcpd.leases\\n' > /run/udhcpd.conf",
    );
    sh("touch /run/udhcpd.leases; ip netns exec web busybox udhcpd /run/udhcpd.conf");
    agent.run(nubium_agent::network::Dhcp::stop(&agent.netd)).expect("netd stops");
    assert!(db.dhcp("").is_none(), "nobody answered: not netd, and not the neighbour");
    agent.ready(&blue, &ports);
    assert!(db.dhcp("").expect("netd answers").contains("ip='10.10.0.6'"));

    // IPv6 does not pass, even between guests that agree on it.
    for (guest, n) in [(&web, 5), (&db, 6)] {
        guest.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.eth0.disable_ipv6=0");
        guest.sh(&format!("ip -6 addr add fd00::{n}/64 dev eth0 nodad"));
    }
    let pings6 = || web.try_sh("ping -6 -q -c 1 -W 1 fd00::6");
    assert!(!pings6(), "IPv6");

    // Frames that no ordinary program sends. Each carries a word that the neighbour would hear.
    let (tell, hear) = (Wire::of("web"), Wire::of("db"));
    let (own, other) = (web.mac.as_str(), db.mac.as_str());
    let (me, it) = ([10, 10, 0, 5], [10, 10, 0, 6]);
    let passes = |frame: &[u8], word: &[u8]| {
        tell.send(frame);
        hear.hears(word)
    };
    let plain = |word: &[u8]| frame(other, own, &[&[8, 0], &udp(me, it, (1000, 1000), word)]);
    let tagged = |word: &[u8]| frame(other, own, &[&[0x81, 0, 0, 7, 8, 0], &udp(me, it, (1000, 1000), word)]);
    let twice =
        |word: &[u8]| frame(other, own, &[&[0x88, 0xa8, 0, 7, 0x81, 0, 0, 7, 8, 0], &udp(me, it, (1, 1), word)]);
    let offer = |word: &[u8]| frame(other, own, &[&[8, 0], &udp(me, it, (67, 68), word)]);
    let sly_offer = |word: &[u8]| frame("ff:ff:ff:ff:ff:ff", own, &[&[8, 0], &udp(me, [255; 4], (999, 68), word)]);
    let pppoe = |word: &[u8]| frame(other, own, &[&[0x88, 0x63], word]);
    // ARP: "I have …", with the sender's MAC and address inside.
    let arp = |mac: [u8; 6], address: [u8; 4], word: &[u8]| {
        frame("ff:ff:ff:ff:ff:ff", own, &[&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &mac, &address, &[0; 6], &it, word])
    };
    let mine = [0x52, 0x54, 0, 0, 0, 0x11];
    assert!(passes(&plain(b"plain truth"), b"plain truth"));
    assert!(passes(&arp(mine, me, b"arp truth"), b"arp truth"));
    assert!(passes(&arp(mine, [0; 4], b"arp probe"), b"arp probe"), "asking whether an address is free");
    for (what, lie, word) in [
        ("a VLAN tag", tagged(b"vlan lie 1"), b"vlan lie 1"),
        ("two tags", twice(b"vlan lie 2"), b"vlan lie 2"),
        ("a DHCP offer", offer(b"dhcp lie 1"), b"dhcp lie 1"),
        ("a DHCP offer from another port", sly_offer(b"dhcp lie 2"), b"dhcp lie 2"),
        ("another protocol", pppoe(b"pppoe lie."), b"pppoe lie."),
        ("ARP for the gateway", arp(mine, [10, 10, 0, 1], b"arp lie 1.."), b"arp lie 1."),
        ("ARP with another MAC inside", arp([0x52, 0x54, 0, 0, 0, 0x12], me, b"arp lie 2.."), b"arp lie 2."),
        ("an ARP probe with another MAC inside", arp([2; 6], [0; 4], b"arp lie 3.."), b"arp lie 3."),
    ] {
        assert!(!passes(&lie, word), "{what}");
    }
    // Without our rules all of that passes: what is asserted above can fail.
    sh("ip netns exec nubium.shop.blue nft flush ruleset");
    assert!(pings6());
    assert!(passes(&tagged(b"vlan lie 3"), b"vlan lie 3") && passes(&twice(b"vlan lie 4"), b"vlan lie 4"));
    assert!(passes(&sly_offer(b"dhcp lie 3"), b"dhcp lie 3") && passes(&pppoe(b"pppoe lie2"), b"pppoe lie2"));
    assert!(passes(&arp(mine, [10, 10, 0, 1], b"arp lie 4"), b"arp lie 4"));
    agent.ready(&blue, &ports);
    assert!(!passes(&tagged(b"vlan lie 5"), b"vlan lie 5") && passes(&plain(b"truth again"), b"truth again"));
}

pub fn the_host_is_out_of_reach() {
    let agent = Agent::new();
    let (blue, red) = (open("blue", 1, "10.10.0.0/24"), open("red", 2, "10.20.0.0/24"));
    let (web, db) = (guest("web", 0x11, "blue", "10.10.0.5"), guest("db", 0x21, "red", "10.20.0.5"));
    agent.ready(&blue, std::slice::from_ref(&web.port));
    agent.ready(&red, std::slice::from_ref(&db.port));
    for guest in [&web, &db] {
        agent.plug(guest);
        guest.dhcp("").expect("netd answers");
    }
    sh("busybox httpd -p 80 -h /run/www");
    sh("ip link add docker0 type bridge && ip addr add 172.17.0.1/16 dev docker0 && ip link set docker0 up");
    sh("ip addr add 169.254.169.254/32 dev lo");
    let uplinks = agent.run(nubium_host::network::Networks::look_host(&agent.host)).expect("a look").uplinks;
    assert_eq!(uplinks.len(), 2);
    for uplink in uplinks.values() {
        for net in &uplink.addresses {
            assert!(!web.fetches(&net.addr().to_string()), "the host's end {net}");
        }
    }
    for address in [HOST, "172.17.0.1", "169.254.169.254", "10.20.0.5", "10.20.0.1", "127.0.0.1"] {
        assert!(!web.fetches(address) && !web.pings(address) || address == "127.0.0.1", "{address}");
    }
    assert!(web.fetches(SERVICE), "what is outside, it reaches");
    assert!(host_pings("10.10.0.5") && host_pings("10.20.0.5"), "and the host reaches it");

    // A neighbour of the host that sends packets for a Network through it gets nowhere.
    sh(&format!("ip -n service route add 10.10.0.0/24 via {HOST}"));
    assert!(!try_sh("ip netns exec service ping -q -c 1 -W 1 10.10.0.5").0);
    // Containers on the host are not "outside": the accepts we put before Docker's rules do not open them.
    sh("ip netns add box && ip link add name br-0123456789ab type bridge && ip link set br-0123456789ab up");
    sh("ip addr add 172.18.0.1/16 dev br-0123456789ab && ip link add v0 type veth peer name eth0 netns box");
    sh("ip link set v0 master br-0123456789ab up && ip -n box addr add 172.18.0.2/16 dev eth0");
    sh("ip -n box link set eth0 up && ip -n box route add default via 172.18.0.1");
    assert!(host_pings("172.18.0.2"));
    assert!(!web.pings("172.18.0.2"));
    // Nor are pods and VPNs, whatever their links are called.
    for (n, link) in ["cali0a1b2c3d4e", "eni0a1b2c3d", "vpn"].iter().enumerate() {
        let pod = format!("10.240.{n}.2");
        sh(&format!("ip netns add pod{n} && ip link add {link} type veth peer name eth0 netns pod{n}"));
        sh(&format!("ip -n pod{n} addr add {pod}/24 dev eth0 && ip -n pod{n} link set eth0 up"));
        sh(&format!("ip -n pod{n} route add default via 10.240.{n}.1 || true"));
        sh(&format!("ip addr add 10.240.{n}.1/24 dev {link} && ip link set {link} up"));
        assert!(host_pings(&pod) && !web.pings(&pod), "{link}");
    }
    assert!(web.fetches(SERVICE));
}

/// A guest answers for any of its addresses by any of its NICs; and an isolated NIC gives it no default route.
pub fn two_nics_of_a_server_on_one_network_both_work() {
    let agent = Agent::new();
    let blue = open("blue", 1, "10.10.0.0/24");
    let (mut first, mut second) = (guest("web", 0x11, "blue", "10.10.0.5"), guest("web", 0x12, "blue", "10.10.0.6"));
    let db = guest("db", 0x13, "blue", "10.10.0.7");
    second.port.metadata.name = Some("web-eth1".into());
    let ports = [first.port.clone(), second.port.clone(), db.port.clone()];
    agent.settled(&blue, &ports);
    agent.plug(&db);
    db.dhcp("").expect("netd answers");
    for (guest, link) in [(&mut first, "eth0"), (&mut second, "eth1")] {
        agent.plug_as(guest, link);
        guest.sh(&format!("ip addr add {}/24 dev {link}", guest.address));
    }
    first.sh("ip route add default via 10.10.0.1");
    agent.settled(&blue, &ports);
    for address in ["10.10.0.5", "10.10.0.6"] {
        assert!(host_pings(address), "{address} from the host");
        db.sh("ip neigh flush dev eth0");
        assert!(db.pings(address), "{address} from a neighbour");
        assert!(first.try_sh(&format!("ping -q -c 1 -W 1 -I {address} 10.10.0.7")), "from {address}");
    }
    // Each may use what is its Server's, and nothing else.
    first.sh("ip addr add 10.10.0.8/24 dev eth0");
    assert!(!first.try_sh("ping -q -c 1 -W 1 -I 10.10.0.8 10.10.0.7"));
}
