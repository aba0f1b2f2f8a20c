//! What Secrets and ConfigMaps share: keys, sizes, and what is fixed once written.

use nubium_schema::FieldError;
use serde_json::{Map, Value};

use crate::object::meta;

/// All values of a Secret or ConfigMap together.
pub(super) const LIMIT: usize = 1 << 20;

const KEY_RULE: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  \
or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

pub(super) fn entries<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    object[field].as_object().into_iter().flat_map(Map::iter)
}

pub(super) fn check_key(field: &str, key: &str, errors: &mut Vec<FieldError>) {
    let path = || format!("{field}[{key}]");
    if key.len() > 253 {
        errors.push(FieldError::invalid(path(), key, "must be no more than 253 bytes"));
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if key.is_empty() || !key.bytes().all(fits) {
        errors.push(FieldError::invalid(path(), key, KEY_RULE));
    }
    if key == "." {
        errors.push(FieldError::invalid(path(), key, "must not be '.'"));
    } else if key == ".." {
        errors.push(FieldError::invalid(path(), key, "must not be '..'"));
    } else if key.starts_with("..") {
        errors.push(FieldError::invalid(path(), key, "must not start with '..'"));
    }
}

/// What an object that says `immutable: true` may no longer change.
pub(super) fn immutable(object: &Value, live: &Value, fields: &[&str]) -> Vec<FieldError> {
    if live["immutable"] != true || meta::is_terminating(live) && object == live {
        return Vec::new();
    }
    let why = "field is immutable when `immutable` is set";
    let mut errors = Vec::new();
    if object["immutable"] != true {
        errors.push(FieldError::forbidden("immutable", why));
    }
    for field in fields {
        let empty = |value: &Value| value.as_object().is_none_or(Map::is_empty);
        if object[field] != live[field] && !(empty(&object[field]) && empty(&live[field])) {
            errors.push(FieldError::forbidden(*field, why));
        }
    }
    errors
}
