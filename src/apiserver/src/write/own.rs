//! Field ownership: who set which field, and what a server-side apply makes of it.

use nubium_schema::ownership::{self, ApplyError, Path, Request, Set, TypeRef};
use serde_json::{Value, json};

use crate::call::Call;
use crate::failure::{Failure, chain};
use crate::kind::Kind;
use crate::object::meta;

/// The fields that this endpoint never takes from a client.
fn reset_fields(call: &Call, kind: &Kind) -> Option<Set> {
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
pub(super) fn record(call: &Call, kind: &Kind, old: Option<&Value>, object: &mut Value) {
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
    if let Err(error) = ownership::after_update(old, object, &kind.ownership, &request) {
        // As Kubernetes: the write counts, only managedFields stay as they are. Validation says what is wrong with it.
        tracing::debug!(error = %chain(&error), "cannot compute managedFields");
    }
}

/// Server-side apply: the object, with its new owners.
pub(super) fn apply(call: &Call, kind: &Kind, old: Option<&Value>, config: &Value) -> Result<Value, Failure> {
    let (api_version, now) = (kind.api_version(), call.timestamp());
    let (reset, empty) = (reset_fields(call, kind), kind.empty());
    let convert = |value: &Value, version: &str| converted(call, kind, value, version);
    let request = Request {
        manager: &call.options.field_manager,
        api_version: &api_version,
        kind: &kind.kind,
        subresource: &call.target.subresource,
        force: call.options.force.unwrap_or(false),
        now: &now,
        reset_fields: reset.as_ref(),
        empty: Some(&empty),
        conversion: Some(&convert),
    };
    let wanted = meta::text(config, "resourceVersion");
    if let Some(old) = old.filter(|old| !matches!(wanted, "" | "0") && wanted != meta::text(old, "resourceVersion")) {
        return Err(Failure::modified(kind.subject(), meta::text(old, "name")));
    }
    ownership::apply(old, config, &kind.ownership, &request).map_err(|error| match error {
        ApplyError::Conflicts(ref conflicts) => {
            let causes = conflicts.0.iter().map(|conflict| {
                json!({
                    "reason": "FieldManagerConflict", "message": format!("conflict with {}", conflict.manager),
                    "field": conflict.path.to_string(),
                })
            });
            Failure::apply_conflict(error.to_string(), causes.collect())
        }
        ApplyError::OtherKind { .. } | ApplyError::ManagedFieldsInConfig => Failure::bad_request(error.to_string()),
        error => Failure::failed(error.to_string()),
    })
}

/// The object in another version of its kind, for owners that were recorded in that one. As in Kubernetes,
/// owners that were recorded in another group are forgotten.
fn converted(call: &Call, kind: &Kind, object: &Value, api_version: &str) -> Option<(Value, TypeRef)> {
    let mut others = call.snapshot.kinds().filter(|other| other.is(&kind.group, &kind.plural));
    let other = others.find(|other| other.api_version() == api_version)?;
    Some((other.convert(object.clone()), other.ownership.clone()))
}
