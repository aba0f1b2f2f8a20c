//! Secrets: values are base64, text becomes data, known types have their keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nubium_schema::FieldError;
use serde_json::{Value, json};

use super::payload::{LIMIT, check_key, entries, immutable};
use super::qualified::unqualified_finalizers;
use crate::kind::rules::{Builtin, Context};

#[derive(Debug)]
pub(super) struct Secret;

impl Builtin for Secret {
    /// `stringData` becomes `data`, and is never stored.
    fn default(&self, object: &mut Value) {
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

    fn validate(&self, _: &Context<'_>, object: &Value, old: Option<&Value>, _: &mut Vec<String>) -> Vec<FieldError> {
        let mut errors = unqualified_finalizers(object);
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
        if let Some(old) = old {
            if old["type"] != object["type"] {
                errors.push(FieldError::invalid("type", object["type"].clone(), "field is immutable"));
            }
            errors.extend(immutable(object, old, &["data"]));
        }
        errors
    }
}

/// The keys that Secrets of a known type must have.
fn required(object: &Value) -> Vec<FieldError> {
    let has = |key: &str| object["data"].get(key).is_some();
    let missing = |key: &str| FieldError::required(format!("data[{key}]"), "");
    match object["type"].as_str().unwrap_or_default() {
        "kubernetes.io/tls" => ["tls.crt", "tls.key"].into_iter().filter(|key| !has(key)).map(missing).collect(),
        "kubernetes.io/ssh-auth" if object["data"]["ssh-privatekey"].as_str().is_none_or(str::is_empty) => {
            vec![missing("ssh-privatekey")]
        }
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            vec![missing("username"), missing("password")]
        }
        "kubernetes.io/dockerconfigjson" if !has(".dockerconfigjson") => vec![missing(".dockerconfigjson")],
        "kubernetes.io/dockerconfigjson" => not_json(object, ".dockerconfigjson").into_iter().collect(),
        "kubernetes.io/dockercfg" if !has(".dockercfg") => vec![missing(".dockercfg")],
        "kubernetes.io/dockercfg" => not_json(object, ".dockercfg").into_iter().collect(),
        "kubernetes.io/service-account-token" => {
            let name = "kubernetes.io/service-account.name";
            let said = object["metadata"]["annotations"][name].as_str().is_some_and(|account| !account.is_empty());
            let field = format!("metadata.annotations[{name}]");
            if said { Vec::new() } else { vec![FieldError::required(field, "")] }
        }
        _ => Vec::new(),
    }
}

/// What is wrong with a value that must hold a JSON object; the value itself is secret.
fn not_json(object: &Value, key: &str) -> Option<FieldError> {
    let bytes = STANDARD.decode(object["data"][key].as_str().unwrap_or_default()).ok()?;
    let why = match serde_json::from_slice(&bytes) {
        Ok(Value::Object(_) | Value::Null) => return None,
        Ok(other) => {
            let kind = match other {
                Value::Array(_) => "array",
                Value::String(_) => "string",
                Value::Number(_) => "number",
                _ => "bool",
            };
            format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}")
        }
        Err(error) => error.to_string(),
    };
    Some(FieldError::invalid(format!("data[{key}]"), "<secret contents redacted>", why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Snapshot;

    fn validate(object: &Value, old: Option<&Value>) -> Vec<String> {
        let context = Context { snapshot: &Snapshot::default(), now: "", subresource: "" };
        let errors = Secret.validate(&context, object, old, &mut Vec::new());
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn text_becomes_data_and_wins_over_it() {
        let mut secret = json!({"data": {"a": "eA=="}, "stringData": {"a": "y", "b": "z"}});
        Secret.default(&mut secret);
        assert_eq!(secret, json!({"data": {"a": "eQ==", "b": "eg=="}}));
    }

    #[test]
    fn a_secret_of_a_known_type_has_its_keys() {
        let secret = json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}});
        assert_eq!(validate(&secret, None), ["data[tls.key]: Required value"]);
        for (text, errors) in [("{\"auths\":{}}", 0), ("null", 0), ("[]", 1), ("{", 1)] {
            let key = ".dockerconfigjson";
            let secret = json!({"type": "kubernetes.io/dockerconfigjson", "data": {key: STANDARD.encode(text)}});
            assert_eq!(validate(&secret, None).len(), errors, "{text}");
        }
        let bad = json!({"type": "Opaque", "data": {"a b": "!"}});
        assert_eq!(validate(&bad, None).len(), 2);
    }
}
