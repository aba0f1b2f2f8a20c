//! Leases: numbers that make sense.

use nubium_schema::FieldError;
use serde_json::Value;

use crate::kind::rules::{Builtin, Context};

#[derive(Debug)]
pub(super) struct Lease;

impl Builtin for Lease {
    fn validate(&self, _: &Context<'_>, object: &Value, _: Option<&Value>, _: &mut Vec<String>) -> Vec<FieldError> {
        let spec = &object["spec"];
        let mut errors = Vec::new();
        if let Some(seconds) = spec["leaseDurationSeconds"].as_i64().filter(|seconds| *seconds <= 0) {
            errors.push(FieldError::invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"));
        }
        if let Some(count) = spec["leaseTransitions"].as_i64().filter(|count| *count < 0) {
            errors.push(FieldError::invalid("spec.leaseTransitions", count, "must be greater than or equal to 0"));
        }
        errors
    }
}
