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

/// The longest message of a condition, in characters.
const LONGEST_MESSAGE: usize = 32768;
/// The longest reason, in characters.
const LONGEST_REASON: usize = 1024;
/// The longest message of one host about an object that many hosts have, in characters.
pub const LONGEST_HOST_MESSAGE: usize = 4096;

impl Condition {
    /// One condition, with no more text than its schema takes. Its time is put right by who writes it.
    #[must_use]
    pub fn new(
        type_: &str,
        status: ConditionStatus,
        observed_generation: Option<i64>,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            type_: type_.to_owned(),
            status,
            observed_generation,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            reason: at_most(LONGEST_REASON, reason.into()),
            message: at_most(LONGEST_MESSAGE, message.into()),
        }
    }
}

/// The text, cut to that many characters.
#[must_use]
pub fn at_most(characters: usize, mut text: String) -> String {
    let mut starts = text.char_indices().skip(characters.saturating_sub(1)).map(|(at, _)| at);
    if let (Some(last), Some(_)) = (starts.next(), starts.next()) {
        text.truncate(last);
        text.push('…');
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_any_length_fits_into_a_condition() {
        let of = |length: usize| {
            Condition::new("Ready", ConditionStatus::False, None, "r".repeat(length), "ä".repeat(length))
        };
        let short = of(7);
        assert_eq!((short.reason.as_str(), short.message.as_str()), ("rrrrrrr", "äääääää"));
        let exact = of(LONGEST_MESSAGE).message;
        assert_eq!(exact, "ä".repeat(LONGEST_MESSAGE));
        let long = of(LONGEST_MESSAGE + 1);
        assert_eq!((long.reason.chars().count(), long.message.chars().count()), (LONGEST_REASON, LONGEST_MESSAGE));
        assert!(long.message.ends_with("ä…"));
    }
}
