//! Port: a NIC's identity on a Network.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    Condition, Kind, MadeFor,
    contract::{SUMMARY, Writer},
    whole,
};

/// A NIC's identity: its MAC and addresses. It keeps them over restarts of the Server and moves between hosts.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "nubium.dev",
    version = "v1alpha1",
    kind = "Port",
    namespaced,
    status = "PortStatus",
    category = "nubium",
    derive = "PartialEq",
    selectable = ".status.host",
    selectable = ".spec.network",
    doc = "Port is a NIC's identity on a Network: its MAC and its addresses. One that you make outlives the Servers that use it.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Network", type_ = "string", json_path = ".spec.network"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.addresses[*].address"),
    printcolumn(name = "MAC", type_ = "string", json_path = ".status.macAddress"),
    printcolumn(name = "Server", type_ = "string", json_path = ".status.server"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    )
)]
#[x_kube(validation = Rule::new("self.network == oldSelf.network").message("a Port's network cannot change: make another Port"))]
#[x_kube(validation = Rule::new("has(self.macAddress) == has(oldSelf.macAddress) && (!has(self.macAddress) || self.macAddress == oldSelf.macAddress)").message("a Port's MAC address cannot change: make another Port"))]
#[x_kube(validation = Rule::new("(has(self.addresses) ? self.addresses : has(self.address) ? [self.address] : []) == (has(oldSelf.addresses) ? oldSelf.addresses : has(oldSelf.address) ? [oldSelf.address] : [])").message("a Port's addresses cannot change: make another Port"))]
#[x_kube(validation = Rule::new("!has(self.address) || !has(self.addresses)").message("address is the old form of addresses: give addresses only"))]
#[x_kube(validation = Rule::new("has(self.madeFor) == has(oldSelf.madeFor) && (!has(self.madeFor) || self.madeFor == oldSelf.madeFor)").message("madeFor is set by Nubium and cannot change"))]
#[serde(rename_all = "camelCase")]
pub struct PortSpec {
    /// The Network, by name in this namespace.
    #[schemars(length(min = 1, max = 63))]
    pub network: String,
    /// The addresses it shall have, one for each subnet. Default: one from each subnet's allocationPools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1), inner(length(max = 15), regex(pattern = r"^[0-9.]+$")))]
    #[x_kube(merge_strategy = ListMerge::Atomic, validation = Rule::new("self.all(address, isIP(address) && ip(address).family() == 4)").message("addresses must be IPv4 addresses such as 10.10.0.5"))]
    pub addresses: Option<Vec<String>>,
    /// Deprecated: use addresses, a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 15), regex(pattern = r"^[0-9.]+$"))]
    #[x_kube(validation = Rule::new("isIP(self) && ip(self).family() == 4").message("address must be an IPv4 address such as 10.10.0.5"))]
    pub address: Option<String>,
    /// The MAC address it shall have. Default: made from this Port's UID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f][26ae](:[0-9a-f]{2}){5}$"))]
    pub mac_address: Option<String>,
    /// The Server whose NIC this is; set by Nubium on the Ports it makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_for: Option<MadeFor>,
}

impl PortSpec {
    /// The addresses that are asked for, in whichever of the two forms.
    #[must_use]
    pub fn requested_addresses(&self) -> &[String] {
        self.addresses.as_deref().or(self.address.as_ref().map(std::slice::from_ref)).unwrap_or_default()
    }
}

/// What was seen of a Port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortStatus {
    /// The metadata.generation this status speaks of; -1 until somebody looked.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub observed_generation: Option<i64>,
    /// Facts about this Port: Ready, and Reconciling or Stalled while true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Its MAC address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    /// Its addresses, one per subnet; each is held by an IPAddress object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub addresses: Vec<PortAddress>,
    /// The Server that uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The Host that its Server is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// One address of a Port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortAddress {
    /// The subnet's name.
    pub name: String,
    /// The address.
    pub address: String,
}

impl Port {
    /// Held on a Port while its Server exists and is not released.
    pub const FINALIZER: &str = "nubium.dev/port";
}

impl Kind for Port {
    const RESOURCE: &'static str = "ports";
    const CONTROLLER: Writer = Writer::controller(
        "nubium-port",
        &["observedGeneration", "macAddress", "addresses", "server", "host"],
        SUMMARY,
    );

    #[cfg(test)]
    fn examples() -> Vec<serde_json::Value> {
        let made_for = serde_json::json!({"server": "web", "uid": "u"});
        vec![
            serde_json::json!({"network": "n", "addresses": ["10.0.0.5"], "macAddress": "02:00:00:00:00:01", "madeFor": made_for}),
            serde_json::json!({"network": "n", "address": "10.0.0.5"}),
        ]
    }
}
