//! Events: in the namespace of what they are about.

use nubium_schema::FieldError;
use serde_json::Value;

use crate::kind::Kind;
use crate::object::meta;

pub(super) fn check(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let about = if kind.group.is_empty() { "involvedObject" } else { "regarding" };
    let said = object[about]["namespace"].as_str().unwrap_or_default();
    let namespace = meta::text(object, "namespace");
    let mut errors = Vec::new();
    // What is cluster-scoped has its events in the namespace `default`.
    let fits = said == namespace || (said.is_empty() && matches!(namespace, "default" | "kube-system"));
    if !fits {
        let field = "involvedObject.namespace";
        errors.push(FieldError::invalid(field, said, "does not match event.namespace"));
    }
    if kind.group.is_empty() {
        return errors;
    }
    for field in ["reportingController", "reportingInstance", "action", "reason"] {
        if object["eventTime"].is_string() && object[field].as_str().is_none_or(str::is_empty) {
            errors.push(FieldError::required(field, ""));
        }
    }
    let note = object["note"].as_str().unwrap_or_default();
    if note.len() > 1024 {
        errors.push(FieldError::invalid("note", "", "can have at most 1024 bytes"));
    }
    errors
}
