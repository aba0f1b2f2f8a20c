//! Host: a machine that runs Servers.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    Condition, Kind, Quantity,
    contract::{
        AGENT_READY, By, EGRESS_READY, HARDWARE_ACCELERATION, POOL_PRESSURE, SERVERS_REPORTED, STRANGERS, SUMMARY,
        Writer,
    },
    whole,
};

/// The namespace of the hosts' heartbeat Leases.
pub const HOSTS_NAMESPACE: &str = "nubium-hosts";

/// The namespace whose Secrets one host may read: the seeds of the Servers bound to it.
pub fn host_namespace(host: &str) -> String {
    format!("nubium-host-{host}")
}

/// A machine that runs Servers. Its agent makes this object; people edit its spec and labels.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "nubium.dev",
    version = "v1alpha1",
    kind = "Host",
    status = "HostStatus",
    category = "nubium",
    derive = "PartialEq",
    doc = "Host is a machine that runs Servers. Its agent makes this object and reports what the machine has.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Cores", type_ = "integer", json_path = ".status.capacity.cores"),
    printcolumn(name = "vCPU", type_ = "integer", json_path = ".status.capacity.cpu"),
    printcolumn(name = "Memory", type_ = "string", json_path = ".status.capacity.memory"),
    printcolumn(name = "Acceleration", type_ = "string", json_path = ".status.acceleration"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.software.nubium", priority = "1"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct HostSpec {
    /// True: no new Server is placed here. Servers that are here stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unschedulable: Option<bool>,
}

/// What was seen of a Host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// The metadata.generation this status speaks of; -1 until somebody looked.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub observed_generation: Option<i64>,
    /// Facts about this Host: Ready from its heartbeat; AgentReady, ServersReported, HardwareAcceleration, EgressReady, PoolPressure and Strangers from its agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// What Servers can use of the machine: its own, less what is kept for the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<HostCapacity>,
    /// The pools of the machine, and how much room they have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub pools: Vec<HostPool>,
    /// The pools that could not be opened or looked at, and why: nothing is known of what is in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub unavailable_pools: Vec<UnavailablePool>,
    /// The machine's own addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub addresses: Vec<HostAddress>,
    /// How guests are run: kvm (by the processor) or tcg (emulated, slower).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acceleration: Option<Acceleration>,
    /// Where the agent answers for consoles, ssh and port-forward, as address:port over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Versions of what runs there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<HostSoftware>,
}

/// What Servers can use of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostCapacity {
    /// Virtual CPUs that running Servers may have together: cores times cpuOvercommit.
    #[serde(deserialize_with = "whole::required")]
    pub cpu: i32,
    /// Memory that running Servers may have together.
    pub memory: Quantity,
    /// CPUs that the machine has.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub cores: Option<i32>,
    /// Virtual CPUs that are offered for each one that the machine has.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub cpu_overcommit: Option<i32>,
}

/// A pool on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostPool {
    /// The StoragePool's name.
    pub name: String,
    /// Size of the file system it is on.
    pub capacity: Quantity,
    /// Room left, rounded down to about a 256th of the capacity (at least 64Mi), so that it is not written all the time.
    pub free: Quantity,
    /// Sizes of all Volumes in it together. Disks take room only as guests write, so it may be more than the capacity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promised: Option<Quantity>,
}

/// A pool that a machine could not open or look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnavailablePool {
    /// The StoragePool's name.
    pub name: String,
    /// One word on why: PoolNotMounted, PoolNotAllowed, PoolRefused, PoolFailed.
    pub reason: String,
    /// One sentence on it, and what to do.
    #[schemars(length(max = 4096))]
    pub message: String,
}

/// One address of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostAddress {
    /// The interface.
    pub name: String,
    /// The address.
    pub address: String,
}

/// How guests are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Acceleration {
    Kvm,
    Tcg,
}

/// Versions of what runs on a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostSoftware {
    /// Of the agent.
    pub nubium: String,
    /// Of libvirt.
    pub libvirt: String,
    /// Of QEMU.
    pub qemu: String,
    /// Of the kernel.
    pub kernel: String,
}

impl Host {
    /// What a host says of itself.
    pub const AGENT: Writer = Writer::agent(
        "nubium-agent",
        By::HostItself,
        &["capacity", "pools", "unavailablePools", "addresses", "acceleration", "endpoint", "software"],
        &[AGENT_READY, SERVERS_REPORTED, HARDWARE_ACCELERATION, EGRESS_READY, POOL_PRESSURE, STRANGERS],
    );
}

impl Kind for Host {
    const RESOURCE: &'static str = "hosts";
    const CONTROLLER: Writer = Writer::controller("nubium-host", &["observedGeneration"], SUMMARY);
    const OTHER_WRITERS: &'static [Writer] = &[Self::AGENT];

    #[cfg(test)]
    fn examples() -> Vec<serde_json::Value> {
        vec![serde_json::json!({"unschedulable": true})]
    }
}
