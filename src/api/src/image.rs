//! Image: a verified, immutable disk template.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    Condition, Kind, Quantity,
    contract::{By, SUMMARY_AND_USE, Writer},
    whole,
};

/// A disk template: fetched once, checked against its checksum, inspected, and never changed afterwards.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "nubium.dev",
    version = "v1alpha1",
    kind = "Image",
    namespaced,
    status = "ImageStatus",
    category = "nubium",
    shortname = "img",
    derive = "PartialEq",
    doc = "Image is a verified, immutable disk template that Servers' disks are cloned from.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Size", type_ = "string", json_path = ".status.size"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "User", type_ = "string", json_path = ".spec.defaultUser", priority = "1"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    )
)]
#[x_kube(validation = Rule::new("!has(self.source.http) || has(self.checksum)").message("an image from http needs checksum.sha256 or checksum.sha512: the publisher of the image lists it beside the file"))]
#[x_kube(validation = Rule::new("has(self.checksum) == has(oldSelf.checksum) && (!has(self.checksum) || self.checksum == oldSelf.checksum)").message("an Image never changes: make an Image with another name for another checksum"))]
#[serde(rename_all = "camelCase")]
pub struct ImageSpec {
    /// Where the bytes come from: exactly one of http or file. Raw and qcow2 are recognised by their content.
    pub source: ImageSource,
    /// What the bytes must hash to. Required for http.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    /// The user that this image's cloud-init makes and that ssh keys are given to, such as debian. `nubium ssh` logs in as this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z_][a-z0-9_-]*$"))]
    pub default_user: Option<String>,
}

impl Image {
    /// Whether an object made then may still be made from it. An Image that is being deleted serves only who came before:
    /// later ones could hold it for ever.
    pub fn serves(&self, user: &ObjectMeta) -> bool {
        match (&self.metadata.deletion_timestamp, &user.creation_timestamp) {
            (None, _) => true,
            (Some(deleted), Some(made)) => made.0 <= deleted.0,
            (Some(_), None) => false,
        }
    }
}

/// Exactly one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("(has(self.http) ? 1 : 0) + (has(self.file) ? 1 : 0) == 1").message("source needs exactly one of http or file"))]
#[x_kube(validation = Rule::new("self == oldSelf").message("an Image never changes: make an Image with another name for another source"))]
#[serde(rename_all = "camelCase")]
pub struct ImageSource {
    /// Download by http or https. Loopback, link-local and the hosts' own addresses are refused unless the host's admin allows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSource>,
    /// A file in the folder that the host's admin allowed with --image-dir.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSource>,
}

/// A download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpSource {
    /// Full URL, such as https://images.example/debian-12.qcow2.
    #[schemars(length(max = 2048), regex(pattern = r"^https?://[^\s/@]+(/\S*)?$"))]
    pub url: String,
}

/// A file on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileSource {
    /// Path below the allowed folder, such as debian-12.qcow2. Links are not followed.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[^/\x00][^\x00]*$"))]
    pub path: String,
}

/// Exactly one checksum, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("(has(self.sha256) ? 1 : 0) + (has(self.sha512) ? 1 : 0) == 1").message("checksum needs exactly one of sha256 or sha512"))]
#[serde(rename_all = "camelCase")]
pub struct Checksum {
    /// SHA-256 in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-fA-F]{64}$"))]
    pub sha256: Option<String>,
    /// SHA-512 in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-fA-F]{128}$"))]
    pub sha512: Option<String>,
}

/// What was seen of an Image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageStatus {
    /// The metadata.generation this status speaks of; -1 until somebody looked.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub observed_generation: Option<i64>,
    /// Facts about this Image: Ready, and Reconciling or Stalled while true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Size of the disk it describes: the least a disk made from it can have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
    /// How far the first import is, such as 42%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// What each host has of it; every host writes its own entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5000))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub hosts: Vec<ImageHost>,
}

/// What one host has of an Image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageHost {
    /// The Host's name.
    pub name: String,
    /// The generation of the Image that the host looked at.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub observed_generation: Option<i64>,
    /// The pool it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Whether a verified copy was seen in the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// One word on why it is or is not ready: Imported, Queued, Downloading, Converting, DownloadFailed, TooSlow, ChecksumMismatch, NoSpace, SourceRefused, SourceChanging, SourceTruncated, SourceDamaged, NotFound, UnsafeImage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// One sentence on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
    /// Bytes fetched so far.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub fetched_bytes: Option<i64>,
    /// Bytes to fetch, where the source says.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub total_bytes: Option<i64>,
    /// Size of the disk it describes, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub virtual_size: Option<i64>,
    /// Format of the source as its content showed: raw or qcow2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_format: Option<String>,
    /// True once the host, asked to delete it, saw nothing of it left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<bool>,
}

impl Image {
    /// Held on an Image while Volumes depend on it and until every host has released it.
    pub const FINALIZER: &str = "nubium.dev/image";
    /// What a host has of an Image.
    pub const AGENT: Writer = Writer::agent("nubium-agent", By::EveryHost, &[], &[]);
}

impl Kind for Image {
    const RESOURCE: &'static str = "images";
    const CONTROLLER: Writer =
        Writer::controller("nubium-image", &["observedGeneration", "size", "progress"], SUMMARY_AND_USE);
    const OTHER_WRITERS: &'static [Writer] = &[Self::AGENT];

    #[cfg(test)]
    fn examples() -> Vec<serde_json::Value> {
        vec![
            serde_json::json!({"source": {"http": {"url": "https://a.example/b"}}, "checksum": {"sha256": "0".repeat(64)}, "defaultUser": "debian"}),
            serde_json::json!({"source": {"file": {"path": "b"}}, "checksum": {"sha512": "0".repeat(128)}}),
        ]
    }
}
