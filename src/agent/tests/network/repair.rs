//! Bad luck, and the ends of things.

use std::time::{Duration, Instant};

use nubium_agent::network::{Dhcp, teardown};
use nubium_host::network::{Netns, Networks, Tap};

use crate::host::{Agent, SERVICE, guest, host_pings, open, sh, try_sh, uid};

pub fn whatever_breaks_is_mended_and_said() {
    let agent = Agent::new();
    let blue = open("blue", 1, "10.10.0.0/24");
    let web = guest("web", 0x11, "blue", "10.10.0.5");
    let ports = [web.port.clone()];
    agent.settled(&blue, &ports);
    agent.plug(&web);
    web.dhcp("").expect("netd answers");
    let inside = "ip netns exec nubium.shop.blue";
    let uplink = nubium_host::network::names::uplink(&uid(1));
    for (breaking, said) in [
        (format!("{inside} nft flush ruleset"), "the firewall rules of nubium.shop.blue were missing"),
        (
            format!("{inside} nft flush chain bridge nubium from_guest"),
            "the firewall rules of nubium.shop.blue were changed by somebody",
        ),
        (
            format!(
                "{inside} nft add element bridge nubium addresses '{{ \"{}\" . {} . 10.10.0.66 }}'",
                web.tap, web.mac
            ),
            "the firewall rules of nubium.shop.blue were changed by somebody",
        ),
        (
            format!("{inside} nft insert rule inet nubium input accept"),
            "the firewall rules of nubium.shop.blue were changed by somebody",
        ),
        ("nft delete table inet nubium".into(), "the host's firewall rules for Networks were missing"),
        ("nft flush chain inet nubium input".into(), "the host's firewall rules for Networks were changed by somebody"),
        ("iptables-nft -F DOCKER-USER".into(), "our rules in iptables' DOCKER-USER were missing"),
        ("iptables-nft -I DOCKER-USER -j DROP".into(), "our rules in iptables' DOCKER-USER were missing"),
        ("echo 0 > /proc/sys/net/ipv4/ip_forward".into(), "the host did not forward packets"),
        (format!("{inside} sh -c 'echo 0 > /proc/sys/net/ipv4/ip_forward'"), "net/ipv4/ip_forward"),
        (format!("{inside} ip link set br0 down"), "the bridge of nubium.shop.blue was changed by somebody"),
        (
            format!("{inside} ip addr del 10.10.0.1/24 dev br0"),
            "the bridge of nubium.shop.blue was changed by somebody",
        ),
        (
            format!("{inside} ip link set br0 type bridge mcast_snooping 1"),
            "the bridge of nubium.shop.blue was changed by somebody",
        ),
        (format!("{inside} ip link del br0"), "the bridge of nubium.shop.blue was missing"),
        (format!("{inside} ip route del default"), &format!("the uplink {uplink} was changed by somebody")),
        (format!("ip link set {uplink} down"), &format!("the uplink {uplink} was changed by somebody")),
        (format!("ip link del {uplink}"), &format!("the uplink {uplink} was missing")),
        ("ip route del 10.10.0.0/24".into(), "the host's route to 10.10.0.0/24 was missing"),
        (
            format!("{inside} ip link set {} nomaster", web.tap),
            &format!("the tap {} was not attached, or down", web.tap),
        ),
        (format!("{inside} ip link set {} down", web.tap), &format!("the tap {} was not attached, or down", web.tap)),
        ("kill -9 $(cat /run/nubium/netd.pid)".into(), "netd, which answers DHCP, did not run"),
        ("rm /run/nubium/netd.json".into(), "DHCP in nubium.shop.blue was missing"),
        ("echo '{' > /run/nubium/netd.json".into(), "DHCP in nubium.shop.blue was missing"),
        ("nft flush table inet nubium".into(), "the host's firewall rules for Networks were missing"),
    ] {
        sh(&breaking);
        let began = Instant::now();
        let report = agent.ready(&blue, &ports);
        let took = began.elapsed();
        assert!(report.mended.iter().any(|m| m.contains(said)), "after {breaking}: {:?}", report.mended);
        println!("mended in {took:?}: {breaking}");
        assert!(took < Duration::from_secs(5));
        let again = agent.ready(&blue, &ports);
        assert!(again.done.is_empty() && again.mended.is_empty(), "once");
        // Not only in what we list: it works again.
        assert!(host_pings("10.10.0.5") && web.fetches(SERVICE), "after {breaking}");
        assert!(web.dhcp("").is_some(), "after {breaking}");
    }
}

pub fn a_new_guest_at_an_old_address_is_reached_at_once() {
    let agent = Agent::new();
    let blue = open("blue", 1, "10.10.0.0/24");
    let old = guest("old", 0x11, "blue", "10.10.0.5");
    agent.settled(&blue, std::slice::from_ref(&old.port));
    agent.plug(&old);
    old.dhcp("").expect("netd answers");
    assert!(host_pings("10.10.0.5"));
    // By name: with its namespace it would go in a moment, and be kept until then.
    sh(&format!("ip -n nubium.shop.blue link del {} && ip netns del old", old.tap));

    let new = guest("new", 0x22, "blue", "10.10.0.5");
    agent.settled(&blue, std::slice::from_ref(&new.port));
    agent.plug(&new);
    new.dhcp("").expect("netd answers");
    assert!(host_pings("10.10.0.5"), "nobody believes that the old one still has it");
    sh("ip netns exec nubium.shop.blue ip neigh flush dev br0 nud permanent");
    agent.settled(&blue, std::slice::from_ref(&new.port));
    let told = sh("ip -n nubium.shop.blue neigh show nud permanent");
    assert!(told.contains("10.10.0.5 dev br0 lladdr 52:54:00:00:00:22"), "{told}");
}

pub fn a_killed_netd_wakes_and_is_restarted() {
    let agent = Agent::new();
    let blue = open("blue", 1, "10.10.0.0/24");
    let web = guest("web", 0x11, "blue", "10.10.0.5");
    agent.settled(&blue, std::slice::from_ref(&web.port));
    agent.plug(&web);
    // An agent that is started anew finds the same netd, and hears of its death as well.
    let first = agent.netd.pid().expect("a look").expect("it runs");
    let reborn = Agent::new();
    reborn.settled(&blue, std::slice::from_ref(&web.port));
    assert_eq!(reborn.netd.pid().expect("a look"), Some(first), "netd outlives the agent");
    for agent in [&agent, &reborn] {
        agent.settled(&blue, std::slice::from_ref(&web.port));
        // Deaths that it heard of before.
        while agent.run(async { tokio::time::timeout(Duration::from_millis(100), agent.netd.died()).await.is_ok() }) {}
        let pid = agent.netd.pid().expect("a look").expect("it runs");
        agent.run(async {
            sh(&format!("kill -9 {pid}"));
            tokio::time::timeout(Duration::from_secs(2), agent.netd.died()).await.expect("its death wakes us");
        });
        assert_eq!(agent.netd.pid().expect("a look"), None);
        agent.ready(&blue, std::slice::from_ref(&web.port));
        assert_ne!(agent.netd.pid().expect("a look"), Some(pid));
        assert!(web.dhcp("").is_some());
    }
}

pub fn a_real_tap_lives_and_dies() {
    let agent = Agent::new();
    let blue = open("blue", 1, "10.10.0.0/24");
    let web = guest("web", 0x11, "blue", "10.10.0.5");
    agent.settled(&blue, std::slice::from_ref(&web.port));
    let tap = Tap { name: web.tap.clone(), owner: 54321, mtu: 1430, alias: uid(0x11) };
    agent.run(async {
        agent.host.create_tap(&tap).await.expect("a tap");
        // A stale one is replaced.
        agent.host.create_tap(&tap).await.expect("a tap again");
    });
    let link = sh(&format!("ip -d link show {}", tap.name));
    assert!(
        link.contains("state DOWN")
            && !link.contains(",UP")
            && link.contains("user 54321")
            && link.contains("vnet_hdr"),
        "{link}"
    );
    assert!(link.contains("mtu 1430") && link.contains("persist on") && link.contains(&uid(0x11)), "{link}");
    agent.run(agent.host.move_tap(&tap.name, &web.netns, 1430)).expect("it moves");
    agent.run(agent.host.move_tap(&tap.name, &web.netns, 1430)).expect("again is fine");
    assert!(!try_sh(&format!("ip link show {}", tap.name)).0, "not in the host's namespace any more");
    let seen = agent.run(agent.host.look(&web.netns)).expect("a look").expect("a namespace");
    assert!(seen.taps[&tap.name].works(1430), "{:?}", seen.taps);
    agent.settled(&blue, std::slice::from_ref(&web.port));
    agent.run(async {
        agent.host.delete_tap(&tap.name, &web.netns).await.expect("it goes");
        agent.host.delete_tap(&tap.name, &web.netns).await.expect("again is fine");
        agent.host.delete_tap(&tap.name, &Netns::new("no", "such")).await.expect("nor needs it a namespace");
    });
    assert!(agent.run(agent.host.look(&web.netns)).expect("a look").expect("a namespace").taps.is_empty());
}

/// Opens a tap, as QEMU does.
fn open_tap(name: &str) -> std::fs::File {
    let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun").expect("tun");
    // SAFETY: an all-zero ifreq is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_bytes()) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
    // SAFETY: `device` is open for the whole call and `request` is an ifreq, as TUNSETIFF wants.
    let opened = unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&device), libc::TUNSETIFF as _, &request) };
    assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
    device
}

/// A guest ended whose Server and Port are gone: its tap does not keep the Network. While it runs, its tap does.
pub fn a_tap_that_nobody_holds_keeps_no_network() {
    let agent = Agent::new();
    let blue = open("blue", 1, "10.10.0.0/24");
    let web = guest("web", 0x11, "blue", "10.10.0.5");
    let taps = || agent.run(agent.host.look(&web.netns)).expect("a look").map(|seen| seen.taps.len());
    agent.settled(&blue, std::slice::from_ref(&web.port));
    let tap = Tap { name: web.tap.clone(), owner: 0, mtu: 1430, alias: uid(0x11) };
    agent.run(agent.host.create_tap(&tap)).expect("a tap");
    let qemu = open_tap(&tap.name);
    agent.run(agent.host.move_tap(&tap.name, &web.netns, 1430)).expect("it moves");
    for _ in 0..2 {
        let entry = agent.pass(&blue, &[], false).entry.expect("an entry");
        assert_eq!((entry.released, entry.reason.as_deref()), (Some(false), Some("InUse")));
        agent.run(agent.host.delete_idle_tap(&tap.name, &web.netns)).expect("it is not deleted");
    }
    agent.ready(&blue, &[]);
    assert_eq!(taps(), Some(1));
    drop(qemu);
    agent.settled(&blue, std::slice::from_ref(&web.port));
    assert_eq!(taps(), Some(1), "its Port is here: its Server may start");
    assert_eq!(agent.pass(&blue, &[], false).entry.and_then(|entry| entry.released), Some(true));
    assert_eq!(taps(), None);
}

pub fn a_stranger_is_left_alone() {
    let agent = Agent::new();
    let old = open("blue", 1, "10.10.0.0/24");
    let web = guest("web", 0x11, "blue", "10.10.0.5");
    agent.settled(&old, std::slice::from_ref(&web.port));
    agent.plug(&web);
    web.dhcp("").expect("netd answers");

    // The control plane forgot all; the same name is applied again, as another object.
    let new = open("blue", 9, "10.10.0.0/24");
    let heir = guest("heir", 0x91, "blue", "10.10.0.9");
    let report = agent.pass(&new, std::slice::from_ref(&heir.port), true);
    assert_eq!(report.entry.and_then(|e| e.reason).as_deref(), Some("HeldByStranger"));
    assert!(report.done.is_empty() && !report.ports["heir-eth0"]);
    assert!(web.fetches(SERVICE) && host_pings("10.10.0.5"), "who runs goes on");
    // Deleting the new one deletes nothing of the old.
    let report = agent.pass(&new, &[], false);
    assert_eq!(report.entry.and_then(|e| e.released), Some(true));
    assert!(report.done.is_empty() && web.fetches(SERVICE));

    // Once no guest is in it, it is only a name.
    agent.run(agent.host.delete_tap(&web.tap, &web.netns)).expect("the guest went");
    agent.settled(&new, std::slice::from_ref(&heir.port));
    agent.plug(&heir);
    assert!(heir.dhcp("").is_some() && heir.fetches(SERVICE) && host_pings("10.10.0.9"));
    assert_eq!(agent.run(agent.host.look_host()).expect("a look").uplinks.len(), 1, "the old uplink is gone");
}

pub fn a_guest_without_its_port_goes_on() {
    let agent = Agent::new();
    let blue = open("blue", 1, "10.10.0.0/24");
    let (web, db) = (guest("web", 0x11, "blue", "10.10.0.5"), guest("db", 0x12, "blue", "10.10.0.6"));
    agent.settled(&blue, &[web.port.clone(), db.port.clone()]);
    agent.plug(&web);
    web.dhcp("").expect("netd answers");
    // Its Port left our sight, not the machine.
    agent.settled(&blue, std::slice::from_ref(&db.port));
    assert!(web.fetches(SERVICE) && web.dhcp("").is_some());
    agent.settled(&blue, &[]);
    assert!(web.fetches(SERVICE) && web.dhcp("").is_some());
    // With its tap, what it may say goes too. It was the bridge's last port, and nobody has changed the bridge.
    agent.run(agent.host.delete_tap(&web.tap, &web.netns)).expect("the guest went");
    let report = agent.ready(&blue, std::slice::from_ref(&db.port));
    assert_eq!(report.mended, Vec::<String>::new());
    agent.settled(&blue, std::slice::from_ref(&db.port));
    let seen = agent.run(agent.host.look(&web.netns)).expect("a look").expect("a namespace");
    assert_eq!(seen.guests.keys().collect::<Vec<_>>(), [&db.tap]);
    let leases = agent.run(agent.netd.look(web.netns.as_str())).expect("a look").configured.expect("served").leases;
    assert_eq!(leases.len(), 1);
}

pub fn deleting_waits_for_guests_and_leaves_nothing() {
    let agent = Agent::new();
    let (blue, red) = (open("blue", 1, "10.10.0.0/24"), open("red", 2, "10.20.0.0/24"));
    let web = guest("web", 0x11, "blue", "10.10.0.5");
    let db = guest("db", 0x21, "red", "10.20.0.5");
    agent.settled(&blue, std::slice::from_ref(&web.port));
    agent.settled(&red, std::slice::from_ref(&db.port));
    agent.plug(&web);
    agent.plug(&db);
    let report = agent.pass(&blue, &[], false);
    let entry = report.entry.expect("an entry");
    assert_eq!((entry.released, entry.reason.as_deref()), (Some(false), Some("InUse")));
    assert!(host_pings("10.10.0.1"), "and all of it is still there");
    agent.run(agent.host.delete_tap(&web.tap, &web.netns)).expect("the guest went");

    let inode = agent.run(agent.host.look(&web.netns)).expect("a look").expect("a namespace").inode;
    let report = agent.pass(&blue, &[], false);
    assert_eq!(report.entry.and_then(|e| e.released), Some(true));
    assert!(!std::path::Path::new("/run/netns/nubium.shop.blue").exists());
    let pid = agent.netd.pid().expect("a look").expect("it runs");
    let held = sh(&format!("ls -l /proc/{pid}/fd; ls -l /proc/{pid}/task/*/ns/net"));
    assert!(!held.contains(&inode.to_string()), "netd holds nothing of it:\n{held}");
    assert!(!sh("ip -d link; ip route").contains("netns=nubium.shop.blue"));
    assert!(db.dhcp("").is_some() && db.fetches(SERVICE) && host_pings("10.20.0.5"), "the other one never noticed");
    let again = agent.pass(&blue, &[], false);
    assert!(again.done.is_empty(), "nothing is left to do");
    assert_eq!(again.entry.and_then(|e| e.released), Some(true));

    // A dead netd does not stop a deletion, and what it left behind does not either.
    agent.run(agent.host.delete_tap(&db.tap, &db.netns)).expect("the guest went");
    sh(&format!("kill -9 {pid}"));
    assert_eq!(agent.pass(&red, &[], false).entry.and_then(|e| e.released), Some(true));
    assert_eq!(sh("ls /run/netns | grep nubium || true"), "");
}

fn snapshot() -> String {
    let mut text = String::new();
    for line in [
        "ip -o link | sed 's/ state .*//'",
        "ip -o -4 addr",
        "ip -4 route show table all",
        "ls /run/netns",
        "nft -s list ruleset",
        "iptables-nft -S",
        "iptables-nft -t nat -S",
        "sysctl -a 2>/dev/null | grep -E 'net.ipv4.(ip_forward|conf)|net.bridge' | grep -v stable_secret",
        "awk '{print $5}' /proc/self/mountinfo | sort",
        "ls /run/nubium 2>/dev/null",
    ] {
        text.push_str(&format!("== {line}\n{}", try_sh(line).1));
    }
    text
}

pub fn teardown_leaves_the_host_as_it_was() {
    // Listing nat makes its table; then it is there before and after.
    sh("iptables-nft -t nat -S");
    // Somebody else's, with names like ours.
    sh("ip link add nubile type bridge && ip link add nubx0123456789 type veth peer name theirs");
    sh("ip netns add nubium.their.own && ip -n nubium.their.own link add theirs type bridge");
    let before = snapshot();
    let agent = Agent::new();
    let (blue, red) = (open("blue", 1, "10.10.0.0/24"), open("red", 2, "10.20.0.0/24"));
    let web = guest("web", 0x11, "blue", "10.10.0.5");
    agent.settled(&blue, std::slice::from_ref(&web.port));
    agent.settled(&red, &[guest("db", 0x21, "red", "10.20.0.5").port]);
    agent.plug(&web);
    web.dhcp("").expect("netd answers");
    assert_ne!(snapshot(), before);
    // By another process than the one that made it.
    let later = Agent::new();
    later.run(teardown(&later.host, &later.netd)).expect("it comes down");
    sh("ip netns del web");
    let after = snapshot();
    for (was, is) in before.lines().zip(after.lines()) {
        assert_eq!(was, is, "\nbefore:\n{before}\nafter:\n{after}");
    }
    assert_eq!(before, after);
    later.run(teardown(&later.host, &later.netd)).expect("and again, of nothing");
    assert_eq!(snapshot(), before);
    // And up again.
    let web = guest("web", 0x11, "blue", "10.10.0.5");
    agent.settled(&blue, std::slice::from_ref(&web.port));
    agent.plug(&web);
    assert!(web.dhcp("").is_some() && web.fetches(SERVICE));
}

pub fn teardown_is_not_misled_by_a_hidden_mount() {
    // The folder of namespaces that the machine mounted lies under this; nothing of it is seen.
    sh("mount -t tmpfs tmpfs /run");
    let agent = Agent::new();
    let web = guest("web", 0x11, "blue", "10.10.0.5");
    agent.settled(&open("blue", 1, "10.10.0.0/24"), std::slice::from_ref(&web.port));
    assert!(sh("ip netns").contains("blue"));
    agent.run(teardown(&agent.host, &agent.netd)).expect("it comes down");
    assert!(!std::path::Path::new("/run/netns").exists());
}
