//! Validation of an object about to be stored: metadata, schema, rules of the kind, all errors at once.

use std::borrow::Cow;

use nubium_schema::names::{validate_object_meta, validate_object_meta_update};
use serde_json::Value;

use crate::call::Call;
use crate::failure::Failure;
use crate::http::target::Target;
use crate::kind::{Context, Kind};
use crate::object::meta::{self, CLEANUP, FOREGROUND, ORPHAN};

/// Refuses an object that is not valid as a whole; answers warnings.
pub(super) fn validate(call: &Call, kind: &Kind, object: &Value, old: Option<&Value>) -> Result<Vec<String>, Failure> {
    let said = without_nulls(kind, object);
    let (object, metadata) = (&*said, &object["metadata"]);
    let mut errors = match old {
        None => validate_object_meta(metadata, kind.namespaced, kind.behaviour.names),
        Some(old) => validate_object_meta_update(metadata, &old["metadata"]),
    };
    errors.extend(kind.schema.check(object, old));
    let is_custom = kind.behaviour.definition.is_some();
    let mut warnings = if is_custom { finalizer_warnings(object, old) } else { Vec::new() };
    warnings.extend(field_warnings(call, object));
    let context = Context { snapshot: &call.snapshot, now: &call.timestamp(), subresource: &call.target.subresource };
    errors.extend(kind.rules().validate(&context, object, old, &mut warnings));
    if errors.is_empty() {
        return Ok(warnings);
    }
    Err(Failure::invalid(kind.validated_group(), &kind.kind, meta::text(object, "name"), &errors))
}

/// The warnings for fields that the object sets and that have one.
fn field_warnings(call: &Call, object: &Value) -> Vec<String> {
    let Target { group, resource, subresource, .. } = &call.target;
    let all = &call.state.config.field_warnings;
    let here = all.iter().filter(|it| subresource.is_empty() && it.group == *group && it.resource == *resource);
    here.filter(|it| is_set(object, &it.path)).map(|it| it.text.clone()).collect()
}

/// Whether there is a value at that path; `[]` in it stands for every item of a list.
fn is_set(value: &Value, path: &str) -> bool {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let (name, each) = first.strip_suffix("[]").map_or((first, false), |name| (name, true));
    let below = |value: &Value| !value.is_null() && (rest.is_empty() || is_set(value, rest));
    match &value[name] {
        Value::Array(items) if each => items.iter().any(below),
        field => !each && below(field),
    }
}

/// The object without the nulls that are written where nothing was said.
fn without_nulls<'a>(kind: &Kind, object: &'a Value) -> Cow<'a, Value> {
    let nulls = kind.behaviour.defaults.iter().filter(|(field, default)| default.is_null() && object[*field].is_null());
    let nulls: Vec<&String> = nulls.map(|(field, _)| field).collect();
    if nulls.is_empty() {
        return Cow::Borrowed(object);
    }
    let mut said = object.clone();
    if let Some(fields) = said.as_object_mut() {
        nulls.into_iter().for_each(|field| drop(fields.remove(field)));
    }
    Cow::Owned(said)
}

/// Warns of new finalizers of a custom resource whose names say nobody's domain.
fn finalizer_warnings(object: &Value, old: Option<&Value>) -> Vec<String> {
    let before = old.map(meta::finalizers).unwrap_or_default();
    let plain = |name: &&str| !name.contains('/') && !matches!(*name, FOREGROUND | ORPHAN | "kubernetes");
    let new = meta::finalizers(object).into_iter().filter(|name| !before.contains(name) && *name != CLEANUP);
    let advice = "prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers";
    new.filter(plain).map(|name| format!("metadata.finalizers: {name:?}: {advice}")).collect()
}
