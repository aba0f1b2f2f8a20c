//! CloudSettings: the defaults and limits of the whole cloud, which its admin sets.

use ipnet::Ipv4Net;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    Condition, Kind,
    contract::{SUMMARY, Writer},
    whole,
};

/// The name of the only CloudSettings object.
pub const CLOUD_SETTINGS: &str = "default";
/// The range in which hostAccess is possible, and of which Networks without a cidr take theirs, if the admin names no other.
pub const DEFAULT_RANGE: &str = "10.77.0.0/16";

/// What holds for the whole cloud. There is exactly one, named default; Nubium makes it when the cloud first starts.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "nubium.dev",
    version = "v1alpha1",
    kind = "CloudSettings",
    plural = "cloudsettings",
    status = "CloudSettingsStatus",
    category = "nubium",
    derive = "PartialEq",
    validation = Rule::new("self.metadata.name == 'default'").message("there is one CloudSettings, and its name is default"),
    doc = "CloudSettings holds what is the same for the whole cloud. There is exactly one, named default.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Host-Access-Ranges", type_ = "string", json_path = ".spec.networks.hostAccessRanges"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct CloudSettingsSpec {
    /// What holds for all Networks.
    #[serde(default)]
    pub networks: NetworkSettings,
}

/// What holds for all Networks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkSettings {
    /// The ranges in which a Network may have hostAccess. What a host sends to a range of such a Network goes to that Network's Servers, so name none that hosts need for anything else. Taken from --host-access-allow when the cloud first starts.
    #[serde(default)]
    #[schemars(length(max = 256), inner(length(max = 18), regex(pattern = r"^[0-9.]+/[0-9]+$")))]
    #[x_kube(merge_strategy = ListMerge::Atomic, validation = Rule::new("self.all(range, isCIDR(range) && cidr(range).ip().family() == 4 && cidr(range) == cidr(range).masked())").message("hostAccessRanges must be IPv4 ranges such as 10.77.0.0/16, each named by its first address"))]
    pub host_access_ranges: Vec<String>,
    /// The ranges of which a Network that gives no cidr takes a /24. Taken from --allocate-from when the cloud first starts. Default: 10.77.0.0/16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 18), regex(pattern = r"^[0-9.]+/[0-9]+$")))]
    #[x_kube(merge_strategy = ListMerge::Atomic, validation = Rule::new("self.all(range, isCIDR(range) && cidr(range).ip().family() == 4 && cidr(range) == cidr(range).masked() && cidr(range).prefixLength() >= 8 && cidr(range).prefixLength() <= 24)").message("allocateFrom must be IPv4 ranges such as 10.77.0.0/16, between /8 and /24, each named by its first address"))]
    pub allocate_from: Option<Vec<String>>,
}

/// What was seen of the CloudSettings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloudSettingsStatus {
    /// The metadata.generation this status speaks of; -1 until somebody looked.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub observed_generation: Option<i64>,
    /// Facts about these settings: Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl NetworkSettings {
    /// The ranges in which hostAccess is possible. One that cannot be read allows nothing.
    #[must_use]
    pub fn host_access(&self) -> HostAccessRanges {
        HostAccessRanges(self.host_access_ranges.iter().filter_map(|range| range.parse().ok()).collect())
    }
}

impl NetworkSettings {
    /// The ranges of which Networks take theirs.
    #[must_use]
    pub fn allocation_ranges(&self) -> Vec<Ipv4Net> {
        match &self.allocate_from {
            Some(ranges) => ranges.iter().filter_map(|range| range.parse().ok()).collect(),
            None => DEFAULT_RANGE.parse().into_iter().collect(),
        }
    }
}

/// The ranges in which a Network may have hostAccess.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostAccessRanges(pub Vec<Ipv4Net>);

impl HostAccessRanges {
    /// Why a Network of that range cannot have hostAccess, for its owner, with the command that changes it; `None` if it can.
    #[must_use]
    pub fn refusal(&self, range: Ipv4Net) -> Option<String> {
        if self.0.iter().any(|allowed| allowed.contains(&range)) {
            return None;
        }
        let ranges: Vec<String> = self.0.iter().map(Ipv4Net::to_string).collect();
        let inside = match ranges.as_slice() {
            [] => "the cloud's admin allows no range for it".to_owned(),
            ranges => format!("use a range inside {}", ranges.join(" or ")),
        };
        Some(format!(
            "hostAccess is not allowed for {range}, to which hosts may send traffic of their own: {inside}, or let the cloud's \
             admin allow it: kubectl patch cloudsettings {CLOUD_SETTINGS} --type=json -p \
             '[{{\"op\":\"add\",\"path\":\"/spec/networks/hostAccessRanges/-\",\"value\":\"{range}\"}}]'"
        ))
    }
}

impl Kind for CloudSettings {
    const RESOURCE: &'static str = "cloudsettings";
    const CONTROLLER: Writer = Writer::controller("nubium-cloud-settings", &["observedGeneration"], SUMMARY);

    #[cfg(test)]
    fn examples() -> Vec<serde_json::Value> {
        vec![serde_json::json!({"networks": {"hostAccessRanges": ["10.77.0.0/16"], "allocateFrom": ["10.77.0.0/16"]}})]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_allowed_only_inside_one_that_the_admin_named() {
        let ranges = NetworkSettings {
            host_access_ranges: vec!["10.77.0.0/16".into(), "8.8.8.0/24".into()],
            ..NetworkSettings::default()
        };
        let refusal = |range: &str| ranges.host_access().refusal(range.parse().unwrap());
        for inside in ["10.77.0.0/16", "10.77.3.0/24", "8.8.8.0/25"] {
            assert_eq!(refusal(inside), None, "{inside}");
        }
        for outside in ["10.0.0.0/8", "10.78.0.0/24", "10.76.0.0/15", "8.8.9.0/24", "0.0.0.0/0"] {
            let text = refusal(outside).unwrap();
            assert!(text.contains("10.77.0.0/16 or 8.8.8.0/24") && text.contains(&format!("\"value\":\"{outside}\"")));
        }
        let none = HostAccessRanges::default().refusal("10.77.0.0/24".parse().unwrap()).unwrap();
        assert!(none.contains("allows no range"), "{none}");
    }
}
