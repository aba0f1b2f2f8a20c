//! Patches: JSON patch, merge patch, strategic merge patch, and server-side apply.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use nubium_schema::Document;
use nubium_schema::patch::{JsonPatch, PatchError, apply_merge_patch, apply_strategic_merge_patch};
use nubium_store::Object;
use serde_json::Value;

use super::commit::Prepared;
use super::create::{self, Origin};
use super::intake::{self, Intake};
use super::pipeline::{self, Change, Live, Owners, TRIES};
use super::{own, prepare};
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
pub(crate) async fn patch(call: &Arc<Call>, kind: &Arc<Kind>, body: Bytes) -> Result<Reply, Failure> {
    for _ in 0..TRIES {
        let (stored, read) = (call.stored(kind).await?, body.clone());
        let bytes = body.len().max(stored.as_ref().map_or(0, |stored| stored.value.len()));
        let work = move |call: &Call, kind: &Kind| computed(call, kind, &read, stored);
        let Some(Computed { prepared, is_conditional }) = call.compute(kind, bytes, work).await? else {
            return create::new(call, kind, &body, Origin { make: apply_new, owners: Owners::Given }).await;
        };
        match prepared.commit(call, kind).await? {
            Some(written) => return written.reply(call, kind, bytes, StatusCode::OK).await,
            None if is_conditional => break,
            None => {}
        }
    }
    Err(Failure::modified(kind.subject(), &call.target.name))
}

struct Computed {
    prepared: Prepared,
    /// Whether it may only replace what was read. A revision that the patch itself names is a condition; else the patch is
    /// tried again on what is newer.
    is_conditional: bool,
}

/// The change of what is stored; `None` when the object is to be created, by an apply.
fn computed(call: &Call, kind: &Kind, body: &Bytes, stored: Option<Object>) -> Result<Option<Computed>, Failure> {
    let (patch, duplicates) = parse(call, kind, body)?;
    let Some(stored) = stored else {
        let is_apply = matches!(patch, Patch::Apply(_)) && call.target.subresource.is_empty();
        return if is_apply { Ok(None) } else { Err(Failure::not_found(kind.subject(), &call.target.name)) };
    };
    let live = Live::read(kind, stored)?;
    let owners = if matches!(patch, Patch::Apply(_)) { Owners::Given } else { Owners::Compute };
    let patched = patched(call, kind, &patch, &live.object)?;
    is_same_kind(kind, &patched)?;
    let version = meta::text(&live.object, "resourceVersion");
    let is_conditional = meta::text(&patched, "resourceVersion") != version;
    let Intake { mut object, warnings } =
        intake::cleaned(call, kind, patched, duplicates, intake::Origin::Patch { is_new: false })?;
    prepare::place(call, kind, &mut object)?;
    if meta::text(&object, "resourceVersion").is_empty() {
        meta::set(&mut object, "resourceVersion", Some(version.into()));
    }
    let prepared = pipeline::run(call, kind, Change::update(call, &live, object, owners))?.after(warnings);
    Ok(Some(Computed { prepared, is_conditional }))
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
fn patched(call: &Call, kind: &Kind, patch: &Patch, live: &Value) -> Result<Value, Failure> {
    let mut object = live.clone();
    match patch {
        Patch::Json(patch) => patch.apply(&mut object).map_err(|error| refused(&error))?,
        Patch::Merge(patch) => apply_merge_patch(&mut object, patch).map_err(|error| refused(&error))?,
        Patch::Strategic(patch) => {
            apply_strategic_merge_patch(&kind.schema, &mut object, patch).map_err(|error| refused(&error))?;
        }
        Patch::Apply(config) => return own::apply(call, kind, Some(live), config),
    }
    Ok(object)
}

/// Refuses the result of a patch that is an object of another kind, or none.
fn is_same_kind(kind: &Kind, patched: &Value) -> Result<(), Failure> {
    let invalid = |why: String| {
        let error = nubium_schema::FieldError::invalid("patch", patched.to_string(), why);
        Err(Failure::invalid("", "", "", &[error]))
    };
    for (field, want) in [("apiVersion", kind.api_version()), ("kind", kind.kind.clone())] {
        match &patched[field] {
            Value::String(found) if *found == want => {}
            Value::String(found) => return invalid(format!("{field} is {found:?}, it must be {want:?}")),
            Value::Null => return invalid(format!("{field} must be {want:?}")),
            _ => return invalid(format!("{field} must be a string")),
        }
    }
    match &patched["metadata"] {
        Value::Object(_) | Value::Null => Ok(()),
        _ => invalid("metadata must be an object".to_owned()),
    }
}

/// An apply of what is not there: a create, by whoever may create.
fn apply_new(call: &Call, kind: &Kind, body: &Bytes) -> Result<Intake, Failure> {
    let (patch, duplicates) = parse(call, kind, body)?;
    let name = &call.target.name;
    let Patch::Apply(config) = patch else { return Err(Failure::not_found(kind.subject(), name)) };
    call.allow("create", Some(name))?;
    if !meta::text(&config, "uid").is_empty() {
        let why = format!(
            "uid mismatch: the provided object specified uid {}, and no existing object was found",
            meta::text(&config, "uid")
        );
        return Err(Failure::conflict(kind.subject(), name, &why));
    }
    let mut object = own::apply(call, kind, None, &config)?;
    if meta::text(&object, "name").is_empty() {
        meta::set(&mut object, "name", Some(name.as_str().into()));
    }
    intake::cleaned(call, kind, object, duplicates, intake::Origin::Patch { is_new: true })
}
