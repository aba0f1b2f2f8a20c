//! Hosts whose forwarding is judged by other software.

use nubium_agent::network::egress;
use nubium_host::network::Networks;

use crate::host::{Agent, SERVICE, guest, open, sh, try_sh};

fn without_docker() {
    sh("iptables-nft -F && iptables-nft -X DOCKER-USER && iptables-nft -P FORWARD ACCEPT");
}

pub fn an_open_host_is_told_nothing() {
    without_docker();
    let before = sh("iptables-nft -S");
    let agent = Agent::new();
    let blue = open("blue", 1, "10.10.0.0/24");
    let web = guest("web", 0x11, "blue", "10.10.0.5");
    agent.settled(&blue, std::slice::from_ref(&web.port));
    agent.plug(&web);
    web.dhcp("").expect("netd answers");
    assert!(web.fetches(SERVICE));
    assert_eq!(sh("iptables-nft -S"), before);
}

/// iptables without Docker, in both of its shapes: a policy (as ufw has), and a last rule (as RHEL has).
pub fn iptables_without_docker_is_told_in_forward() {
    without_docker();
    let agent = Agent::new();
    let blue = open("blue", 1, "10.10.0.0/24");
    let web = guest("web", 0x11, "blue", "10.10.0.5");
    agent.settled(&blue, std::slice::from_ref(&web.port));
    agent.plug(&web);
    web.dhcp("").expect("netd answers");
    for (iptables, closing) in [
        ("iptables-nft", "-P FORWARD DROP"),
        ("iptables-nft", "-A FORWARD -j REJECT --reject-with icmp-host-prohibited"),
        ("iptables-legacy", "-P FORWARD DROP"),
    ] {
        if !try_sh(&format!("{iptables} -S")).0 {
            println!("SKIPPED: {iptables} does not work on this kernel");
            continue;
        }
        sh(&format!("{iptables} {closing}"));
        assert!(!web.fetches(SERVICE) || closing.starts_with("-A"), "closed by {iptables} {closing}");
        agent.ready(&blue, std::slice::from_ref(&web.port));
        assert!(web.fetches(SERVICE), "open again beside {iptables} {closing}");
        agent.settled(&blue, std::slice::from_ref(&web.port));
    }
    // Docker comes later: its chain is told instead, and still only established packets come back in.
    sh(
        "iptables-nft -N DOCKER-USER && iptables-nft -A DOCKER-USER -j RETURN && iptables-nft -I FORWARD -j DOCKER-USER",
    );
    agent.ready(&blue, std::slice::from_ref(&web.port));
    assert!(sh("iptables-nft -S DOCKER-USER").contains("nub+") && web.fetches(SERVICE));
    agent.run(agent.host.teardown_host()).expect("it comes down");
    let left = sh("iptables-nft -S; iptables-legacy -S || true");
    assert!(!left.contains("nub"), "{left}");
}

pub fn a_firewall_that_cannot_be_told_is_named() {
    sh(
        "nft add table inet mine && nft add chain inet mine host_firewall '{ type filter hook forward priority 10; policy drop; }'",
    );
    let agent = Agent::new();
    let blue = open("blue", 1, "10.10.0.0/24");
    let web = guest("web", 0x11, "blue", "10.10.0.5");
    let host = || egress(&agent.run(agent.host.look_host()).expect("a look").host_firewall);
    let told = host();
    assert_eq!((told.ready, told.reason), (false, "FirewallBlocks"), "the Host says it before there is a Network");
    let report = agent.pass(&blue, std::slice::from_ref(&web.port), true);
    let entry = report.entry.expect("an entry");
    assert_eq!((entry.ready, entry.reason.as_deref()), (Some(false), Some("FirewallBlocks")));
    let message = entry.message.expect("a message");
    assert!(message.contains("inet mine host_firewall"), "{message}");
    assert_eq!(host(), told, "and the same once there is one");
    assert_eq!(told.message, message);
    agent.plug(&web);
    web.dhcp("").expect("netd answers");
    assert!(!web.fetches(SERVICE));
    // The very commands that it names help.
    let commands = message.split("let it through with: ").nth(1).expect("commands");
    for command in commands.split("; ") {
        sh(&command.replace("\"nub*\"", "'\"nub*\"'"));
    }
    assert!(web.fetches(SERVICE));
    assert!(host().ready, "{:?}", host());
}
