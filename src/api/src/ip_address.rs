//! IPAddress: the claim of one address of one Network.

use std::net::IpAddr;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    Condition, Kind,
    contract::{SUMMARY, Writer},
    whole,
};

/// The claim of one address. Its name is a function of Network and address, so that creating it is what takes the address.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "nubium.dev",
    version = "v1alpha1",
    kind = "IPAddress",
    plural = "ipaddresses",
    namespaced,
    status = "IPAddressStatus",
    category = "nubium",
    derive = "PartialEq",
    selectable = ".spec.network",
    doc = "IPAddress is the claim of one address of one Network, made by Nubium for a Port. Its name, such as 10-10-0-5.blue, says both.",
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.address"),
    printcolumn(name = "Network", type_ = "string", json_path = ".spec.network"),
    printcolumn(name = "Port", type_ = "string", json_path = ".spec.port"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("self == oldSelf").message("an IPAddress never changes: it is made and deleted with its Port"))]
#[serde(rename_all = "camelCase")]
pub struct IPAddressSpec {
    /// The Network, by name in this namespace.
    pub network: String,
    /// The address.
    pub address: String,
    /// The Port that has it, by name in this namespace.
    pub port: String,
    /// That Port's UID.
    pub port_uid: String,
}

/// What was seen of an IPAddress.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IPAddressStatus {
    /// The metadata.generation this status speaks of; -1 until somebody looked.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub observed_generation: Option<i64>,
    /// Facts about this address: Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// The name under which an address of a Network is claimed: `10-10-0-5.blue`.
pub fn ip_address_name(address: IpAddr, network: &str) -> String {
    format!("{}.{network}", address.to_string().replace(['.', ':'], "-"))
}

impl IPAddress {
    /// Held on an IPAddress until its Port, looked for by UID, is no more.
    pub const FINALIZER: &str = "nubium.dev/ip-address";
}

impl Kind for IPAddress {
    const RESOURCE: &'static str = "ipaddresses";
    const CONTROLLER: Writer = Writer::controller("nubium-ip-address", &["observedGeneration"], SUMMARY);

    #[cfg(test)]
    fn examples() -> Vec<serde_json::Value> {
        vec![serde_json::json!({"network": "n", "address": "10.0.0.5", "port": "p", "portUid": "u"})]
    }
}
