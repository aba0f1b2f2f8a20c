//! Validation of an object about to be stored: metadata, schema, rules of the kind, all errors at once.

use nubium_schema::names::{validate_object_meta, validate_object_meta_update};
use serde_json::Value;

use super::rules;
use crate::call::Call;
use crate::failure::Failure;
use crate::kind::Kind;
use crate::object::meta;

/// Refuses an object that is not valid as a whole; answers warnings.
pub(super) fn check(call: &Call, kind: &Kind, object: &Value, live: Option<&Value>) -> Result<Vec<String>, Failure> {
    let metadata = &object["metadata"];
    let mut errors = match live {
        None => validate_object_meta(metadata, kind.namespaced, kind.behaviour.names),
        Some(live) => validate_object_meta_update(metadata, &live["metadata"]),
    };
    errors.extend(kind.schema.check(object, live));
    let mut warnings = Vec::new();
    errors.extend(rules::check(&call.snapshot, kind, object, live, &mut warnings));
    if errors.is_empty() {
        return Ok(warnings);
    }
    Err(Failure::invalid(&kind.group, &kind.kind, meta::text(object, "name"), &errors))
}
