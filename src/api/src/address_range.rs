//! AddressRange: the claim of one address range of the whole cloud.

use ipnet::Ipv4Net;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    Condition, Kind,
    contract::{SUMMARY, Writer},
    whole,
};

/// The claim of one range. Its name is a function of the range, so that creating it is what takes the range.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "nubium.dev",
    version = "v1alpha1",
    kind = "AddressRange",
    plural = "addressranges",
    status = "AddressRangeStatus",
    category = "nubium",
    derive = "PartialEq",
    doc = "AddressRange is the claim of one address range of the whole cloud, made by Nubium for a Network that gives no cidr. Its name, such as 10-77-3-0-24, says the range.",
    printcolumn(name = "CIDR", type_ = "string", json_path = ".spec.cidr"),
    printcolumn(name = "Namespace", type_ = "string", json_path = ".spec.namespace"),
    printcolumn(name = "Network", type_ = "string", json_path = ".spec.network"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("self == oldSelf").message("an AddressRange never changes: it is made and deleted with its Network"))]
#[serde(rename_all = "camelCase")]
pub struct AddressRangeSpec {
    /// The range, such as 10.77.3.0/24.
    #[schemars(length(max = 18))]
    pub cidr: String,
    /// The namespace of the Network that has it.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// The Network that has it.
    #[schemars(length(max = 63))]
    pub network: String,
    /// That Network's UID.
    pub network_uid: String,
}

/// What was seen of an AddressRange.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressRangeStatus {
    /// The metadata.generation this status speaks of; -1 until somebody looked.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub observed_generation: Option<i64>,
    /// Facts about this range: Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// The name under which a range is claimed: `10-77-3-0-24`.
pub fn address_range_name(range: Ipv4Net) -> String {
    range.trunc().to_string().replace(['.', '/'], "-")
}

impl AddressRange {
    /// Held on an AddressRange until its Network, looked for by UID, is no more.
    pub const FINALIZER: &str = "nubium.dev/address-range";
}

impl Kind for AddressRange {
    const RESOURCE: &'static str = "addressranges";
    const CONTROLLER: Writer = Writer::controller("nubium-address-range", &["observedGeneration"], SUMMARY);

    #[cfg(test)]
    fn examples() -> Vec<serde_json::Value> {
        vec![serde_json::json!({"cidr": "10.77.3.0/24", "namespace": "shop", "network": "n", "networkUid": "u"})]
    }
}
