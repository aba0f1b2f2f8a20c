//! What the server itself puts into an object: where it is, who it is, who owns its fields.

use nubium_schema::ownership::{self, Path, Request, Set, TypeRef};
use serde_json::{Value, json};

use crate::call::Call;
use crate::failure::Failure;
use crate::kind::Kind;
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
        meta::set(object, "name", Some(target.name.as_str().into()));
    }
    let namespace = meta::text(object, "namespace");
    if kind.namespaced {
        if !namespace.is_empty() && namespace != target.namespace {
            return Err(Failure::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        meta::set(object, "namespace", Some(target.namespace.as_str().into()));
    } else if namespace.is_empty() {
        meta::set(object, "namespace", None);
    }
    Ok(())
}

/// The system fields of a new object.
pub(super) fn for_create(call: &Call, kind: &Kind, object: &mut Value) {
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"] {
        meta::set(object, field, None);
    }
    meta::set(object, "uid", Some(uuid::Uuid::new_v4().to_string().into()));
    meta::set(object, "creationTimestamp", Some(call.timestamp().into()));
    meta::set(object, "generation", kind.behaviour.generation.then(|| 1.into()));
    if kind.status
        && let Some(object) = object.as_object_mut()
    {
        // Only the status subresource takes a status.
        object.remove("status");
    }
    super::intake::default(kind, object);
    unique_owners(object);
}

/// The system fields of a changed object, and of the rest only what this endpoint may change.
pub(super) fn for_update(call: &Call, kind: &Kind, live: &Value, object: &mut Value) {
    meta::set(object, "selfLink", None);
    for field in SYSTEM {
        // A patch that names another uid is told so by the check.
        if field != "uid" || meta::text(object, "uid").is_empty() {
            meta::set(object, field, live["metadata"].get(field).cloned());
        }
    }
    if call.target.subresource == "status" {
        let managed = object["metadata"].get("managedFields").cloned();
        let status = object.get("status").cloned();
        let metadata = object["metadata"].clone();
        *object = live.clone();
        if kind.is_custom() {
            meta::set(object, "managedFields", managed);
        } else {
            object["metadata"] = metadata;
        }
        put(object, "status", status);
    } else {
        if kind.status {
            put(object, "status", live.get("status").cloned());
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

/// Counts a change of what is wished: anything but metadata, and but the status where that is apart.
pub(super) fn count_generation(kind: &Kind, live: &Value, object: &mut Value) {
    if !kind.behaviour.generation {
        return;
    }
    let wish = |value: &Value| {
        let mut wish = value.as_object().cloned().unwrap_or_default();
        wish.remove("metadata");
        if kind.status {
            wish.remove("status");
        }
        wish
    };
    if wish(live) != wish(object) {
        let next = live["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        meta::set(object, "generation", Some(next.into()));
    }
}

/// Drops owners that are named twice.
fn unique_owners(object: &mut Value) {
    if let Some(owners) = object["metadata"].get_mut("ownerReferences").and_then(Value::as_array_mut) {
        let mut seen = Vec::new();
        owners.retain(|owner| {
            let new = !seen.contains(owner);
            seen.push(owner.clone());
            new
        });
    }
}

/// The fields that this endpoint never takes from a client.
pub(super) fn reset_fields(call: &Call, kind: &Kind) -> Option<Set> {
    match (kind.status, call.target.subresource.as_str()) {
        (true, "status") if kind.is_custom() => {
            let root = kind.schema.root();
            let rest = root.properties().map(|(name, _)| name);
            let rest = rest.filter(|name| !matches!(*name, "status" | "metadata" | "apiVersion" | "kind"));
            Some(rest.map(|name| Path::of_fields([name])).collect())
        }
        (true, "status") => Some([Path::of_fields(["spec"])].into_iter().collect()),
        (true, _) => Some([Path::of_fields(["status"])].into_iter().collect()),
        (false, _) => None,
    }
}

/// Writes who owns which field into the object.
pub(super) fn own(call: &Call, kind: &Kind, live: Option<&Value>, object: &mut Value) -> Result<(), Failure> {
    let (manager, api_version, now) = (call.manager(), kind.api_version(), call.timestamp());
    let (reset, empty) = (reset_fields(call, kind), kind.empty());
    let convert = |value: &Value, version: &str| converted(call, kind, value, version);
    let request = Request {
        manager: &manager,
        api_version: &api_version,
        kind: &kind.kind,
        subresource: &call.target.subresource,
        now: &now,
        reset_fields: reset.as_ref(),
        empty: Some(&empty),
        conversion: Some(&convert),
        ..Request::default()
    };
    if let Err(error) = ownership::after_update(live, object, &kind.ownership, &request) {
        // As Kubernetes: the write counts, only its owners are not known. Validation says what is wrong with it.
        tracing::debug!(error = %crate::chain(&error), "the owners of an object's fields cannot be told");
    }
    Ok(())
}

/// The object in another version of its kind, for owners that were told in that one. As in Kubernetes, owners that were
/// told in another group are forgotten.
pub(super) fn converted(call: &Call, kind: &Kind, object: &Value, api_version: &str) -> Option<(Value, TypeRef)> {
    let mut others = call.snapshot.kinds().filter(|other| other.is(&kind.group, &kind.plural));
    let other = others.find(|other| other.api_version() == api_version)?;
    Some((other.convert(object.clone()), other.ownership.clone()))
}

/// The uid and name that an error or a delete's answer names.
pub(super) fn details(kind: &Kind, object: &Value) -> Value {
    let mut details = json!({
        "name": meta::text(object, "name"), "kind": kind.plural, "uid": meta::text(object, "uid"),
    });
    if !kind.group.is_empty() {
        details["group"] = kind.group.as_str().into();
    }
    details
}
