//! Volume: a block device.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    Condition, Kind, MadeFor, Quantity,
    contract::{By, PROVISIONED, RELEASED, SUMMARY_AND_USE, Writer},
    whole,
};

/// A block device for a Server: cloned from an Image, or blank.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "nubium.dev",
    version = "v1alpha1",
    kind = "Volume",
    namespaced,
    status = "VolumeStatus",
    category = "nubium",
    shortname = "vol",
    derive = "PartialEq",
    selectable = ".status.host",
    doc = "Volume is a block device that Servers attach as a disk. One that you make outlives the Servers that use it.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Size", type_ = "string", json_path = ".status.capacity"),
    printcolumn(name = "Server", type_ = "string", json_path = ".status.attachedTo.server"),
    printcolumn(name = "Host", type_ = "string", json_path = ".status.host"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    )
)]
#[x_kube(validation = Rule::new("has(self.size) || has(self.image)").message("a blank Volume needs a size, such as 10Gi; only a Volume from an image can leave it out"))]
#[x_kube(validation = Rule::new("has(self.image) == has(oldSelf.image) && (!has(self.image) || self.image == oldSelf.image)").message("a Volume's image cannot change: make another Volume"))]
#[x_kube(validation = Rule::new("has(self.pool) == has(oldSelf.pool) && (!has(self.pool) || self.pool == oldSelf.pool)").message("a Volume does not move between pools: make another Volume"))]
#[x_kube(validation = Rule::new("has(self.madeFor) == has(oldSelf.madeFor) && (!has(self.madeFor) || self.madeFor == oldSelf.madeFor)").message("madeFor is set by Nubium and cannot change"))]
#[x_kube(validation = Rule::new("!has(oldSelf.size) || (has(self.size) && self.size == oldSelf.size)").message("a Volume's size cannot change yet: make another Volume of the size you want"))]
#[x_kube(validation = Rule::new("!has(self.size) || !isQuantity(string(self.size)) || quantity(string(self.size)).compareTo(quantity('1Mi')) >= 0").message("size must be at least 1Mi; without a unit it is in bytes: write 512Mi or 10Gi"))]
#[serde(rename_all = "camelCase")]
pub struct VolumeSpec {
    /// Size, such as 10Gi. Default: the image's size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
    /// The Image to clone, by name in this namespace. Without it the Volume is blank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub image: Option<String>,
    /// The StoragePool it lives in. Default: default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub pool: Option<String>,
    /// Whether the data goes when this object is deleted: Delete (default) or Retain, which leaves the file in the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// The Server whose disk this is; set by Nubium on the Volumes it makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_for: Option<MadeFor>,
}

/// Delete the data, or keep it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum DeletionPolicy {
    #[default]
    Delete,
    Retain,
}

/// What was seen of a Volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStatus {
    /// The metadata.generation this status speaks of; -1 until somebody looked.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub observed_generation: Option<i64>,
    /// Facts about this Volume: Ready, and Reconciling or Stalled while true; Provisioned and Released from its host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The Host that holds it: chosen with its first Server, and kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its size as seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Quantity>,
    /// The format it was made in, recorded then and never guessed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// UID of the Image it was cloned from, while it depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_uid: Option<String>,
    /// The Server whose guest was seen to have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached_to: Option<AttachedTo>,
}

/// The Server that has a Volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttachedTo {
    /// The Server's name, in this namespace.
    pub server: String,
    /// The Server's UID.
    pub uid: String,
}

impl Volume {
    /// Held on a Volume while a Server uses it and until its host has released it.
    pub const FINALIZER: &str = "nubium.dev/volume";
    /// Which Server has a Volume.
    pub const ATTACHMENT: Writer = Writer::agent("nubium-agent-server", By::BoundHost, &["attachedTo"], &[]);
    /// What a host sees of a Volume.
    pub const AGENT: Writer =
        Writer::agent("nubium-agent", By::BoundHost, &["capacity", "format", "imageUid"], &[PROVISIONED, RELEASED]);
}

impl Kind for Volume {
    const RESOURCE: &'static str = "volumes";
    const CONTROLLER: Writer = Writer::controller("nubium-volume", &["observedGeneration", "host"], SUMMARY_AND_USE);
    const OTHER_WRITERS: &'static [Writer] = &[Self::ATTACHMENT, Self::AGENT];

    #[cfg(test)]
    fn examples() -> Vec<serde_json::Value> {
        let made_for = serde_json::json!({"server": "web", "uid": "u"});
        vec![
            serde_json::json!({"size": "1Gi", "image": "i", "pool": "p", "deletionPolicy": "Delete", "madeFor": made_for}),
        ]
    }
}
