//! What the server itself puts into an object: where it is, which object it is, and how often its spec has changed.

use std::collections::HashSet;

use nubium_schema::FieldError;
use serde_json::Value;

use crate::call::Call;
use crate::failure::Failure;
use crate::kind::{Context, Kind};
use crate::object::meta;

/// Fields of the metadata that clients cannot change.
const SYSTEM: [&str; 5] = ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"];

/// Fits the object's name and namespace to the path, or refuses.
pub(super) fn place(call: &Call, kind: &Kind, object: &mut Value) -> Result<(), Failure> {
    let target = &call.target;
    let name = meta::text(object, "name");
    if !target.name.is_empty() && name != target.name {
        if !name.is_empty() {
            return Err(Failure::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                target.name
            )));
        }
        let url = &target.name;
        let why = format!("the name of the object ({url} based on URL) was undeterminable: name must be provided");
        return Err(Failure::bad_request(why));
    }
    // As Kubernetes: revision 0 is none.
    if meta::text(object, "resourceVersion") == "0" {
        meta::set(object, "resourceVersion", None);
    }
    let namespace = meta::text(object, "namespace");
    if kind.namespaced {
        if !namespace.is_empty() && namespace != target.namespace {
            return Err(Failure::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        meta::set(object, "namespace", Some(target.namespace.as_str().into()));
    } else {
        meta::set(object, "namespace", None);
    }
    Ok(())
}

/// The most entries that a list of the metadata may have.
const MOST_ENTRIES: usize = 1000;

/// Refuses lists of the metadata that are too long to work with. What is stored already may keep its length.
pub(super) fn check_lengths(kind: &Kind, old: Option<&Value>, object: &Value) -> Result<(), Failure> {
    let length = |object: &Value, field: &str| object["metadata"][field].as_array().map_or(0, Vec::len);
    let mut errors = Vec::new();
    for field in ["ownerReferences", "finalizers", "managedFields"] {
        let (before, after) = (old.map_or(0, |old| length(old, field)), length(object, field));
        if after > MOST_ENTRIES.max(before) {
            errors.push(FieldError::too_many(format!("metadata.{field}"), after as u64, MOST_ENTRIES as u64));
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Failure::invalid(kind.validated_group(), &kind.kind, meta::text(object, "name"), &errors))
}

/// Sets the system fields of a new object.
pub(super) fn confine_new(call: &Call, kind: &Kind, object: &mut Value) {
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"] {
        meta::set(object, field, None);
    }
    meta::set(object, "uid", Some(uuid::Uuid::new_v4().to_string().into()));
    meta::set(object, "creationTimestamp", Some(call.timestamp().into()));
    meta::set(object, "generation", kind.behaviour.generation.then(|| 1.into()));
    unique_owners(object);
}

/// Refuses a change of another version than the one that it replaces.
pub(super) fn check_version(kind: &Kind, old: &Value, object: &mut Value) -> Result<(), Failure> {
    let version = meta::text(old, "resourceVersion");
    match meta::text(object, "resourceVersion") {
        "" if kind.behaviour.unconditional_update => meta::set(object, "resourceVersion", Some(version.into())),
        "" => {
            let error = FieldError::invalid("metadata.resourceVersion", 0, "must be specified for an update");
            return Err(Failure::invalid(&kind.group, &kind.plural, meta::text(old, "name"), &[error]));
        }
        said if said == version => {}
        _ => return Err(Failure::modified(kind.subject(), meta::text(old, "name"))),
    }
    Ok(())
}

/// Keeps the system fields of a changed object, and of the rest what this endpoint may not change.
pub(super) fn confine(call: &Call, kind: &Kind, old: &Value, object: &mut Value) {
    meta::set(object, "selfLink", None);
    for field in SYSTEM {
        // A patch that names another uid is refused by the validation.
        if field != "uid" || meta::text(object, "uid").is_empty() {
            meta::set(object, field, old["metadata"].get(field).cloned());
        }
    }
    if call.target.subresource == "status" {
        let managed = object["metadata"].get("managedFields").cloned();
        let status = object.get("status").cloned();
        let metadata = object["metadata"].clone();
        *object = old.clone();
        if kind.is_custom() {
            meta::set(object, "managedFields", managed);
        } else {
            object["metadata"] = metadata;
        }
        put(object, "status", status);
    } else {
        if kind.status {
            put(object, "status", old.get("status").cloned());
        }
        unique_owners(object);
    }
}

fn put(object: &mut Value, field: &str, value: Option<Value>) {
    let Some(map) = object.as_object_mut() else { return };
    match value {
        Some(value) => drop(map.insert(field.to_owned(), value)),
        None => drop(map.remove(field)),
    }
}

/// Sets what the kind's rules and the generation say after the change.
pub(super) fn prepare(call: &Call, kind: &Kind, old: Option<&Value>, object: &mut Value) {
    let context = Context { snapshot: &call.snapshot, now: &call.timestamp(), subresource: &call.target.subresource };
    kind.rules().prepare(&context, object, old);
    if let Some(old) = old {
        count_generation(kind, old, object);
    }
}

/// Counts a change of the spec: of anything but metadata, and but the status where that is a subresource.
pub(super) fn count_generation(kind: &Kind, old: &Value, object: &mut Value) {
    if !kind.behaviour.generation {
        return;
    }
    let is_counted = |field: &str| field != "metadata" && !(kind.status && field == "status");
    let within = |one: &Value, other: &Value| {
        let mut fields = one.as_object().into_iter().flatten().filter(|(field, _)| is_counted(field));
        fields.all(|(field, value)| other.get(field) == Some(value))
    };
    if !within(old, object) || !within(object, old) {
        let next = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        meta::set(object, "generation", Some(next.into()));
    }
}

/// Drops owners that are named twice.
fn unique_owners(object: &mut Value) {
    if let Some(owners) = object["metadata"].get_mut("ownerReferences").and_then(Value::as_array_mut) {
        let mut seen = HashSet::new();
        owners.retain(|owner| seen.insert(owner.clone()));
    }
}
