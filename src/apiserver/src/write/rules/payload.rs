//! Secrets and ConfigMaps: keys, sizes, what is fixed once written, and text that becomes data.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nubium_schema::FieldError;
use serde_json::{Map, Value, json};

use crate::object::meta;

/// All values of a Secret or ConfigMap together.
const LIMIT: usize = 1 << 20;

const KEY_RULE: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  \
or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/// `stringData` becomes `data`, and is never stored.
pub(super) fn default_secret(object: &mut Value) {
    let Some(map) = object.as_object_mut() else { return };
    let Some(Value::Object(texts)) = map.remove("stringData") else { return };
    let data = map.entry("data").or_insert_with(|| json!({}));
    if !data.is_object() {
        *data = json!({});
    }
    if let Some(data) = data.as_object_mut() {
        for (key, text) in texts {
            data.insert(key, STANDARD.encode(text.as_str().unwrap_or_default()).into());
        }
    }
}

pub(super) fn check_secret(object: &Value, live: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size = 0;
    for (key, value) in entries(object, "data") {
        check_key("data", key, &mut errors);
        match STANDARD.decode(value.as_str().unwrap_or_default()) {
            Ok(bytes) => size += bytes.len(),
            Err(error) => {
                let why = format!("illegal base64 data: {error}");
                errors.push(FieldError::invalid(format!("data[{key}]"), value.clone(), why));
            }
        }
    }
    if size > LIMIT {
        errors.push(FieldError::too_long("data", LIMIT as u64));
    }
    errors.extend(required(object));
    if let Some(live) = live {
        if live["type"] != object["type"] {
            errors.push(FieldError::invalid("type", object["type"].clone(), "field is immutable"));
        }
        errors.extend(immutable(object, live, &["data"]));
    }
    errors
}

/// The keys that Secrets of a known type must have.
fn required(object: &Value) -> Vec<FieldError> {
    let has = |key: &str| object["data"].get(key).is_some();
    let missing = |key: &str| FieldError::required(format!("data[{key}]"), "");
    match object["type"].as_str().unwrap_or_default() {
        "kubernetes.io/tls" => ["tls.crt", "tls.key"].into_iter().filter(|key| !has(key)).map(missing).collect(),
        "kubernetes.io/ssh-auth" if !has("ssh-privatekey") => vec![missing("ssh-privatekey")],
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            vec![missing("username"), missing("password")]
        }
        "kubernetes.io/dockerconfigjson" if !has(".dockerconfigjson") => vec![missing(".dockerconfigjson")],
        "kubernetes.io/dockercfg" if !has(".dockercfg") => vec![missing(".dockercfg")],
        "kubernetes.io/service-account-token" => {
            let name = "kubernetes.io/service-account.name";
            let said = object["metadata"]["annotations"][name].as_str().is_some_and(|account| !account.is_empty());
            let field = format!("metadata.annotations[{name}]");
            if said { Vec::new() } else { vec![FieldError::required(field, "")] }
        }
        _ => Vec::new(),
    }
}

pub(super) fn check_config_map(object: &Value, live: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size = 0;
    for (key, value) in entries(object, "data") {
        check_key("data", key, &mut errors);
        if object["binaryData"].get(key).is_some() {
            let why = "duplicate of key present in binaryData";
            errors.push(FieldError::invalid(format!("data[{key}]"), key.as_str(), why));
        }
        size += value.as_str().unwrap_or_default().len();
    }
    for (key, value) in entries(object, "binaryData") {
        check_key("binaryData", key, &mut errors);
        match STANDARD.decode(value.as_str().unwrap_or_default()) {
            Ok(bytes) => size += bytes.len(),
            Err(error) => {
                let why = format!("illegal base64 data: {error}");
                errors.push(FieldError::invalid(format!("binaryData[{key}]"), value.clone(), why));
            }
        }
    }
    if size > LIMIT {
        errors.push(FieldError::too_long("", LIMIT as u64));
    }
    if let Some(live) = live {
        errors.extend(immutable(object, live, &["data", "binaryData"]));
    }
    errors
}

fn entries<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    object[field].as_object().into_iter().flat_map(Map::iter)
}

fn check_key(field: &str, key: &str, errors: &mut Vec<FieldError>) {
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
fn immutable(object: &Value, live: &Value, fields: &[&str]) -> Vec<FieldError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn text_becomes_data_and_wins_over_it() {
        let mut secret = json!({"data": {"a": "eA=="}, "stringData": {"a": "y", "b": "z"}});
        default_secret(&mut secret);
        assert_eq!(secret, json!({"data": {"a": "eQ==", "b": "eg=="}}));
    }

    #[test]
    fn what_is_immutable_stays() {
        let live = json!({"immutable": true, "data": {"a": "1"}});
        assert!(check_config_map(&live, Some(&live)).is_empty());
        let changed = json!({"data": {"a": "2"}});
        assert_eq!(
            texts(&check_config_map(&changed, Some(&live))),
            [
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ]
        );
    }

    #[test]
    fn a_secret_of_a_known_type_has_its_keys() {
        let secret = json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}});
        assert_eq!(texts(&check_secret(&secret, None)), ["data[tls.key]: Required value"]);
        let bad = json!({"type": "Opaque", "data": {"a b": "!"}});
        assert_eq!(check_secret(&bad, None).len(), 2);
    }
}
