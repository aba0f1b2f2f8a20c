//! Why a write cannot be tracked.

use super::{EntryError, Identity};
use crate::ownership::{
    merge::{Conflicts, ConvertError, MergeError, Refusal},
    typed::Violations,
};

/// Why an apply fails. The texts are Kubernetes' own.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Others own what is applied (409, reason Conflict; a cause `FieldManagerConflict` each).
    #[error("Apply failed with {}: {}", conflict_count(.0), .0)]
    Conflicts(Conflicts<Identity>),
    /// Another apiVersion or kind than that of the resource (400).
    #[error("invalid object type: {}", version_and_kind(.api_version, .kind))]
    OtherKind { api_version: String, kind: String },
    /// An applied configuration must not contain managedFields (400).
    #[error("metadata.managedFields must be nil")]
    ManagedFieldsInConfig,
    /// What is applied does not fit the kind (500 in Kubernetes).
    #[error("failed to create typed patch object ({name}): {source}")]
    Config { name: String, source: Violations },
    /// What is stored does not fit the kind.
    #[error("failed to create typed live object ({name}): {source}")]
    Live { name: String, source: Violations },
    /// The stored `managedFields` cannot be read.
    #[error("failed to decode managed fields: {0}")]
    ManagedFields(#[source] EntryError),
    /// The objects cannot be merged.
    #[error("failed to merge config: {0}")]
    Merge(#[source] Violations),
    /// The object cannot be compared in a version that something is owned in.
    #[error("failed to convert the object")]
    Convert(#[source] ConvertError),
    /// The owners of an object that was not tracked before cannot be computed.
    #[error("failed to create manager for existing fields")]
    Existing(#[from] UpdateError),
}

/// Why the change of an update cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    #[error("failed to convert new object ({name}) to smd typed: {source}")]
    New { name: String, source: Violations },
    #[error("failed to convert live object ({name}) to smd typed: {source}")]
    Live { name: String, source: Violations },
    #[error("failed to compare objects: {0}")]
    Compare(#[source] Violations),
    #[error("failed to convert the object")]
    Convert(#[source] ConvertError),
}

impl From<Refusal<Identity>> for ApplyError {
    fn from(refusal: Refusal<Identity>) -> Self {
        match refusal {
            Refusal::Conflicts(conflicts) => Self::Conflicts(conflicts),
            Refusal::Failed(MergeError::Invalid(violations)) => Self::Merge(violations),
            Refusal::Failed(MergeError::Convert(error)) => Self::Convert(error),
        }
    }
}

impl From<MergeError> for UpdateError {
    fn from(error: MergeError) -> Self {
        match error {
            MergeError::Invalid(violations) => Self::Compare(violations),
            MergeError::Convert(error) => Self::Convert(error),
        }
    }
}

fn conflict_count(conflicts: &Conflicts<Identity>) -> String {
    match conflicts.0.len() {
        1 => "1 conflict".to_owned(),
        count => format!("{count} conflicts"),
    }
}

/// `apps/v1, Kind=Deployment`; the core group is empty: `/v1, Kind=ConfigMap`.
pub(super) fn version_and_kind(api_version: &str, kind: &str) -> String {
    let slash = if api_version.is_empty() || api_version.contains('/') { "" } else { "/" };
    format!("{slash}{api_version}, Kind={kind}")
}
