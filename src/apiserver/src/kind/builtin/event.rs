//! Events: in the namespace of what they are about.

use nubium_schema::FieldError;
use serde_json::Value;

use crate::kind::rules::{Builtin, Context};
use crate::object::meta;

#[derive(Debug)]
pub(super) struct Event {
    /// The field that names the object.
    pub about: &'static str,
    /// The newer API requires more fields.
    pub complete: bool,
}

impl Builtin for Event {
    fn validate(&self, _: &Context<'_>, object: &Value, _: Option<&Value>, _: &mut Vec<String>) -> Vec<FieldError> {
        let said = object[self.about]["namespace"].as_str().unwrap_or_default();
        let namespace = meta::text(object, "namespace");
        let mut errors = Vec::new();
        // What is cluster-scoped has its events in the namespace `default`.
        let fits = said == namespace || (said.is_empty() && matches!(namespace, "default" | "kube-system"));
        if !fits {
            let field = "involvedObject.namespace";
            errors.push(FieldError::invalid(field, said, "does not match event.namespace"));
        }
        if !self.complete {
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
}
