//! Patches: JSON patch, merge patch, strategic merge patch, and server-side apply.

use bytes::Bytes;
use http::StatusCode;
use nubium_schema::Document;
use nubium_schema::ownership::{self, ApplyError, Request};
use nubium_schema::patch::{JsonPatch, PatchError, apply_merge_patch, apply_strategic_merge_patch};
use serde_json::{Value, json};

use super::intake::{self, Intake, Origin};
use super::update::{self, Own, TRIES};
use super::{create, prepare};
use crate::call::Call;
use crate::failure::Failure;
use crate::http::media::{PatchForm, patch_form};
use crate::http::options::FieldValidation;
use crate::http::reply::Reply;
use crate::kind::Kind;
use crate::object::meta;

/// A patch, parsed.
enum Patch {
    Json(JsonPatch),
    Merge(Value),
    Strategic(Value),
    Apply(Value),
}

/// `PATCH` of an object or of its status.
pub(crate) async fn patch(call: &Call, kind: &Kind, body: Bytes) -> Result<Reply, Failure> {
    let (patch, duplicates) = parse(call, kind, &body)?;
    let mut patched_once = None;
    for _ in 0..TRIES {
        let stored = update::live(call, kind).await?;
        let live = stored.as_ref().map(|stored| update::read(kind, stored)).transpose()?;
        let Some((stored, live)) = stored.zip(live) else {
            let Patch::Apply(config) = &patch else {
                return Err(Failure::not_found(kind.subject(), &call.target.name));
            };
            return apply_new(call, kind, config, duplicates).await;
        };
        let own = if matches!(patch, Patch::Apply(_)) { Own::Told } else { Own::Tell };
        let patched = apply(call, kind, &patch, &live)?;
        // A revision that the patch itself names is a condition; else the patch is tried again on what is newer.
        let conditional = meta::text(&patched, "resourceVersion") != meta::text(&live, "resourceVersion");
        let Intake { mut object, mut warnings } =
            intake::cleaned(call, kind, patched, duplicates.clone(), Origin::Patch)?;
        prepare::place(call, kind, &mut object)?;
        if meta::text(&object, "resourceVersion").is_empty() {
            meta::set(&mut object, "resourceVersion", live["metadata"].get("resourceVersion").cloned());
        }
        match update::change(call, kind, &stored, object, own).await? {
            Some(changed) => {
                warnings.extend(changed.warnings);
                return Ok(call.shape(kind)?.reply(StatusCode::OK, changed.object).warn(warnings));
            }
            None if conditional => break,
            None => patched_once = Some(()),
        }
    }
    tracing::debug!(retried = patched_once.is_some(), "a patch lost to other writers");
    Err(Failure::modified(kind.subject(), &call.target.name))
}

fn parse(call: &Call, kind: &Kind, body: &Bytes) -> Result<(Patch, Vec<String>), Failure> {
    let form = patch_form(&call.headers, !kind.is_custom())?;
    if call.options.force.is_some() && form != PatchForm::Apply {
        return Err(patch_options("force", "may not be specified for non-apply patch"));
    }
    let document = match form {
        PatchForm::Apply => {
            if call.options.field_manager.is_empty() {
                return Err(Failure::invalid(
                    "meta.k8s.io",
                    "PatchOptions",
                    "",
                    &[nubium_schema::FieldError::required("fieldManager", "is required for apply patch")],
                ));
            }
            Document::from_yaml(body).map_err(|error| Failure::bad_request(format!("error decoding YAML: {error}")))?
        }
        _ => {
            Document::from_json(body).map_err(|error| Failure::bad_request(format!("error decoding patch: {error}")))?
        }
    };
    let complaints: Vec<String> = document.duplicates.iter().map(|path| format!("duplicate field {path:?}")).collect();
    if form == PatchForm::Apply && call.options.field_validation == FieldValidation::Strict && !complaints.is_empty() {
        let error = nubium_schema::document::strict_decoding_error(&complaints);
        return Err(Failure::bad_request(format!("error {error}")));
    }
    let patch = match form {
        PatchForm::Json => Patch::Json(JsonPatch::decode(&document.value).map_err(|error| refused(&error))?),
        PatchForm::Merge => Patch::Merge(document.value),
        PatchForm::Strategic => Patch::Strategic(document.value),
        PatchForm::Apply => Patch::Apply(document.value),
    };
    Ok((patch, complaints))
}

fn patch_options(field: &str, why: &str) -> Failure {
    let error = nubium_schema::FieldError::forbidden(field, why);
    Failure::invalid("meta.k8s.io", "PatchOptions", "", &[error])
}

fn refused(error: &PatchError) -> Failure {
    match error.status() {
        413 => Failure::too_large(crate::http::body::LIMIT),
        422 => Failure::unprocessable(error.to_string()),
        _ => Failure::bad_request(error.to_string()),
    }
}

/// The object that the patch makes of `live`.
fn apply(call: &Call, kind: &Kind, patch: &Patch, live: &Value) -> Result<Value, Failure> {
    let mut object = live.clone();
    match patch {
        Patch::Json(patch) => patch.apply(&mut object).map_err(|error| refused(&error))?,
        Patch::Merge(patch) => apply_merge_patch(&mut object, patch).map_err(|error| refused(&error))?,
        Patch::Strategic(patch) => {
            apply_strategic_merge_patch(&kind.schema, &mut object, patch).map_err(|error| refused(&error))?;
        }
        Patch::Apply(config) => return applied(call, kind, Some(live), config),
    }
    Ok(object)
}

/// Server-side apply: the object, with its new owners.
fn applied(call: &Call, kind: &Kind, live: Option<&Value>, config: &Value) -> Result<Value, Failure> {
    let (api_version, now) = (kind.api_version(), call.timestamp());
    let (reset, empty) = (prepare::reset_fields(call, kind), kind.empty());
    let convert = |value: &Value, version: &str| prepare::converted(call, kind, value, version);
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
    if let Some(live) = live.filter(|live| !wanted.is_empty() && wanted != meta::text(live, "resourceVersion")) {
        return Err(Failure::modified(kind.subject(), meta::text(live, "name")));
    }
    ownership::apply(live, config, &kind.ownership, &request).map_err(|error| match error {
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

/// An apply of what is not there: a create, by whoever may create.
async fn apply_new(call: &Call, kind: &Kind, config: &Value, duplicates: Vec<String>) -> Result<Reply, Failure> {
    let name = &call.target.name;
    if !call.target.subresource.is_empty() {
        return Err(Failure::not_found(kind.subject(), name));
    }
    call.allow("create", name)?;
    if !meta::text(config, "uid").is_empty() {
        let why = format!(
            "uid mismatch: the provided object specified uid {}, and no existing object was found",
            meta::text(config, "uid")
        );
        return Err(Failure::conflict(kind.subject(), name, &why));
    }
    let object = applied(call, kind, None, config)?;
    let Intake { object, mut warnings } = intake::cleaned(call, kind, object, duplicates, Origin::Patch)?;
    let (object, more) = create::applied(call, kind, object).await?;
    warnings.extend(more);
    Ok(call.shape(kind)?.reply(StatusCode::CREATED, object).warn(warnings))
}
