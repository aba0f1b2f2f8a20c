//! StoragePool: where volumes and image copies live, and by which driver.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    Condition, Kind,
    contract::{SUMMARY, Writer},
    whole,
};

/// Where Volumes and Images live. Exactly one driver is named.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "nubium.dev",
    version = "v1alpha1",
    kind = "StoragePool",
    status = "StoragePoolStatus",
    category = "nubium",
    shortname = "pool",
    derive = "PartialEq",
    doc = "StoragePool says where Volumes and Images live. The pool named default is used by whoever names none.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct StoragePoolSpec {
    /// Files in a folder of each host: each host has its own volumes.
    pub directory: DirectoryPool,
}

/// A folder of each host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.path) == has(oldSelf.path) && (!has(self.path) || self.path == oldSelf.path)").message("a pool does not move: make another StoragePool with the other path"))]
#[serde(rename_all = "camelCase")]
pub struct DirectoryPool {
    /// Absolute path of the folder, the same on every host: below a folder that the host's admin allowed with --pool-dir, and
    /// empty or new at first. Links are not followed. Default: a folder of the pool's name in the agent's state folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 512), regex(pattern = "^/[^/].*[^/]$"))]
    pub path: Option<String>,
}

/// What was seen of a StoragePool. How much room it has on a host stands in that Host's status.pools.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoragePoolStatus {
    /// The metadata.generation this status speaks of; -1 until somebody looked.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub observed_generation: Option<i64>,
    /// Facts about this pool: Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl StoragePool {
    /// Held on a StoragePool while Volumes live in it.
    pub const FINALIZER: &str = "nubium.dev/storage-pool";
}

impl Kind for StoragePool {
    const RESOURCE: &'static str = "storagepools";
    const CONTROLLER: Writer = Writer::controller("nubium-storage-pool", &["observedGeneration"], SUMMARY);

    #[cfg(test)]
    fn examples() -> Vec<serde_json::Value> {
        vec![serde_json::json!({"directory": {"path": "/srv/pool"}})]
    }
}
