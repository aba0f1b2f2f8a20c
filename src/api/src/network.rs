//! Network: an isolated layer 2 and layer 3 network.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    Condition, Kind,
    contract::{By, SUMMARY_AND_USE, Writer},
    whole,
};

/// The MTU of a Network: fits VXLAN over either IP version on an ordinary 1500-byte link.
pub const DEFAULT_MTU: i32 = 1430;

/// An isolated network. Two Networks never meet, even with the same range.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "nubium.dev",
    version = "v1alpha1",
    kind = "Network",
    namespaced,
    status = "NetworkStatus",
    category = "nubium",
    shortname = "net",
    derive = "PartialEq",
    validation = Rule::new("size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')").message("a Network's name is a DNS label: at most 63 letters, digits and dashes, and no dot"),
    doc = "Network is an isolated network of Servers, with its own addresses, gateway and DHCP.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "CIDR", type_ = "string", json_path = ".status.subnets[*].cidr"),
    printcolumn(name = "Egress", type_ = "string", json_path = ".spec.egress.type"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "VNI", type_ = "integer", json_path = ".status.vni", priority = "1"),
    printcolumn(name = "MTU", type_ = "integer", json_path = ".status.mtu", priority = "1"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = "1")
)]
#[x_kube(validation = Rule::new("!has(oldSelf.subnets) || oldSelf.subnets.all(old, has(self.subnets) && self.subnets.exists(new, new.name == old.name))").message("a subnet cannot be renamed or taken away while addresses are given out from it: make another Network"))]
#[x_kube(validation = Rule::new("(has(oldSelf.subnets) && size(oldSelf.subnets) > 0) || !has(self.subnets) || self.subnets.all(subnet, subnet.name == 'v4' && !has(subnet.cidr))").message("the Network has taken a range already: a subnet that is added to it is named v4 and gives no cidr"))]
#[serde(rename_all = "camelCase")]
pub struct NetworkSpec {
    /// The address ranges. At most one IPv4 subnet for now. Default: one named v4.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub subnets: Vec<Subnet>,
    /// How Servers reach what is outside the Network.
    #[serde(default)]
    pub egress: Egress,
    /// Whether every host that carries the Network can itself reach its Servers there. Possible only for a range inside spec.networks.hostAccessRanges of CloudSettings default, such as 10.77.1.0/24, that the host uses for nothing else; two Networks whose ranges overlap cannot both have it on one host.
    #[serde(default)]
    pub host_access: bool,
}

/// One address range of a Network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("!has(self.cidr) || !isCIDR(self.cidr) || !has(self.gateway) || (isIP(self.gateway) && cidr(self.cidr).containsIP(self.gateway))").message("gateway must be an address of cidr"))]
#[x_kube(validation = Rule::new("!has(self.cidr) || !isCIDR(self.cidr) || !has(self.pool) || (isIP(self.pool.start) && isIP(self.pool.end) && cidr(self.cidr).containsIP(self.pool.start) && cidr(self.cidr).containsIP(self.pool.end))").message("pool.start and pool.end must be addresses of cidr"))]
#[x_kube(validation = Rule::new("!has(self.pool) || !has(self.allocationPools)").message("pool is the old form of allocationPools: give allocationPools only"))]
#[x_kube(validation = Rule::new("!has(self.cidr) || !isCIDR(self.cidr) || !has(self.allocationPools) || self.allocationPools.all(pool, isIP(pool.start) && isIP(pool.end) && cidr(self.cidr).containsIP(pool.start) && cidr(self.cidr).containsIP(pool.end))").message("the start and end of each of allocationPools must be addresses of cidr"))]
#[x_kube(validation = Rule::new("has(self.cidr) == has(oldSelf.cidr) && (!has(self.cidr) || self.cidr == oldSelf.cidr)").message("a subnet's cidr cannot change while addresses are given out from it: make another Network"))]
#[x_kube(validation = Rule::new("has(self.gateway) == has(oldSelf.gateway) && (!has(self.gateway) || self.gateway == oldSelf.gateway)").message("a subnet's gateway cannot change: make another Network"))]
#[x_kube(validation = Rule::new("has(self.cidr) || !(has(self.gateway) || has(self.pool) || has(self.allocationPools))").message("gateway and allocationPools are addresses of cidr: give cidr with them"))]
#[serde(rename_all = "camelCase")]
pub struct Subnet {
    /// A name of your choice, such as v4.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The range, such as 10.10.0.0/24. Default: a /24 of spec.networks.allocateFrom of CloudSettings default that no other Network has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 18), regex(pattern = r"^[0-9.]+/[0-9]+$"))]
    #[x_kube(validation = Rule::new("isCIDR(self) && cidr(self).ip().family() == 4").message("cidr must be an IPv4 range such as 10.10.0.0/24"))]
    #[x_kube(validation = Rule::new("!isCIDR(self) || cidr(self) == cidr(self).masked()").message("cidr must be the first address of its range: 10.10.0.0/24, not 10.10.0.7/24"))]
    #[x_kube(validation = Rule::new("!isCIDR(self) || (cidr(self).prefixLength() >= 8 && cidr(self).prefixLength() <= 29)").message("cidr must be between /8 and /29"))]
    #[x_kube(validation = Rule::new("!isCIDR(self) || cidr(self).ip().family() != 4 || !['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3'].exists(range, cidr(range).containsCIDR(self))").message("cidr must be a range that machines can have addresses of, such as 10.10.0.0/24: not 0.x, loopback, link-local, multicast or above"))]
    pub cidr: Option<String>,
    /// The Network's own address, which Servers use as router. Default: the first of the range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 15), regex(pattern = r"^[0-9.]+$"))]
    pub gateway: Option<String>,
    /// From where to where addresses are given out to Servers that ask for none, in this order. Default: all but the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["start".into()]))]
    pub allocation_pools: Option<Vec<AddressPool>>,
    /// Deprecated: use allocationPools, a list of such runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<AddressPool>,
    /// DNS servers told by DHCP. Default: the ones that the host itself uses, as far as Servers can reach them; none without egress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4), inner(length(max = 15), regex(pattern = r"^[0-9.]+$")))]
    #[x_kube(merge_strategy = ListMerge::Atomic, validation = Rule::new("self.all(server, isIP(server) && ip(server).family() == 4)").message("dnsServers must be IPv4 addresses such as 192.0.2.53"))]
    pub dns_servers: Option<Vec<String>>,
    /// Whether DHCP answers the Network's Servers. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcp: Option<bool>,
}

/// A run of addresses, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("!(isIP(self.start) && ip(self.start).family() == 4 && isIP(self.end) && ip(self.end).family() == 4) || int(self.start.split('.')[0]) * 16777216 + int(self.start.split('.')[1]) * 65536 + int(self.start.split('.')[2]) * 256 + int(self.start.split('.')[3]) <= int(self.end.split('.')[0]) * 16777216 + int(self.end.split('.')[1]) * 65536 + int(self.end.split('.')[2]) * 256 + int(self.end.split('.')[3])").message("a pool's start must not come after its end"))]
#[serde(rename_all = "camelCase")]
pub struct AddressPool {
    /// First address.
    #[schemars(length(max = 15), regex(pattern = r"^[0-9.]+$"))]
    pub start: String,
    /// Last address.
    #[schemars(length(max = 15), regex(pattern = r"^[0-9.]+$"))]
    pub end: String,
}

/// How Servers reach what is outside their Network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// NAT: through the host's address. None: not at all.
    #[serde(rename = "type", default)]
    pub type_: EgressType,
}

/// NAT or None.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum EgressType {
    #[default]
    NAT,
    None,
}

/// What was seen of a Network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatus {
    /// The metadata.generation this status speaks of; -1 until somebody looked.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub observed_generation: Option<i64>,
    /// Facts about this Network: Ready, and Reconciling or Stalled while true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The number that keeps this Network apart from others between hosts; chosen once.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub vni: Option<i32>,
    /// The range of each subnet: the one of the spec, or the one that was taken for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub subnets: Vec<NetworkSubnet>,
    /// Largest packet, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub mtu: Option<i32>,
    /// What each host has of it; every host writes its own entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5000))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub hosts: Vec<NetworkHost>,
}

/// The range of a subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkSubnet {
    /// The subnet's name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// The range.
    #[schemars(length(max = 18))]
    pub cidr: String,
}

impl Network {
    /// Its subnet with the range that it has: the one of the spec, or the one that was taken for it. Without any while none
    /// was taken yet.
    #[must_use]
    pub fn subnet(&self) -> Subnet {
        let subnet = self.spec.subnets.first().cloned();
        let mut subnet = subnet.unwrap_or_else(|| Subnet { name: "v4".to_owned(), ..Subnet::default() });
        let taken = self.status.iter().flat_map(|status| &status.subnets).find(|taken| taken.name == subnet.name);
        subnet.cidr = subnet.cidr.or_else(|| taken.map(|taken| taken.cidr.clone()));
        subnet
    }
}

/// What one host has of a Network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkHost {
    /// The Host's name.
    pub name: String,
    /// The generation of the Network that the host looked at.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub observed_generation: Option<i64>,
    /// Whether all of it was seen there: namespace, bridge, rules, DHCP, the way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// One word on why it is or is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// One sentence on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
    /// True once the host, asked to delete it, saw nothing of it left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<bool>,
}

impl Network {
    /// Held on a Network while Ports use it and until every host has released it.
    pub const FINALIZER: &str = "nubium.dev/network";
    /// What a host has of a Network.
    pub const AGENT: Writer = Writer::agent("nubium-agent", By::EveryHost, &[], &[]);
}

impl Kind for Network {
    const RESOURCE: &'static str = "networks";
    const CONTROLLER: Writer =
        Writer::controller("nubium-network", &["observedGeneration", "vni", "mtu", "subnets"], SUMMARY_AND_USE);
    const OTHER_WRITERS: &'static [Writer] = &[Self::AGENT];

    #[cfg(test)]
    fn examples() -> Vec<serde_json::Value> {
        let pool = serde_json::json!({"start": "10.0.0.2", "end": "10.0.0.9"});
        vec![
            serde_json::json!({"egress": {"type": "NAT"}, "hostAccess": true, "subnets": [{
                "name": "v4", "cidr": "10.0.0.0/24", "gateway": "10.0.0.1", "dnsServers": ["9.9.9.9"], "dhcp": true,
                "allocationPools": [pool]}]}),
            serde_json::json!({}),
            serde_json::json!({"subnets": [{"name": "v4", "dhcp": false}]}),
            serde_json::json!({"subnets": [{"name": "v4", "cidr": "10.0.0.0/24", "pool": pool}]}),
        ]
    }
}
