//! Server: a virtual machine.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    Condition, CpuCount, DeletionPolicy, Kind, Quantity,
    contract::{
        ADMITTED, By, CLOUD_INIT_CURRENT, NETWORK_READY, READY, RECONCILING, RELEASED, RESTART_REQUIRED, RUNNING,
        SCHEDULED, STALLED, VOLUMES_READY, Writer,
    },
    whole,
};

/// The name of what a Server makes for one of its disks or NICs.
pub fn child_name(server: &str, disk_or_nic: &str) -> String {
    format!("{server}-{disk_or_nic}")
}

/// A virtual machine: its size, disks, NICs and whether it runs.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "nubium.dev",
    version = "v1alpha1",
    kind = "Server",
    namespaced,
    status = "ServerStatus",
    category = "nubium",
    shortname = "srv",
    derive = "PartialEq",
    selectable = ".status.host",
    validation = Rule::new("size(self.metadata.name) <= 40 && !self.metadata.name.contains('.')").message("a Server's name is a DNS label of at most 40 letters, digits and dashes: its disks, NICs and host name are named after it"),
    // By substring: startsWith and + may not cost what a name without a bound might, in kube-apiserver's eyes.
    validation = Rule::new("self.spec.disks.all(a, !has(a.volume) || size(a.volume) <= size(self.metadata.name) || a.volume.substring(0, size(self.metadata.name)) != self.metadata.name || !self.spec.disks.exists(b, !has(b.volume) && a.volume.substring(size(self.metadata.name)) == '-' + b.name))").message("two disks cannot be the same volume: one disk makes the Volume (<server>-<disk>) that another one names"),
    validation = Rule::new("!has(self.spec.nics) || self.spec.nics.all(a, !has(a.port) || size(a.port) <= size(self.metadata.name) || a.port.substring(0, size(self.metadata.name)) != self.metadata.name || !self.spec.nics.exists(b, !has(b.port) && a.port.substring(size(self.metadata.name)) == '-' + b.name))").message("two NICs cannot be the same port: one NIC makes the Port (<server>-<NIC>) that another one names"),
    doc = "Server is a virtual machine: its size, its disks, its NICs, and whether it runs.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.addresses[*].address"),
    printcolumn(name = "Host", type_ = "string", json_path = ".status.host"),
    printcolumn(name = "Flavor", type_ = "string", json_path = ".spec.flavor"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "CPU", type_ = "string", json_path = ".status.resources.cpu", priority = "1"),
    printcolumn(name = "Memory", type_ = "string", json_path = ".status.resources.memory", priority = "1"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = "1")
)]
#[x_kube(validation = Rule::new("has(self.flavor) != has(self.resources)").message("say the Server's size by exactly one of flavor or resources"))]
#[x_kube(validation = Rule::new("self.disks.all(a, !has(a.volume) || self.disks.exists_one(b, has(b.volume) && b.volume == a.volume))").message("two disks cannot be the same volume: name each Volume once"))]
#[x_kube(validation = Rule::new("!has(self.nics) || self.nics.all(a, !has(a.port) || self.nics.exists_one(b, has(b.port) && b.port == a.port))").message("two NICs cannot be the same port: name each Port once"))]
#[x_kube(validation = Rule::new("!has(self.restartedAt) || self.restartedAt > timestamp('1000-01-01T00:00:00Z')").message("restartedAt must be a time such as 2026-01-31T12:00:00Z"))]
#[serde(rename_all = "camelCase")]
pub struct ServerSpec {
    /// A Flavor's name: the size. Or give resources. The size in force is set when the Server is placed on a host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub flavor: Option<String>,
    /// The size, said directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The disks. The first one boots.
    #[schemars(length(min = 1, max = 24))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub disks: Vec<Disk>,
    /// The NICs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub nics: Vec<Nic>,
    /// What the guest is told at its first boot. A later edit is kept, and counts only for a rebuilt Server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_init: Option<CloudInit>,
    /// Whether it runs: Running or Stopped. Stopped asks the guest to power off, and turns it off after a while if it does not.
    /// A stopped Server keeps its host, disks and addresses, and holds neither cpu nor memory: it is started again when its host
    /// has room for it, and says HostFull until then.
    #[serde(default)]
    pub power_state: PowerState,
    /// Set this to the present time to restart the Server once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<Time>,
    /// Where it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,
}

/// A size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("!isQuantity(string(self.memory)) || quantity(string(self.memory)).compareTo(quantity('16Mi')) >= 0").message("memory must be at least 16Mi; without a unit it is in bytes: write 512Mi or 2Gi"))]
#[x_kube(validation = Rule::new("!isQuantity(string(self.cpu)) || quantity(string(self.cpu)).isInteger()").message("cpu must be a whole number"))]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Number of virtual CPUs, a whole number.
    pub cpu: CpuCount,
    /// Memory, such as 512Mi or 2Gi.
    pub memory: Quantity,
}

/// A disk: exactly one of image, volume or blank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("(has(self.image) ? 1 : 0) + (has(self.volume) ? 1 : 0) + (has(self.blank) ? 1 : 0) == 1").message("a disk needs exactly one of image, volume or blank"))]
#[x_kube(validation = Rule::new("!has(self.blank) || has(self.size)").message("a blank disk needs a size, such as 10Gi"))]
#[x_kube(validation = Rule::new("!has(self.volume) || (!has(self.size) && !has(self.pool) && !has(self.deletionPolicy))").message("size, pool and deletionPolicy of a disk that names a volume are said in that Volume"))]
#[x_kube(validation = Rule::new("has(self.image) == has(oldSelf.image) && (!has(self.image) || self.image == oldSelf.image)").message("a disk's image cannot change: make another disk or another Server"))]
#[x_kube(validation = Rule::new("!has(self.size) || !isQuantity(string(self.size)) || quantity(string(self.size)).compareTo(quantity('1Mi')) >= 0").message("size must be at least 1Mi; without a unit it is in bytes: write 512Mi or 10Gi"))]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    /// A name of your choice, such as root.
    #[schemars(length(min = 1, max = 20), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// An Image's name: the disk is cloned from it, as the Volume <server>-<disk>.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub image: Option<String>,
    /// A Volume of yours, by name. It is never deleted with the Server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub volume: Option<String>,
    /// An empty disk, as the Volume <server>-<disk>: write {}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blank: Option<Blank>,
    /// Size, such as 10Gi. Default for a disk from an image: the image's size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
    /// The StoragePool of the Volume that is made. Default: default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub pool: Option<String>,
    /// Whether the Volume that was made goes with the Server: Delete (default) or Retain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

impl Disk {
    /// The name of its Volume: the one that it names, or else the one that is made for it.
    #[must_use]
    pub fn volume_name(&self, server: &str) -> String {
        self.volume.clone().unwrap_or_else(|| child_name(server, &self.name))
    }
}

/// An empty disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Blank {}

/// A NIC: exactly one of network or port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.network) != has(self.port)").message("a NIC needs exactly one of network or port"))]
#[x_kube(validation = Rule::new("!has(self.port) || !(has(self.address) || has(self.addresses))").message("the addresses of a NIC that names a port are said in that Port"))]
#[x_kube(validation = Rule::new("!has(self.address) || !has(self.addresses)").message("address is the old form of addresses: give addresses only"))]
#[serde(rename_all = "camelCase")]
pub struct Nic {
    /// A name of your choice, such as eth0.
    #[schemars(length(min = 1, max = 20), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// A Network's name: the Port <server>-<nic> is made on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub network: Option<String>,
    /// A Port of yours, by name. It is never deleted with the Server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub port: Option<String>,
    /// The addresses it shall have on the network, one for each subnet. Default: one from each subnet's allocationPools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1), inner(length(max = 15), regex(pattern = r"^[0-9.]+$")))]
    #[x_kube(merge_strategy = ListMerge::Atomic, validation = Rule::new("self.all(address, isIP(address) && ip(address).family() == 4)").message("addresses must be IPv4 addresses such as 10.10.0.5"))]
    pub addresses: Option<Vec<String>>,
    /// Deprecated: use addresses, a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 15), regex(pattern = r"^[0-9.]+$"))]
    #[x_kube(validation = Rule::new("isIP(self) && ip(self).family() == 4").message("address must be an IPv4 address such as 10.10.0.5"))]
    pub address: Option<String>,
}

impl Nic {
    /// The name of its Port: the one that it names, or else the one that is made for it.
    #[must_use]
    pub fn port_name(&self, server: &str) -> String {
        self.port.clone().unwrap_or_else(|| child_name(server, &self.name))
    }

    /// The addresses that are asked for, in whichever of the two forms.
    #[must_use]
    pub fn requested_addresses(&self) -> &[String] {
        self.addresses.as_deref().or(self.address.as_ref().map(std::slice::from_ref)).unwrap_or_default()
    }
}

/// What cloud-init in the guest is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("!has(self.userData) || !has(self.userDataFrom)").message("give user data by at most one of userData or userDataFrom"))]
#[serde(rename_all = "camelCase")]
pub struct CloudInit {
    /// Public ssh keys for the image's default user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 16384)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub ssh_authorized_keys: Vec<String>,
    /// ConfigMaps of this namespace; every value of them is a public ssh key, or several on a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub ssh_authorized_keys_from: Vec<ConfigMapRef>,
    /// User data for cloud-init, such as a #cloud-config document or a script. It is not secret: whoever can read the Server can read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub user_data: Option<String>,
    /// User data from a Secret of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data_from: Option<UserDataSource>,
    /// The guest's host name. Default: the Server's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub hostname: Option<String>,
}

/// A ConfigMap of this namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ConfigMapRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Where user data is taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserDataSource {
    /// One key of a Secret.
    pub secret_key_ref: SecretKeyRef,
}

/// One key of a Secret of this namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Running or Stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum PowerState {
    #[default]
    Running,
    Stopped,
}

/// Where a Server may run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scheduling {
    /// This Host and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub host: Option<String>,
    /// Hosts whose labels match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_selector: Option<LabelSelector>,
}

/// What was seen of a Server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// The metadata.generation this status speaks of; -1 until somebody looked.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub observed_generation: Option<i64>,
    /// Facts about this Server: Ready, and Reconciling or Stalled while true; Scheduled to a host and Admitted to run there; VolumesReady, NetworkReady, Running, RestartRequired and Released from its host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The Host it is placed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The size in force, set when it was placed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ServerResources>,
    /// Its addresses, one entry per NIC.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub addresses: Vec<ServerAddress>,
    /// The slot of each disk and NIC in the guest, so that none moves when another goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub devices: Vec<Device>,
}

/// A size in force, as numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("!isQuantity(string(self.cpu)) || quantity(string(self.cpu)).isInteger()").message("cpu must be a whole number"))]
#[serde(rename_all = "camelCase")]
pub struct ServerResources {
    /// Number of virtual CPUs.
    pub cpu: CpuCount,
    /// Memory.
    pub memory: Quantity,
    /// The Flavor whose size this is, where it is one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub flavor: Option<String>,
}

/// One NIC's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerAddress {
    /// The NIC's name.
    pub name: String,
    /// The Network.
    pub network: String,
    /// Its address.
    pub address: String,
    /// Its MAC address.
    pub mac_address: String,
}

/// Where a disk or NIC sits in the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// disk-<name> or nic-<name>.
    pub name: String,
    /// Its slot, from 0, never reused while attached.
    #[serde(deserialize_with = "whole::required")]
    pub slot: i32,
    /// UID of the Volume or Port that sits there.
    pub uid: String,
}

impl ServerStatus {
    /// The slots by device name.
    pub fn slots(&self) -> BTreeMap<&str, i32> {
        self.devices.iter().map(|device| (device.name.as_str(), device.slot)).collect()
    }
}

impl Server {
    /// Held on a Server until its host has released it and what it made is being deleted.
    pub const FINALIZER: &str = "nubium.dev/server";
    /// The binding of a Server to a host, its size there, and whether there is room for it to run.
    pub const SCHEDULER: Writer =
        Writer::controller("nubium-scheduler", &["host", "resources"], &[SCHEDULED, ADMITTED]);
    /// What a host sees of a Server.
    pub const AGENT: Writer = Writer::agent(
        "nubium-agent",
        By::BoundHost,
        &["devices"],
        &[VOLUMES_READY, NETWORK_READY, RUNNING, RESTART_REQUIRED, RELEASED],
    );
}

impl Kind for Server {
    const RESOURCE: &'static str = "servers";
    const CONTROLLER: Writer = Writer::controller(
        "nubium-server",
        &["observedGeneration", "addresses"],
        &[READY, RECONCILING, STALLED, CLOUD_INIT_CURRENT],
    );
    const OTHER_WRITERS: &'static [Writer] = &[Self::SCHEDULER, Self::AGENT];

    #[cfg(test)]
    fn examples() -> Vec<serde_json::Value> {
        use serde_json::json;

        vec![
            json!({"flavor": "small", "restartedAt": "2026-01-01T00:00:00Z", "powerState": "Running",
                   "disks": [{"name": "root", "image": "i", "size": "10Gi", "pool": "p", "deletionPolicy": "Retain"}],
                   "nics": [{"name": "eth0", "network": "n", "addresses": ["10.0.0.5"]}],
                   "cloudInit": {"sshAuthorizedKeys": ["k"], "sshAuthorizedKeysFrom": [{"name": "k"}], "userData": "x", "hostname": "h"},
                   "scheduling": {"host": "h", "hostSelector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]}}}),
            json!({"resources": {"cpu": 1, "memory": "1Gi"}, "disks": [{"name": "root", "volume": "v"}],
                   "nics": [{"name": "eth0", "port": "p"}],
                   "cloudInit": {"userDataFrom": {"secretKeyRef": {"name": "n", "key": "k"}}}}),
            json!({"flavor": "small", "disks": [{"name": "root", "blank": {}, "size": "10Gi"}],
                   "nics": [{"name": "eth0", "network": "n", "address": "10.0.0.5"}]}),
        ]
    }
}
