//! What a host with nothing to do costs.

use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nubium_host::network::{Netns, programs_started};

use crate::host::{Agent, guest, open, sh};

const NETWORKS: u8 = 20;
const ROUNDS: u32 = 5;
/// The time between two passes for one Network.
const BETWEEN: Duration = Duration::from_secs(7);

/// `IN` enters the namespace.
const DAMAGES: &[(&str, &str)] = &[
    ("IN nft flush ruleset", "the firewall rules of nubium.shop.net-7 were missing"),
    ("IN ip link set br0 down", "the bridge of nubium.shop.net-7 was changed by somebody"),
    ("IN ip address flush dev br0", "the bridge of nubium.shop.net-7 was changed by somebody"),
];

pub fn settled_networks_start_no_programs() {
    let agent = Agent::new();
    let all: Vec<_> = (1..=NETWORKS)
        .map(|n| {
            let name = format!("net-{n}");
            let address = format!("10.{}.0.5", 100 + n);
            (open(&name, n, &format!("10.{}.0.0/24", 100 + n)), [guest("web", 0x40 + n, &name, &address).port])
        })
        .collect();
    let round = || {
        for (network, ports) in &all {
            let report = agent.run_quietly(network, ports);
            assert!(report.done.is_empty() && report.entry.is_some_and(|entry| entry.ready == Some(true)));
        }
    };
    for (network, ports) in &all {
        agent.settled(network, ports);
    }
    round();
    let (programs, cpu, began) = (programs_started(), cpu(), Instant::now());
    (0..ROUNDS).for_each(|_| round());
    let (programs, cpu) = (programs_started() - programs, cpu_since(cpu) / ROUNDS);
    println!(
        "{NETWORKS} settled Networks: {programs} programs in {ROUNDS} rounds; a round takes {:?} and {cpu:?} of a core, \
         {:.2} % at one in {BETWEEN:?}",
        began.elapsed() / ROUNDS,
        100.0 * cpu.as_secs_f64() / BETWEEN.as_secs_f64()
    );
    // Only what the old iptables holds is asked for each time, where it is in use.
    assert!(programs <= u64::from(ROUNDS) * u64::from(NETWORKS) * u64::from(uses_legacy()), "{programs} programs");
    // What changes is told, whatever it is, and seen by the next look.
    let (network, ports) = &all[6];
    for (damage, mended) in DAMAGES {
        while agent.next_change().is_some() {}
        sh(&damage.replace("IN", "ip netns exec nubium.shop.net-7"));
        assert_eq!(agent.next_change(), Some(Some(Netns::new("shop", "net-7"))), "{damage}");
        let found = agent.ready(network, ports).mended;
        assert!(found.iter().any(|it| it == mended), "{damage}: {found:?}");
    }
    // Of a sysctl the kernel tells nothing; it is looked at each time.
    while agent.next_change().is_some() {}
    sh("ip netns exec nubium.shop.net-7 sysctl -qw net.ipv4.conf.all.arp_ignore=0");
    assert!(!agent.pass(network, ports, true).done.is_empty());
    sh("ip link set uplink mtu 1400");
    assert_eq!(agent.next_change(), Some(None), "the host's own");
}

fn uses_legacy() -> bool {
    std::fs::read_to_string("/proc/net/ip_tables_names").is_ok_and(|names| names.lines().any(|name| name == "filter"))
}

fn cpu() -> Duration {
    [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].map(|who| used(&getrusage(who).expect("usage"))).iter().sum()
}

fn cpu_since(before: Duration) -> Duration {
    cpu() - before
}

fn used(usage: &Usage) -> Duration {
    [usage.user_time(), usage.system_time()]
        .map(|time| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000))
        .iter()
        .sum()
}
