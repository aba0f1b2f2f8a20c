//! ConfigMaps: text and binary values under distinct keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nubium_schema::FieldError;
use serde_json::Value;

use super::payload::{LIMIT, check_key, entries, immutable};
use super::qualified::unqualified_finalizers;
use crate::kind::rules::{Builtin, Context};

#[derive(Debug)]
pub(super) struct ConfigMap;

impl Builtin for ConfigMap {
    fn validate(&self, _: &Context<'_>, object: &Value, old: Option<&Value>, _: &mut Vec<String>) -> Vec<FieldError> {
        let mut errors = unqualified_finalizers(object);
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
        if let Some(old) = old {
            errors.extend(immutable(object, old, &["data", "binaryData"]));
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Snapshot;
    use serde_json::json;

    fn validate(object: &Value, old: Option<&Value>) -> Vec<String> {
        let context = Context { snapshot: &Snapshot::default(), now: "", subresource: "" };
        let errors = ConfigMap.validate(&context, object, old, &mut Vec::new());
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_immutable_stays() {
        let live = json!({"immutable": true, "data": {"a": "1"}});
        assert!(validate(&live, Some(&live)).is_empty());
        let changed = json!({"data": {"a": "2"}});
        assert_eq!(
            validate(&changed, Some(&live)),
            [
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ]
        );
    }
}
