//! From `kubectl apply` to `kubectl apply --server-side`.
//!
//! Client-side apply leaves what it applied in an annotation. A server-side apply by the same tool takes over what the
//! annotation says and still holds, without a conflict, and keeps the annotation up to date so that the user can go back.

use serde_json::{Value, json};

use super::{ApplyError, Identity, Request};
use crate::ownership::{
    Set, TypeRef,
    merge::Conflicts,
    typed::{Duplicates, Typed},
};

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
const MOST_ANNOTATIONS: usize = 256 * 1024;

/// Lets conflicts pass that are about what the same user applied on the client's side.
///
/// # Errors
/// The conflicts that remain.
pub(super) fn settle(
    conflicts: Conflicts<Identity>,
    live: &Value,
    ty: &TypeRef,
    request: &Request,
) -> Result<(), ApplyError> {
    let Some(allowed) = applied_before(live, ty, request) else { return Err(ApplyError::Conflicts(conflicts)) };
    let remaining = conflicts.0.into_iter().filter(|conflict| !allowed.has(&conflict.path));
    let remaining = Conflicts(remaining.collect());
    if remaining.0.is_empty() { Ok(()) } else { Err(ApplyError::Conflicts(remaining)) }
}

/// The places that the annotation and the object agree on.
fn applied_before(live: &Value, ty: &TypeRef, request: &Request) -> Option<Set> {
    let annotation = annotation(live)?;
    let applied: Value = serde_json::from_str(annotation).ok()?;
    if applied["apiVersion"] != request.api_version {
        return None;
    }
    let live = Typed::borrowed(live, ty, Duplicates::Refused).ok()?;
    let applied = Typed::borrowed(&applied, ty, Duplicates::Refused).ok()?;
    let changes = applied.compare(&live).ok()?;
    let set = applied.to_field_set().difference(&changes.modified);
    Some(set.difference(&changes.added).difference(&changes.removed))
}

/// Writes what was applied into the annotation of an object that has one, unless it would be too large: then it goes.
pub(super) fn renew(object: &mut Value, config: &Value) {
    if annotation(object).is_none() {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION);
    }
    let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    let Some(annotations) = annotations else { return };
    // The same bytes that kubectl would write.
    let text = config.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026") + "\n";
    annotations.insert(ANNOTATION.to_owned(), json!(text));
    let size: usize = annotations.iter().map(|(name, value)| name.len() + value.as_str().map_or(0, str::len)).sum();
    if size > MOST_ANNOTATIONS {
        annotations.remove(ANNOTATION);
    }
}

fn annotation(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][ANNOTATION].as_str().filter(|text| !text.is_empty())
}
