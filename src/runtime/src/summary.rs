//! What tools that know no kind make of an object: the rules of kstatus, which Helm and Flux wait by.

use serde_json::Value;

use crate::conditions::find;

/// How an object stands to a tool that only knows conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Summary {
    /// As it was asked to be.
    Current,
    /// On its way.
    InProgress,
    /// Will not get there without a new spec.
    Failed,
    /// Being deleted.
    Terminating,
}

/// Reads `metadata.deletionTimestamp`, `status.observedGeneration` and the conditions of any object.
pub fn summary(object: &Value) -> Summary {
    let (meta, status) = (&object["metadata"], &object["status"]);
    if !meta["deletionTimestamp"].is_null() {
        return Summary::Terminating;
    }
    let observed = &status["observedGeneration"];
    if !observed.is_null() && *observed != meta["generation"] {
        return Summary::InProgress;
    }
    let is = |type_: &str, wanted: &str| find(status, type_).is_some_and(|condition| condition["status"] == wanted);
    if is("Stalled", "True") {
        Summary::Failed
    } else if is("Reconciling", "True") || is("Ready", "False") || is("Ready", "Unknown") {
        Summary::InProgress
    } else {
        Summary::Current
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(observed: i64, conditions: &[(&str, &str)]) -> Value {
        let conditions: Vec<_> =
            conditions.iter().map(|(type_, status)| json!({"type": type_, "status": status})).collect();
        json!({"metadata": {"generation": 2}, "status": {"observedGeneration": observed, "conditions": conditions}})
    }

    #[test]
    fn it_is_read_as_kstatus_reads_it() {
        assert_eq!(summary(&with(-1, &[])), Summary::InProgress);
        assert_eq!(summary(&with(1, &[("Ready", "True")])), Summary::InProgress);
        assert_eq!(summary(&with(2, &[("Ready", "True")])), Summary::Current);
        assert_eq!(summary(&with(2, &[("Ready", "False")])), Summary::InProgress);
        assert_eq!(summary(&with(2, &[("Ready", "Unknown")])), Summary::InProgress);
        assert_eq!(summary(&with(2, &[("Ready", "False"), ("Reconciling", "True")])), Summary::InProgress);
        assert_eq!(summary(&with(2, &[("Ready", "False"), ("Stalled", "True")])), Summary::Failed);
        let mut deleted = with(2, &[("Ready", "True")]);
        deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(summary(&deleted), Summary::Terminating);
    }
}
