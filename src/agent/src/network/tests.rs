//! Passes over a simulated host, from every state to every input, against an oracle that was written without the
//! planner: it says what the host must look like, not what was to be done.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use nubium_api::{HostAccessRanges, Network, Port};
use nubium_host::network::{
    Backend, Connection, Guest, IptablesChain, MadeFrom, NamespaceRules, Netns, Networks, RouteSeen, RulesSeen,
    TapSeen, Transit, host_firewall_rules, names, sysctl, transit,
};
use nubium_runtime::Key;
use nubium_testkit::network::{NetWorld, SimNetworks};
use serde_json::json;

use super::{
    Desired, DnsServers, Found, HostAccess, Input, Invalid, Plan, Refusal, Report, Settings, Step, Unfinished,
    converge_to, egress, observe,
};

fn settings() -> Settings {
    Settings { host: "box".into(), transit: transit::DEFAULT_CIDR, api_server: Vec::new() }
}

fn uid(n: u8) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}

/// A small input; the numbers are what tells it from the others.
#[derive(Debug, Clone, Copy)]
struct Small {
    uid: u8,
    generation: i64,
    present: bool,
    egress: bool,
    host_access: bool,
    dhcp: bool,
    guests: u8,
}

const PLAIN: Small =
    Small { uid: 1, generation: 2, present: true, egress: true, host_access: true, dhcp: true, guests: 1 };

impl Small {
    fn network(self) -> Network {
        let kind = if self.egress { "NAT" } else { "None" };
        serde_json::from_value(json!({
            "apiVersion": "nubium.dev/v1alpha1", "kind": "Network",
            "metadata": {"name": "blue", "namespace": "shop", "uid": uid(self.uid), "generation": self.generation},
            "spec": {
                "subnets": [{"name": "v4", "cidr": "10.10.0.0/24", "dhcp": self.dhcp}],
                "egress": {"type": kind}, "hostAccess": self.host_access,
            },
        }))
        .unwrap()
    }

    fn ports(self) -> Vec<Port> {
        (1..=self.guests)
            .map(|n| {
                serde_json::from_value(json!({
                    "apiVersion": "nubium.dev/v1alpha1", "kind": "Port",
                    "metadata": {"name": format!("web-{n}-eth0"), "namespace": "shop", "uid": uid(0x10 + n)},
                    "spec": {"network": "blue"},
                    "status": {
                        "macAddress": format!("52:54:00:00:00:{n:02x}"), "server": format!("web-{n}"),
                        "addresses": [{"name": "v4", "address": format!("10.10.0.{}", 10 + n)}],
                    },
                }))
                .unwrap()
            })
            .collect()
    }

    fn desired(self) -> Desired {
        desired(&self.network(), &self.ports(), self.present)
    }
}

/// Where `hostAccess` is allowed.
fn allowed() -> HostAccessRanges {
    HostAccessRanges(vec!["10.0.0.0/8".parse().unwrap()])
}

fn try_desired(network: &Network, ports: &[Port], present: bool) -> Result<Desired, Invalid> {
    let allowed = allowed();
    Desired::new(&Input { network, ports, present, host_access: Some(&allowed) }, &settings())
}

fn desired(network: &Network, ports: &[Port], present: bool) -> Desired {
    try_desired(network, ports, present).unwrap()
}

fn desired_states() -> Vec<Small> {
    let mut states = Vec::new();
    for bits in 0..16u8 {
        let bit = |n: u8| bits & (1 << n) != 0;
        for guests in 0..=2 {
            states.push(Small { present: bit(0), egress: bit(1), host_access: bit(2), dhcp: bit(3), guests, ..PLAIN });
        }
    }
    states
}

fn blue() -> Netns {
    Netns::new("shop", "blue")
}

/// A host on which Docker lives, and another Network, which nothing here may ever touch.
async fn host() -> SimNetworks {
    let sim = SimNetworks::new();
    sim.world().host.host_firewall.firewall.iptables =
        vec![(IptablesChain { backend: Backend::Nft, chain: "DOCKER-USER".into() }, false)];
    let uplink = RouteSeen { destination: "192.0.2.0/24".parse().unwrap(), gateway: None, link: Some("eth0".into()) };
    sim.world().host.foreign_routes.push(uplink);
    let mut other = PLAIN.network();
    other.metadata.name = Some("red".into());
    other.metadata.uid = Some(uid(2));
    other.spec.subnets[0].cidr = Some("10.20.0.0/24".into());
    let want = desired(&other, &[], true);
    // Somebody's Port is bound here but not ready: enough for the Network to be made.
    let want = Desired { waiting: BTreeMap::from([("p".to_string(), "soon".to_string())]), ..want };
    pass(&want, &sim).await;
    sim
}

async fn pass(want: &Desired, sim: &SimNetworks) -> Report {
    converge_to(want, &settings(), sim, sim).await
}

fn tap(n: u8) -> String {
    names::tap(&uid(0x10 + n))
}

fn on_bridge() -> TapSeen {
    TapSeen { mtu: 1430, up: true, on_bridge: true, held: true }
}

type Damage = (&'static str, fn(&mut NetWorld));

/// What may have happened to the host since a settled pass for [`PLAIN`].
const DAMAGES: &[Damage] = &[
    ("nothing", |_| {}),
    ("the namespace is gone", |w| {
        w.namespaces.remove(&blue());
        w.host.uplinks.retain(|_, uplink| uplink.netns != Some(blue()));
        w.listens.remove(blue().as_str());
    }),
    ("only the namespace was made", |w| {
        let inside = w.namespaces.get_mut(&blue()).unwrap();
        (inside.bridge, inside.owner, inside.rules, inside.out) = (None, None, None, None);
        inside.guests.clear();
        w.host.uplinks.retain(|_, uplink| uplink.netns != Some(blue()));
        w.served.remove(blue().as_str());
        w.listens.remove(blue().as_str());
    }),
    ("the namespace is another one of that name", |w| w.namespaces.get_mut(&blue()).unwrap().inode = 99),
    ("its rules are flushed", |w| {
        let inside = w.namespaces.get_mut(&blue()).unwrap();
        inside.rules = None;
        inside.guests.clear();
    }),
    ("its rules are changed", |w| w.namespaces.get_mut(&blue()).unwrap().rules.as_mut().unwrap().intact = false),
    ("a sysctl is changed", |w| {
        w.namespaces.get_mut(&blue()).unwrap().sysctls.insert("net/ipv4/ip_forward".into(), "0".into());
    }),
    ("a sysctl does not exist", |w| {
        w.namespaces.get_mut(&blue()).unwrap().sysctls.remove("net/bridge/bridge-nf-call-iptables");
    }),
    ("the loopback is down", |w| w.namespaces.get_mut(&blue()).unwrap().loopback_up = false),
    ("the bridge is down", |w| w.namespaces.get_mut(&blue()).unwrap().bridge.as_mut().unwrap().up = false),
    ("the bridge has another MAC", |w| w.namespaces.get_mut(&blue()).unwrap().bridge.as_mut().unwrap().mac = None),
    ("the bridge has another MTU", |w| w.namespaces.get_mut(&blue()).unwrap().bridge.as_mut().unwrap().mtu = 1500),
    ("the bridge runs spanning tree", |w| w.namespaces.get_mut(&blue()).unwrap().bridge.as_mut().unwrap().stp = true),
    ("the bridge snoops", |w| {
        w.namespaces.get_mut(&blue()).unwrap().bridge.as_mut().unwrap().multicast_snooping = true;
    }),
    ("the gateway lost its address", |w| {
        w.namespaces.get_mut(&blue()).unwrap().bridge.as_mut().unwrap().addresses.clear();
    }),
    ("the owner is forgotten", |w| w.namespaces.get_mut(&blue()).unwrap().owner = None),
    ("an earlier generation", |w| w.namespaces.get_mut(&blue()).unwrap().owner.as_mut().unwrap().generation = 1),
    ("another Network of that name was here", |w| {
        w.namespaces.get_mut(&blue()).unwrap().owner.as_mut().unwrap().uid = uid(7);
        let uplink = w.host.uplinks.remove(&names::uplink(&uid(1))).unwrap();
        w.host.uplinks.insert(names::uplink(&uid(7)), uplink);
    }),
    ("a tap is down and off the bridge", |w| {
        let taps = &mut w.namespaces.get_mut(&blue()).unwrap().taps;
        taps.insert(tap(1), TapSeen { mtu: 1500, up: false, on_bridge: false, held: true });
    }),
    ("a guest has ended and left its tap", |w| {
        let idle = TapSeen { held: false, ..on_bridge() };
        w.namespaces.get_mut(&blue()).unwrap().taps.insert(tap(1), idle);
    }),
    ("a guest runs", |w| {
        w.namespaces.get_mut(&blue()).unwrap().taps.insert(tap(1), on_bridge());
    }),
    ("the inner end lost its route", |w| {
        w.namespaces.get_mut(&blue()).unwrap().out.as_mut().unwrap().default_route = false;
    }),
    ("the inner end has another MTU", |w| w.namespaces.get_mut(&blue()).unwrap().out.as_mut().unwrap().mtu = 1500),
    ("the uplink is gone", |w| {
        w.host.uplinks.remove(&names::uplink(&uid(1)));
        w.namespaces.get_mut(&blue()).unwrap().out = None;
    }),
    ("the host's end is down", |w| w.host.uplinks.get_mut(&names::uplink(&uid(1))).unwrap().up = false),
    ("the host's end has the other Network's pair", |w| {
        let other = w.host.uplinks[&names::uplink(&uid(2))].addresses.clone();
        w.host.uplinks.get_mut(&names::uplink(&uid(1))).unwrap().addresses = other;
    }),
    ("the host's route is gone", |w| w.host.uplinks.get_mut(&names::uplink(&uid(1))).unwrap().routes.clear()),
    ("the host's route goes elsewhere", |w| {
        let route = &mut w.host.uplinks.get_mut(&names::uplink(&uid(1))).unwrap().routes[0];
        route.gateway = Some("198.19.9.9".parse().unwrap());
    }),
    ("a route too many", |w| {
        let uplink = w.host.uplinks.get_mut(&names::uplink(&uid(1))).unwrap();
        let (destination, link) = ("10.99.0.0/24".parse().unwrap(), uplink.routes[0].link.clone());
        uplink.routes.push(RouteSeen { destination, gateway: uplink.routes[0].gateway, link });
    }),
    ("the host's rules are flushed", |w| w.host.host_firewall.rules = None),
    ("the host's rules are changed", |w| w.host.host_firewall.rules.as_mut().unwrap().intact = false),
    ("forwarding is off", |w| w.host.host_firewall.forwarding = false),
    ("Docker was restarted", |w| w.host.host_firewall.firewall.iptables[0].1 = false),
    ("netd is dead", |w| {
        w.netd_runs = false;
        w.listens.clear();
    }),
    ("netd's file is gone", |w| {
        w.served.remove(blue().as_str());
        w.listens.remove(blue().as_str());
    }),
    ("netd serves another lease", |w| {
        w.served.get_mut(blue().as_str()).unwrap().leases[0].address = "10.10.0.200".parse().unwrap()
    }),
    ("netd listens nowhere", |w| {
        w.listens.remove(blue().as_str());
    }),
];

/// What must be there once a pass says that it is.
fn check(want: &Desired, before: &NetWorld, world: &NetWorld, context: &str) {
    let there = world.namespaces.get(&want.netns);
    let uplink = world.host.uplinks.get(&names::uplink(&want.owner.uid));
    if !want.present {
        assert!(there.is_none() && uplink.is_none(), "{context}: nothing is left");
        assert!(!world.served.contains_key(want.netns.as_str()), "{context}: DHCP let go");
        return;
    }
    if want.guests.is_empty() && !before.namespaces.contains_key(&want.netns) {
        assert!(there.is_none(), "{context}: a Network without Ports here is not made");
        return;
    }
    let there = there.unwrap_or_else(|| panic!("{context}: the namespace"));
    assert_eq!(there.owner.as_ref(), Some(&want.owner), "{context}");
    assert!(there.loopback_up, "{context}");
    let bridge = there.bridge.as_ref().unwrap_or_else(|| panic!("{context}: the bridge"));
    assert_eq!(bridge.mac, Some(names::bridge_mac(&want.owner.uid)), "{context}");
    assert!(bridge.up && !bridge.stp && !bridge.multicast_snooping && bridge.mtu == 1430, "{context}: {bridge:?}");
    assert_eq!(bridge.addresses, ["10.10.0.1/24".parse::<Ipv4Net>().unwrap()], "{context}");
    for (name, value) in sysctl::NAMESPACE {
        assert!(there.sysctls.get(*name).is_none_or(|seen| seen == value), "{context}: {name}");
    }
    // Those requested, and those that run and are known; nobody else.
    let mut guests: BTreeMap<String, Guest> =
        want.guests.iter().map(|(tap, wanted)| (tap.clone(), wanted.guest.clone())).collect();
    let in_use = |seen: &TapSeen| seen.held || !want.guests.is_empty();
    let had_tap = before.namespaces.get(&want.netns).and_then(|n| n.taps.get(&tap(1))).is_some_and(in_use);
    if had_tap && let Some(known) = before.namespaces[&want.netns].guests.get(&tap(1)) {
        guests.entry(tap(1)).or_insert_with(|| known.clone());
    }
    assert_eq!(there.guests, guests, "{context}: who may speak");
    let neighbours = guests.values().flat_map(|guest| guest.addresses.iter().map(|address| (*address, guest.macs[0])));
    assert_eq!(there.neighbours, neighbours.collect(), "{context}: who has which address");
    let Desired { subnet, egress, .. } = want;
    let host_access = &(want.host_access == HostAccess::Yes);
    let rules = NamespaceRules { subnet: *subnet, guests: guests.clone(), egress: *egress, host_access: *host_access };
    assert_eq!(there.rules, Some(RulesSeen { digest: rules.render().digest(), intact: true }), "{context}");
    assert!(there.taps.values().all(|tap| tap.works(1430)), "{context}: {:?}", there.taps);

    if *egress || *host_access {
        let uplink = uplink.unwrap_or_else(|| panic!("{context}: the uplink"));
        let pair = Transit::of(uplink.addresses[0].addr());
        assert!(transit::DEFAULT_CIDR.contains(&pair.host()), "{context}");
        assert!(uplink.up && uplink.mtu == 1430 && uplink.addresses == [pair.host_net()], "{context}");
        assert_eq!((uplink.netns.as_ref(), uplink.owner.as_ref()), (Some(&want.netns), Some(&want.owner)), "{context}");
        let out = there.out.as_ref().unwrap_or_else(|| panic!("{context}: the inner end"));
        assert!(out.up && out.mtu == 1430 && out.default_route && out.addresses == [pair.inner_net()], "{context}");
        let twins = world.host.uplinks.values().filter(|w| w.addresses == uplink.addresses).count();
        assert_eq!(twins, 1, "{context}: a pair is one Network's");
        let routes: Vec<_> = uplink.routes.iter().map(|r| (r.destination, r.gateway)).collect();
        let wanted: Vec<_> = host_access.then_some((*subnet, Some(pair.inner()))).into_iter().collect();
        assert_eq!(routes, wanted, "{context}: who the host reaches");
        let host_firewall =
            RulesSeen { digest: host_firewall_rules(want.transit, &world.host.default_links()).digest(), intact: true };
        assert_eq!(world.host.host_firewall.rules, Some(host_firewall), "{context}");
    } else {
        assert!(uplink.is_none() && there.out.is_none(), "{context}: no uplink");
    }
    if *egress {
        assert!(
            world.host.host_firewall.forwarding && world.host.host_firewall.firewall.iptables[0].1,
            "{context}: the host_firewall is open"
        );
    }
    let leading_here = world.host.uplinks.values().filter(|w| w.netns.as_ref() == Some(&want.netns)).count();
    assert_eq!(leading_here, usize::from(*egress || *host_access), "{context}: no other uplink leads here");

    let served = world.served.get(want.netns.as_str());
    assert_eq!(served.is_some(), want.dhcp, "{context}: DHCP");
    if let Some(served) = served {
        assert!(world.netd_runs && world.listens.get(want.netns.as_str()) == Some(&there.inode), "{context}: netd");
        assert_eq!((served.gateway, served.prefix, served.mtu), (want.gateway, 24, 1430), "{context}");
        assert_eq!(served.default_route, want.egress, "{context}: a router is named only where it leads somewhere");
        for wanted in want.guests.values() {
            let lease = served.leases.iter().find(|l| l.mac.0 == wanted.mac.0);
            let lease = lease.unwrap_or_else(|| panic!("{context}: a lease for {}", wanted.port));
            assert_eq!((Some(&lease.address), &lease.hostname), (wanted.addresses.first(), &wanted.hostname));
        }
        assert!(
            served.leases.iter().all(|l| guests.values().any(|g| g.macs.iter().any(|mac| mac.0 == l.mac.0))),
            "{context}: nobody else"
        );
    }
}

#[tokio::test]
async fn reaches_the_desired_state_from_every_state() {
    let mut reached = 0;
    for (damage, harm) in DAMAGES {
        for input in desired_states() {
            let context = format!("{damage}, then {input:?}");
            let sim = host().await;
            pass(&PLAIN.desired(), &sim).await;
            harm(&mut sim.world());
            let before = sim.world().clone();
            let want = input.desired();
            let report = pass(&want, &sim).await;
            let again = pass(&want, &sim).await;
            let world = sim.world().clone();

            // The other Network and everybody else's routes are as they were, whatever happened.
            let red = Netns::new("shop", "red");
            assert_eq!(world.namespaces[&red], before.namespaces[&red], "{context}");
            assert_eq!(
                world.host.uplinks[&names::uplink(&uid(2))],
                before.host.uplinks[&names::uplink(&uid(2))],
                "{context}"
            );
            assert_eq!(world.host.foreign_routes, before.host.foreign_routes, "{context}");
            assert_eq!(world.served.get(red.as_str()), before.served.get(red.as_str()), "{context}");

            // Guests that run are never unplugged, and keep what they were let say.
            let inside = before.namespaces.get(&blue());
            let strangers = inside.and_then(|n| n.owner.as_ref()).is_some_and(|owner| owner.uid != uid(1));
            let in_use = inside
                .is_some_and(|n| n.taps.values().any(|tap| tap.held || !want.guests.is_empty() || input.guests > 0));
            if !want.present && in_use {
                assert_eq!(report.entry.and_then(|e| e.released), Some(false), "{context}");
                assert_eq!(world, before, "{context}: nothing was touched");
                continue;
            }
            if !want.present && strangers {
                assert_eq!(report.entry.and_then(|e| e.released), Some(true), "{context}");
                assert_eq!(world, before, "{context}: another's namespace is not ours to delete");
                continue;
            }
            assert!(again.done.is_empty(), "{context}: one pass is enough, the next did {:?}", again.done);
            assert!(!again.again, "{context}: {:?}", again.entry);
            check(&want, &before, &world, &context);
            if want.present && (world.namespaces.contains_key(&blue())) {
                assert_eq!(again.entry.and_then(|e| e.ready), Some(true), "{context}");
                assert!(
                    again.ports.len() == want.guests.len() && again.ports.values().all(|ready| *ready),
                    "{context}"
                );
            } else if !want.present {
                assert_eq!(again.entry.and_then(|e| e.released), Some(true), "{context}");
            } else {
                assert_eq!(again.entry, None, "{context}");
            }
            reached += 1;
        }
    }
    assert!(reached > 1000, "{reached}");
}

/// Whatever fails, wherever: it is reported with what was not tried, nothing is said to be ready that is not, and
/// the next pass finishes.
#[tokio::test]
async fn a_failed_step_is_reported_and_the_next_pass_finishes() {
    for present in [true, false] {
        let want = Small { present, ..PLAIN }.desired();
        for successes in 0.. {
            let sim = host().await;
            sim.world().netd_runs = false;
            if !present {
                pass(&PLAIN.desired(), &sim).await;
            }
            let before = sim.world().clone();
            sim.fail_after(successes);
            let report = pass(&want, &sim).await;
            let context = format!("present {present}, failing after {successes}");
            let entry = report.entry.expect("an entry");
            if entry.reason.as_deref() != Some("Failed") {
                assert!(successes > 2, "{context}: {entry:?}");
                break;
            }
            assert_eq!(report.done.len(), successes, "{context}");
            assert!(report.again && entry.ready == Some(false) && entry.released != Some(true), "{context}");
            let ready = report.ports.values().any(|ready| *ready);
            assert!(!ready || sim.world().listens.contains_key(blue().as_str()), "{context}: ready without DHCP");
            let next = pass(&want, &sim).await;
            assert!(!next.again, "{context}: {:?}", next.entry);
            check(&want, &before, &sim.world(), &context);
        }
    }
}

/// netd still listens in the namespace that had this name before: its socket hears nobody here.
#[tokio::test]
async fn a_port_is_not_ready_while_dhcp_listens_elsewhere() {
    let sim = host().await;
    let want = PLAIN.desired();
    assert!(pass(&want, &sim).await.ports["web-1-eth0"]);
    sim.world().namespaces.get_mut(&blue()).unwrap().inode = 99;
    sim.fail_after(0);
    assert!(!pass(&want, &sim).await.ports["web-1-eth0"]);
    assert!(pass(&want, &sim).await.ports["web-1-eth0"]);
}

#[tokio::test]
async fn rules_are_in_force_before_anything_can_speak() {
    let sim = host().await;
    let want = PLAIN.desired();
    sim.world().taps.insert(tap(1));
    let seen = observe(&want, &sim, &sim).await.unwrap();
    let steps = Plan::new(&want, &seen).steps;
    let at = |wanted: fn(&Step) -> bool| steps.iter().position(wanted).unwrap();
    let rules = at(|s| matches!(s, Step::ReplaceRules { .. }));
    assert!(rules < at(|s| matches!(s, Step::SetBridge { .. })) && rules < at(|s| matches!(s, Step::SetUplink { .. })));
    assert!(at(|s| matches!(s, Step::SetBridge { .. })) < at(|s| matches!(s, Step::ServeDhcp { .. })));
    // Taking away goes the other way round: first who listens, then the links, then the namespace.
    pass(&want, &sim).await;
    let gone = Small { present: false, ..PLAIN }.desired();
    let steps = Plan::new(&gone, &observe(&want, &sim, &sim).await.unwrap()).steps;
    assert!(
        matches!(steps.as_slice(), [Step::ForgetDhcp { .. }, Step::DeleteUplink { .. }, Step::DeleteNamespace { .. }]),
        "{steps:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_the_reason() {
    let sim = host().await;
    let want = PLAIN.desired();
    let reason = |report: &Report| report.entry.as_ref().and_then(|e| e.reason.clone()).unwrap_or_default();

    // Guests of an earlier Network of that name.
    pass(&want, &sim).await;
    {
        let mut world = sim.world();
        let inside = world.namespaces.get_mut(&blue()).unwrap();
        inside.owner = Some(MadeFrom { uid: uid(9), generation: 1 });
        inside.taps.insert(tap(1), on_bridge());
    }
    let before = sim.world().clone();
    let report = pass(&want, &sim).await;
    assert_eq!((reason(&report).as_str(), report.ports["web-1-eth0"]), ("HeldByStranger", false));
    assert_eq!(*sim.world(), before);

    // A input out of an old cache.
    sim.world().namespaces.get_mut(&blue()).unwrap().owner = Some(MadeFrom { uid: uid(1), generation: 3 });
    assert_eq!(reason(&pass(&want, &sim).await), "OlderGeneration");

    // The range, and the transit range, in use by the host for something else.
    for (range, expected) in [("10.0.0.0/8", "RangeTaken"), ("198.18.0.0/15", "NoTransit"), ("0.0.0.0/1", "Ready")] {
        let sim = host().await;
        let route = RouteSeen { destination: range.parse().unwrap(), gateway: None, link: Some("tun0".into()) };
        sim.world().host.foreign_routes.push(route);
        let report = pass(&want, &sim).await;
        assert_eq!(reason(&report), expected, "{range}");
        assert!(report.ports["web-1-eth0"], "its guests do not wait for the host's failures");
    }

    // Two Networks, one range: the second is told the first's name; it goes on when the first is gone.
    let sim = host().await;
    pass(&want, &sim).await;
    let mut twin = PLAIN.network();
    (twin.metadata.name, twin.metadata.uid) = (Some("green".into()), Some(uid(3)));
    let twin = desired(&twin, &PLAIN.ports(), true);
    let report = pass(&twin, &sim).await;
    assert_eq!(reason(&report), "RangeTaken");
    assert!(report.entry.unwrap().message.unwrap().contains("Network shop/blue"));
    pass(&Small { present: false, ..PLAIN }.desired(), &sim).await;
    assert_eq!(reason(&pass(&twin, &sim).await), "Ready");
}

/// What this host sends to others is not given to whoever takes their range for a Network.
#[tokio::test]
async fn host_access_is_given_only_where_the_admin_allows_it_and_the_host_sends_nothing_else() {
    let input = |small: Small, allow: Option<&[&str]>| {
        let (network, ports) = (small.network(), small.ports());
        let allow = allow.map(|ranges| HostAccessRanges(ranges.iter().map(|range| range.parse().unwrap()).collect()));
        Desired::new(
            &Input { network: &network, ports: &ports, present: true, host_access: allow.as_ref() },
            &settings(),
        )
        .unwrap()
    };
    let routes =
        |sim: &SimNetworks| sim.world().host.uplinks.get(&names::uplink(&uid(1))).map(|uplink| uplink.routes.len());
    let reason = |report: &Report| report.entry.as_ref().and_then(|e| e.reason.clone()).unwrap_or_default();
    let (ours, others): (&[&str], &[&str]) = (&["10.10.0.0/16"], &["10.77.0.0/16"]);

    // Outside the allowed ranges: refused, with the command; all else is made.
    let sim = host().await;
    let report = pass(&input(PLAIN, Some(others)), &sim).await;
    assert_eq!((reason(&report).as_str(), routes(&sim)), ("HostAccessRefused", Some(0)));
    let message = report.entry.as_ref().unwrap().message.clone().unwrap();
    assert!(message.contains("inside 10.77.0.0/16") && message.contains("kubectl patch cloudsettings"), "{message}");
    assert!(report.ports["web-1-eth0"], "its guests do not wait for it");
    let quiet = Small { egress: false, ..PLAIN };
    assert_eq!(reason(&pass(&input(quiet, Some(others)), &sim).await), "HostAccessRefused");
    assert_eq!(routes(&sim), None, "no uplink for what is refused");

    // While it is not known what is allowed, nothing is added, and what is there stays.
    let sim = host().await;
    assert_eq!(reason(&pass(&input(PLAIN, None), &sim).await), "CloudSettingsMissing");
    assert_eq!(routes(&sim), Some(0));
    assert_eq!((reason(&pass(&input(PLAIN, Some(ours)), &sim).await).as_str(), routes(&sim)), ("Ready", Some(1)));
    let before = sim.world().clone();
    assert_eq!(reason(&pass(&input(PLAIN, None), &sim).await), "Ready");
    assert_eq!(*sim.world(), before);

    // It is no longer allowed: the route goes, and all else stays.
    let report = pass(&input(PLAIN, Some(others)), &sim).await;
    assert_eq!((reason(&report).as_str(), routes(&sim)), ("HostAccessRefused", Some(0)));

    // Inside an allowed range, and the host uses it itself.
    type Use = (&'static str, fn(&mut NetWorld), &'static str);
    let uses: [Use; 4] = [
        ("its DNS server", |world| world.host.resolvers = vec!["10.10.0.53".parse().unwrap()], "DNS server 10.10.0.53"),
        (
            "its gateway",
            |world| {
                let gateway = Some("10.10.0.254".parse().unwrap());
                world.host.foreign_routes.push(RouteSeen {
                    destination: Ipv4Net::default(),
                    gateway,
                    link: Some("eth0".into()),
                });
            },
            "gateway 10.10.0.254",
        ),
        (
            "a connection",
            |world| {
                let (local, peer) = ("192.0.2.1".parse().unwrap(), "10.10.0.7".parse().unwrap());
                world.connections.insert(Connection { local, peer });
            },
            "connected with 10.10.0.7",
        ),
        (
            "a route",
            |world| {
                let destination = "10.8.0.0/13".parse().unwrap();
                world.host.foreign_routes.push(RouteSeen { destination, gateway: None, link: Some("tun0".into()) });
            },
            "tun0 (10.8.0.0/13)",
        ),
    ];
    for (what, begin, text) in uses {
        let sim = host().await;
        begin(&mut sim.world());
        let report = pass(&input(PLAIN, Some(ours)), &sim).await;
        let message = report.entry.as_ref().unwrap().message.clone().unwrap();
        assert_eq!((reason(&report).as_str(), routes(&sim)), ("RangeTaken", Some(0)), "{what}: {message}");
        assert!(message.contains(text), "{what}: {message}");
    }
    let mut far = input(PLAIN, Some(ours));
    far.api_server = vec!["10.10.0.9".parse().unwrap()];
    let report = pass(&far, &host().await).await;
    assert!(report.entry.unwrap().message.unwrap().contains("API server 10.10.0.9"));

    // Connections into the Network itself take nothing from it, also while its route is to be mended and when they are
    // from an address that its uplink had before.
    for before in [None, Some("198.19.200.2")] {
        let sim = host().await;
        pass(&input(PLAIN, Some(ours)), &sim).await;
        let now = sim.world().host.uplinks[&names::uplink(&uid(1))].addresses[0].addr();
        let local = before.map_or(now, |before| before.parse().unwrap());
        sim.world().connections.insert(Connection { local, peer: "10.10.0.11".parse().unwrap() });
        sim.world().host.uplinks.clear();
        let report = pass(&input(PLAIN, Some(ours)), &sim).await;
        assert_eq!((reason(&report).as_str(), routes(&sim)), ("Ready", Some(1)), "{local}");
    }
}

/// Reading the host's sockets costs too much for every pass, and a route that is there takes nothing from them.
#[tokio::test]
async fn the_hosts_connections_are_read_only_for_a_route_that_would_be_new() {
    let reached = PLAIN.desired();
    let sim = SimNetworks::new();
    pass(&Small { host_access: false, ..PLAIN }.desired(), &sim).await;
    assert_eq!(sim.connection_looks(), 0, "no route is asked for");
    pass(&reached, &sim).await;
    let looks = sim.connection_looks();
    assert!(looks > 0, "a route is new");
    pass(&reached, &sim).await;
    assert_eq!(sim.connection_looks(), looks, "the route is there");
    sim.world().host.uplinks.values_mut().for_each(|uplink| uplink.routes.clear());
    pass(&reached, &sim).await;
    assert!(sim.connection_looks() > looks, "the route was taken away");
}

/// A default is checked against the place where it is used: guests are told of no DNS server that they cannot reach.
#[tokio::test]
async fn the_hosts_dns_servers_are_named_only_where_guests_reach_them() {
    let served = |sim: &SimNetworks| sim.world().served[blue().as_str()].dns.clone();
    let reason = |report: Report| report.entry.and_then(|e| e.reason).unwrap_or_default();
    let ip = |text: &str| text.parse::<std::net::Ipv4Addr>().unwrap();
    let plain = Small { host_access: false, ..PLAIN };
    let with = async |resolvers: &[&str], want: &Desired| {
        let sim = host().await;
        sim.world().host.addresses.insert(ip("192.0.2.1"));
        sim.world().host.resolvers = resolvers.iter().map(|text| text.parse().unwrap()).collect();
        let reason = reason(pass(want, &sim).await);
        (served(&sim), reason)
    };
    let ready = |servers: &[&str]| (servers.iter().map(|text| ip(text)).collect::<Vec<_>>(), "Ready".to_owned());
    assert_eq!(with(&["192.0.2.53"], &plain.desired()).await, ready(&["192.0.2.53"]));
    assert_eq!(
        with(&["10.10.0.53", "192.0.2.53"], &plain.desired()).await,
        ready(&["192.0.2.53"]),
        "one is in its range"
    );
    assert_eq!(with(&[], &plain.desired()).await, ready(&[]), "the host has none itself");
    for unreachable in ["10.10.0.53", "192.0.2.1"] {
        assert_eq!(
            with(&[unreachable], &plain.desired()).await,
            (Vec::new(), "DNSUnreachable".into()),
            "{unreachable}"
        );
    }
    let isolated = Small { egress: false, ..plain }.desired();
    assert_eq!(with(&["192.0.2.53"], &isolated).await, ready(&[]), "nothing leaves it");
    let mut network = plain.network();
    network.spec.subnets[0].dns_servers = Some(vec!["10.10.0.53".into()]);
    let named = desired(&network, &plain.ports(), true);
    assert_eq!(with(&["10.10.0.53"], &named).await, ready(&["10.10.0.53"]), "its owner may run one");
}

/// A tap that no process has open keeps no Network from going, once its Port is no more.
#[tokio::test]
async fn a_tap_goes_with_the_last_that_could_use_it() {
    let sim = host().await;
    let idle = TapSeen { held: false, ..on_bridge() };
    let taps = |sim: &SimNetworks| sim.world().namespaces.get(&blue()).map(|inside| inside.taps.len());
    let put = |sim: &SimNetworks, seen: TapSeen| {
        sim.world().namespaces.get_mut(&blue()).unwrap().taps.insert(tap(1), seen);
    };
    pass(&PLAIN.desired(), &sim).await;
    put(&sim, idle.clone());
    pass(&PLAIN.desired(), &sim).await;
    assert_eq!(taps(&sim), Some(1), "its Port is here: its Server may be about to start");
    put(&sim, on_bridge());
    let nobody = Small { guests: 0, ..PLAIN };
    pass(&nobody.desired(), &sim).await;
    assert_eq!((taps(&sim), sim.world().namespaces[&blue()].guests.len()), (Some(1), 1), "its guest runs");
    let gone = Small { present: false, ..nobody }.desired();
    let report = pass(&gone, &sim).await;
    assert_eq!(report.entry.unwrap().reason.as_deref(), Some("InUse"));
    put(&sim, idle.clone());
    pass(&nobody.desired(), &sim).await;
    assert_eq!((taps(&sim), sim.world().namespaces[&blue()].guests.len()), (Some(0), 0), "and has ended");
    put(&sim, idle);
    assert_eq!(pass(&gone, &sim).await.entry.unwrap().released, Some(true));
    assert_eq!(taps(&sim), None);
}

#[tokio::test]
async fn a_server_may_use_all_its_addresses_by_each_of_its_nics() {
    let mut ports = Small { guests: 3, ..PLAIN }.ports();
    ports[1].status.as_mut().unwrap().server = Some("web-1".into());
    let want = desired(&PLAIN.network(), &ports, true);
    let of = |n: u8| &want.guests[&tap(n)];
    assert_eq!(of(1).guest, of(2).guest);
    assert_eq!((of(1).guest.macs.len(), of(1).guest.addresses.len()), (2, 2));
    assert_eq!((of(1).addresses.len(), of(2).mac), (1, "52:54:00:00:00:02".parse().unwrap()));
    assert_eq!((of(3).guest.macs.len(), of(3).guest.addresses.len()), (1, 1), "another Server's are its own");
    let sim = host().await;
    assert_eq!(pass(&want, &sim).await.entry.unwrap().ready, Some(true));
    let has = |n: u8| ([10, 10, 0, 10 + n].into(), of(n).mac);
    assert_eq!(sim.world().namespaces[&blue()].neighbours, BTreeMap::from([has(1), has(2), has(3)]));
    // Without their Ports, two guests that run keep what they had.
    for n in [1, 2, 3] {
        sim.world().namespaces.get_mut(&blue()).unwrap().taps.insert(tap(n), on_bridge());
    }
    let before = sim.world().namespaces[&blue()].clone();
    pass(&Small { guests: 0, ..PLAIN }.desired(), &sim).await;
    let after = sim.world().namespaces[&blue()].clone();
    assert_eq!((after.guests, after.neighbours), (before.guests, before.neighbours));
}

#[tokio::test]
async fn only_what_was_whole_is_said_to_be_mended() {
    let sim = host().await;
    let first = pass(&PLAIN.desired(), &sim).await;
    assert!(!first.done.is_empty() && first.mended.is_empty(), "making is not mending: {:?}", first.mended);
    let more = pass(&Small { guests: 2, ..PLAIN }.desired(), &sim).await;
    assert!(!more.done.is_empty() && more.mended.is_empty(), "nor is a changed input: {:?}", more.mended);
    let newer = pass(&Small { generation: 3, guests: 2, egress: false, ..PLAIN }.desired(), &sim).await;
    assert!(!newer.done.is_empty() && newer.mended.is_empty(), "{:?}", newer.mended);
    sim.world().namespaces.get_mut(&blue()).unwrap().rules = None;
    sim.world().netd_runs = false;
    let mended = pass(&Small { generation: 3, guests: 2, egress: false, ..PLAIN }.desired(), &sim).await.mended;
    assert!(mended.iter().any(|m| m.contains("firewall rules of nubium.shop.blue were missing")), "{mended:?}");
    assert!(mended.iter().any(|m| m.contains("netd")), "{mended:?}");
}

#[tokio::test]
async fn an_edited_spec_is_not_said_to_be_mended_in_however_many_passes_it_is_made() {
    let key = Key::new("shop", "blue");
    let uplinks = [(true, true), (true, false), (false, true), (false, false)];
    for (from, to) in uplinks.iter().flat_map(|from| uplinks.iter().map(move |to| (*from, *to))) {
        for fails in 0..8 {
            let sim = host().await;
            let unfinished = Unfinished::default();
            let input =
                |generation, (egress, host_access)| Small { generation, egress, host_access, ..PLAIN }.desired();
            unfinished.news(&key, &pass(&input(2, from), &sim).await);
            sim.fail_after(fails);
            for _ in 0..3 {
                let news = unfinished.news(&key, &pass(&input(3, to), &sim).await);
                assert!(news.is_empty(), "{from:?} {to:?} {fails}: {news:?}");
            }
            // What is broken later is news, also when it could not be mended at once.
            sim.world().namespaces.get_mut(&blue()).unwrap().rules = None;
            let mut news = Vec::new();
            for _ in 0..2 {
                news.extend(unfinished.news(&key, &pass(&input(3, to), &sim).await));
            }
            assert_eq!(news, ["the firewall rules of nubium.shop.blue were missing"]);
        }
    }
}

#[tokio::test]
async fn a_range_that_is_given_up_by_another_is_not_said_to_be_mended() {
    let (sim, unfinished) = (host().await, Unfinished::default());
    pass(&PLAIN.desired(), &sim).await;
    let mut twin = PLAIN.network();
    (twin.metadata.name, twin.metadata.uid) = (Some("green".into()), Some(uid(3)));
    let twin = desired(&twin, &PLAIN.ports(), true);
    let key = Key::new("shop", "green");
    let report = pass(&twin, &sim).await;
    assert_eq!((unfinished.news(&key, &report), report.left.unwrap().refusals.len()), (Vec::new(), 1));
    pass(&Small { generation: 3, host_access: false, ..PLAIN }.desired(), &sim).await;
    let report = pass(&twin, &sim).await;
    assert!(report.done.iter().any(|step| matches!(step, Step::AddHostRoute { .. })), "{:?}", report.done);
    assert_eq!(unfinished.news(&key, &report), Vec::<String>::new());
}

#[test]
fn a_spec_is_checked_and_filled_in() {
    let want = PLAIN.desired();
    assert_eq!((want.gateway.to_string(), want.mtu), ("10.10.0.1".into(), 1430));
    assert_eq!(want.dns, DnsServers::OfHost);
    assert_eq!(want.guests[&tap(1)].hostname.as_deref(), Some("web-1"));
    let refused = |change: fn(&mut Network)| {
        let mut network = PLAIN.network();
        change(&mut network);
        assert!(try_desired(&network, &[], false).is_ok(), "what cannot be made can still be deleted");
        try_desired(&network, &[], true).unwrap_err().to_string()
    };
    assert!(refused(|n| n.spec.subnets.clear()).contains("no range was taken"));
    assert!(refused(|n| n.spec.subnets[0].cidr = Some("10.0.0.0/33".into())).contains("10.0.0.0/33"));
    assert!(refused(|n| n.spec.subnets[0].cidr = Some("198.19.7.0/24".into())).contains("198.19.0.0/16"));
    assert!(refused(|n| n.spec.subnets[0].gateway = Some("10.11.0.1".into())).contains("10.11.0.1"));
    assert!(refused(|n| n.spec.subnets[0].gateway = Some("10.10.0.255".into())).contains("10.10.0.255"));
    assert!(refused(|n| n.spec.subnets[0].dns_servers = Some(vec!["dns".into()])).contains("dns"));

    // A Port without what it needs waits; it is never let speak as somebody else.
    let mut ports = Small { guests: 2, ..PLAIN }.ports();
    ports[0].status = None;
    ports[1].status.as_mut().unwrap().addresses[0].address = "10.10.0.1".into();
    let want = desired(&PLAIN.network(), &ports, true);
    assert!(want.guests.is_empty() && want.waiting.len() == 2, "{:?}", want.waiting);
}

#[test]
fn steps_and_refusals_read_well() {
    let netns = blue();
    let rules = host_firewall_rules(transit::DEFAULT_CIDR, &BTreeSet::new());
    let step = Step::ReplaceRules { netns, rules, found: Found::Damaged };
    assert_eq!(step.to_string(), "put in the rules of nubium.shop.blue, which were changed by somebody");
    let blocked = Refusal::Blocked { by: vec!["inet firewalld filter_FORWARD".into()] };
    assert!(blocked.to_string().contains("firewall-cmd"), "{blocked}");
}

#[tokio::test]
async fn a_firewall_that_blocks_is_told_by_the_host_and_by_each_network_in_the_same_words() {
    let sim = host().await;
    let want = desired(&PLAIN.network(), &PLAIN.ports(), true);
    let of_host = async || egress(&sim.look_host().await.unwrap().host_firewall);
    let of_network = async || pass(&want, &sim).await.entry.unwrap();
    assert_eq!(of_network().await.ready, Some(true));
    assert!(of_host().await.ready, "Docker's rules are no hindrance: they are told");

    sim.world().host.host_firewall.firewall.blocked_by = vec!["inet mine host_firewall".into()];
    let (host, network) = (of_host().await, of_network().await);
    assert_eq!((host.ready, network.ready), (false, Some(false)));
    assert_eq!(network.reason.as_deref(), Some(host.reason));
    assert_eq!(network.message.as_ref(), Some(&host.message));
    assert!(host.message.contains("nft insert rule inet mine host_firewall"), "{}", host.message);
    assert_eq!(of_host().await, host, "nothing new is said while nothing changes");

    sim.world().host.host_firewall.firewall.blocked_by.clear();
    assert!(of_host().await.ready && of_network().await.ready == Some(true));
}
