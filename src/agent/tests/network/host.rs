//! The host of a story: its uplink, its firewall, its guests, and the agent's passes on it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use nubium_agent::network::{Input, Netd, Report, Settings, converge};
use nubium_api::{HostAccessRanges, Network, Port};
use nubium_host::network::{LinuxNetworks, Netns, Networks, names, transit};
use serde_json::json;

pub const NETD_CONFIG: &str = "/run/nubium/netd.json";
pub const STATE: &str = "/run/nubium-state";
/// The address of the service outside, and the host's own beside it.
pub const SERVICE: &str = "192.0.2.2";
pub const HOST: &str = "192.0.2.1";

/// Runs a shell line; panics with its output when it fails.
pub fn sh(line: &str) -> String {
    let (ok, text) = try_sh(line);
    assert!(ok, "{line}\n{text}");
    text
}

pub fn try_sh(line: &str) -> (bool, String) {
    let output = Command::new("sh").args(["-c", line]).output().expect("a shell");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

/// Makes this process's namespaces a host as Docker leaves one.
pub fn prepare() {
    sh("mount -t tmpfs tmpfs /run && ip link set lo up");
    sh("echo nameserver 192.0.2.53 > /run/resolv.conf && mount --bind /run/resolv.conf /etc/resolv.conf");
    sh("echo 0 > /proc/sys/net/ipv4/ip_forward");
    sh("iptables-nft -P FORWARD DROP && iptables-nft -N DOCKER-USER && iptables-nft -A DOCKER-USER -j RETURN");
    sh("iptables-nft -A FORWARD -j DOCKER-USER");
    sh("ip netns add service && ip link add uplink type veth peer name eth0 netns service");
    sh(&format!("ip addr add {HOST}/24 dev uplink && ip link set uplink up && ip route add default via {SERVICE}"));
    sh(&format!(
        "ip -n service addr add {SERVICE}/24 dev eth0 && ip -n service link set eth0 up && ip -n service link set lo up"
    ));
    std::fs::create_dir_all("/run/www").expect("a folder");
    std::fs::write("/run/www/index.html", "hello from outside\n").expect("a page");
    sh("ip netns exec service busybox httpd -p 80 -h /run/www");
}

/// The agent of this host.
pub struct Agent {
    pub host: LinuxNetworks,
    pub netd: Netd,
    pub settings: Settings,
    /// Where hostAccess is allowed.
    pub allowed: HostAccessRanges,
    runtime: tokio::runtime::Runtime,
}

impl Agent {
    pub fn new() -> Self {
        Agent {
            host: LinuxNetworks::new(STATE, std::time::Duration::ZERO),
            netd: Netd::new(std::env::current_exe().expect("this program"), NETD_CONFIG),
            settings: Settings { host: "box".into(), transit: transit::DEFAULT_CIDR, api_server: Vec::new() },
            allowed: HostAccessRanges(vec!["0.0.0.0/0".parse().expect("a range")]),
            runtime: tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime"),
        }
    }

    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Where something is changed next, the host itself being none; none within a moment: nowhere.
    pub fn next_change(&self) -> Option<Option<Netns>> {
        let moment = std::time::Duration::from_secs(3);
        self.run(async { tokio::time::timeout(moment, self.host.changed()).await }).ok()
    }

    /// A pass that prints nothing.
    pub fn run_quietly(&self, network: &Network, ports: &[Port]) -> Report {
        let input = Input { network, ports, present: true, host_access: Some(&self.allowed) };
        self.run(converge(input, &self.settings, &self.host, &self.netd))
    }

    pub fn pass(&self, network: &Network, ports: &[Port], present: bool) -> Report {
        let input = Input { network, ports, present, host_access: Some(&self.allowed) };
        let report = self.run(converge(input, &self.settings, &self.host, &self.netd));
        let steps: Vec<String> = report.done.iter().map(ToString::to_string).collect();
        println!("pass: {:?}\n  did {steps:#?}\n  mended {:?}", report.entry, report.mended);
        report
    }

    /// A pass that must end with everything in place.
    pub fn ready(&self, network: &Network, ports: &[Port]) -> Report {
        let report = self.pass(network, ports, true);
        assert_eq!(report.entry.as_ref().and_then(|e| e.ready), Some(true), "{:?}", report.entry);
        assert!(!report.again && report.ports.values().all(|ready| *ready), "{:?}", report.ports);
        report
    }

    /// Ready, and the next pass finds nothing to do.
    pub fn settled(&self, network: &Network, ports: &[Port]) {
        self.ready(network, ports);
        let next = self.ready(network, ports);
        assert!(next.done.is_empty(), "a settled pass does nothing");
    }

    /// Plugs a guest into its Network, as a server's start does: its link moves in, onto the bridge.
    pub fn plug(&self, guest: &Guest) {
        self.plug_as(guest, "eth0");
    }

    /// Plugs a NIC of that name into a guest, which may be there already.
    pub fn plug_as(&self, guest: &Guest, link: &str) {
        let Guest { name, tap, mac, netns, .. } = guest;
        try_sh(&format!("ip netns add {name}"));
        sh(&format!("ip link add {tap} type veth peer name {link} netns {name}"));
        sh(&format!("ip -n {name} link set {link} address {mac} && ip -n {name} link set lo up"));
        sh(&format!("ip netns exec {name} sysctl -qw net.ipv4.conf.all.rp_filter=0"));
        self.run(self.host.move_tap(tap, netns, 1430)).expect("the tap moves");
        sh(&format!("ip -n {name} link set {link} up"));
    }
}

pub fn uid(n: u8) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}

pub fn network(name: &str, n: u8, spec: serde_json::Value) -> Network {
    serde_json::from_value(json!({
        "apiVersion": "nubium.dev/v1alpha1", "kind": "Network",
        "metadata": {"name": name, "namespace": "shop", "uid": uid(n), "generation": 1},
        "spec": spec,
    }))
    .expect("a Network")
}

/// A Network with everything on.
pub fn open(name: &str, n: u8, cidr: &str) -> Network {
    network(name, n, json!({"subnets": [{"name": "v4", "cidr": cidr}], "egress": {"type": "NAT"}, "hostAccess": true}))
}

/// A guest: a namespace with an `eth0` whose other end is its tap.
pub struct Guest {
    pub name: String,
    pub tap: String,
    pub mac: String,
    pub address: String,
    pub netns: Netns,
    pub port: Port,
}

pub fn guest(name: &str, n: u8, network: &str, address: &str) -> Guest {
    let mac = format!("52:54:00:00:00:{n:02x}");
    let port = serde_json::from_value(json!({
        "apiVersion": "nubium.dev/v1alpha1", "kind": "Port",
        "metadata": {"name": format!("{name}-eth0"), "namespace": "shop", "uid": uid(n), "generation": 1},
        "spec": {"network": network},
        "status": {"macAddress": mac, "addresses": [{"name": "v4", "address": address}], "server": name, "host": "box"},
    }))
    .expect("a Port");
    Guest {
        name: name.into(),
        tap: names::tap(&uid(n)),
        mac,
        address: address.into(),
        netns: Netns::new("shop", network),
        port,
    }
}

impl Guest {
    pub fn sh(&self, line: &str) -> String {
        sh(&format!("ip netns exec {} {line}", self.name))
    }

    pub fn try_sh(&self, line: &str) -> bool {
        try_sh(&format!("ip netns exec {} {line}", self.name)).0
    }

    pub fn pings(&self, address: &str) -> bool {
        self.try_sh(&format!("ping -q -c 1 -W 1 {address}"))
    }

    pub fn fetches(&self, address: &str) -> bool {
        let exe = std::env::current_exe().expect("this program");
        self.try_sh(&format!("{} fetch {address}", exe.display()))
    }

    /// Asks by DHCP and uses what it is told; the answer's variables, or `None` when nobody answered.
    pub fn dhcp(&self, options: &str) -> Option<String> {
        let answer = PathBuf::from(format!("/run/dhcp-{}", self.name));
        let _ = std::fs::remove_file(&answer);
        let script = Path::new("/run/udhcpc.sh");
        std::fs::write(
            script,
            "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\nip addr flush dev $interface\nip addr add $ip/$mask dev $interface\n\
             ip link set $interface mtu $mtu\n[ -z \"$router\" ] || ip route replace default via $router\nset > /run/dhcp-$GUEST\n",
        )
        .expect("a script");
        sh("chmod 755 /run/udhcpc.sh");
        let line = format!(
            "env GUEST={} busybox udhcpc -i eth0 -n -q -f -t 3 -T 1 -O mtu -s /run/udhcpc.sh {options}",
            self.name
        );
        let (ok, text) = try_sh(&format!("ip netns exec {} {line}", self.name));
        println!("{text}");
        ok.then(|| std::fs::read_to_string(answer).expect("the script ran"))
    }
}

pub fn host_pings(address: &str) -> bool {
    try_sh(&format!("ping -q -c 1 -W 1 {address}")).0
}
