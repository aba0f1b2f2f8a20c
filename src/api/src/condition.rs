//! One fact about an object: the same shape as `metav1.Condition`, with a schema short enough for `kubectl explain`.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::KubeSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::whole;

/// One fact about this object, as somebody saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which fact this is, such as Ready.
    #[serde(rename = "type")]
    #[schemars(length(max = 316))]
    pub type_: String,
    /// True, False, or Unknown when nobody could look.
    pub status: ConditionStatus,
    /// The metadata.generation that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::optional")]
    pub observed_generation: Option<i64>,
    /// When status last changed.
    #[serde(deserialize_with = "time_or_epoch")]
    pub last_transition_time: Time,
    /// One word for programs.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// One sentence for people: what happened, to what, and what to do about it.
    #[schemars(length(max = 32768))]
    pub message: String,
}

/// A time that cannot be read is long ago. Kubernetes' own schemas take a list for a time, and a condition is no less true
/// for it.
fn time_or_epoch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(Time::deserialize(value).unwrap_or(Time(Timestamp::UNIX_EPOCH)))
}

/// True, False or Unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

/// The condition of that type among `conditions`.
pub fn condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}
