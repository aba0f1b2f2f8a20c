//! Flavor: a named size for Servers.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    Condition, CpuCount, Kind, Quantity,
    contract::{SUMMARY, Writer},
    whole,
};

/// A size that Servers choose by name. What a name means never changes, so its spec is immutable: make another Flavor for another size.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "nubium.dev",
    version = "v1alpha1",
    kind = "Flavor",
    status = "FlavorStatus",
    category = "nubium",
    derive = "PartialEq",
    doc = "Flavor is a named size for Servers. Its spec never changes: make another Flavor for another size.",
    printcolumn(name = "CPU", type_ = "string", json_path = ".spec.cpu"),
    printcolumn(name = "Memory", type_ = "string", json_path = ".spec.memory"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("self == oldSelf").message("a Flavor's size never changes: make a Flavor with another name and use that"))]
#[x_kube(validation = Rule::new("!isQuantity(string(self.memory)) || quantity(string(self.memory)).compareTo(quantity('16Mi')) >= 0").message("memory must be at least 16Mi; without a unit it is in bytes: write 512Mi or 2Gi"))]
#[x_kube(validation = Rule::new("!isQuantity(string(self.cpu)) || quantity(string(self.cpu)).isInteger()").message("cpu must be a whole number"))]
#[serde(rename_all = "camelCase")]
pub struct FlavorSpec {
    /// Number of virtual CPUs, a whole number.
    pub cpu: CpuCount,
    /// Memory, such as 512Mi or 2Gi.
    pub memory: Quantity,
}

/// What was seen of a Flavor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlavorStatus {
    /// The metadata.generation this status speaks of; -1 until somebody looked.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub observed_generation: Option<i64>,
    /// Facts about this Flavor: Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl Kind for Flavor {
    const RESOURCE: &'static str = "flavors";
    const CONTROLLER: Writer = Writer::controller("nubium-flavor", &["observedGeneration"], SUMMARY);

    #[cfg(test)]
    fn examples() -> Vec<serde_json::Value> {
        vec![serde_json::json!({"cpu": 1, "memory": "1Gi"})]
    }
}
