//! What built-in kinds do beyond their schema, each in a file of its own.

mod definition;
mod event;
mod lease;
mod namespace;
mod payload;

use nubium_schema::FieldError;
use serde_json::Value;

pub(crate) use definition::{set_condition, settle as settle_definition};
pub(crate) use namespace::FINALIZER as NAMESPACE_FINALIZER;

use crate::call::Call;
use crate::kind::{Kind, Snapshot};

/// What is part of reading an object: forms that are turned into others, names that follow from others.
pub(super) fn default(kind: &Kind, object: &mut Value) {
    if kind.is_custom() {
        return;
    }
    match kind.plural.as_str() {
        "namespaces" => namespace::default(object),
        "secrets" => payload::default_secret(object),
        "customresourcedefinitions" => definition::default(object),
        _ => {}
    }
}

/// What the server itself says in an object, whoever wrote it. `live` is what it replaces.
pub(super) fn prepare(call: &Call, kind: &Kind, object: &mut Value, live: Option<&Value>) {
    if kind.is_custom() {
        return;
    }
    match kind.plural.as_str() {
        "namespaces" => namespace::prepare(object, live),
        "customresourcedefinitions" => definition::prepare(call, object, live),
        _ => {}
    }
}

/// Everything wrong with an object that no schema can say.
pub(super) fn check(
    snapshot: &Snapshot,
    kind: &Kind,
    object: &Value,
    live: Option<&Value>,
    warnings: &mut Vec<String>,
) -> Vec<FieldError> {
    if kind.is_custom() {
        return Vec::new();
    }
    match kind.plural.as_str() {
        "secrets" => payload::check_secret(object, live),
        "configmaps" => payload::check_config_map(object, live),
        "events" => event::check(kind, object),
        "leases" => lease::check(object),
        "customresourcedefinitions" => definition::check(snapshot, object, live, warnings),
        _ => Vec::new(),
    }
}
