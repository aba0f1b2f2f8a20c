//! ObjectMeta: names, labels, annotations, owners, finalizers; and what an update may not change.

use serde_json::{Map, Value};

use super::{MAX_ANNOTATIONS_BYTES, NameRule, label_key, label_value};
use crate::error::FieldError;

/// Everything wrong with `metadata` of a new or changed object. Wrong JSON types are the schema's to find; they are
/// passed over here.
pub fn validate_object_meta(metadata: &Value, namespaced: bool, rule: NameRule) -> Vec<FieldError> {
    let at = "metadata";
    let mut errors = Vec::new();
    let generate = text(metadata, "generateName");
    for message in if generate.is_empty() { Vec::new() } else { rule.check(generate, true) } {
        errors.push(FieldError::invalid(format!("{at}.generateName"), generate, message));
    }
    let name = text(metadata, "name");
    if name.is_empty() {
        errors.push(FieldError::required(format!("{at}.name"), "name or generateName is required"));
    } else {
        for message in rule.check(name, false) {
            errors.push(FieldError::invalid(format!("{at}.name"), name, message));
        }
    }
    let namespace = text(metadata, "namespace");
    match (namespaced, namespace.is_empty()) {
        (true, true) => errors.push(FieldError::required(format!("{at}.namespace"), "")),
        (true, false) => {
            for message in NameRule::Label.check(namespace, false) {
                errors.push(FieldError::invalid(format!("{at}.namespace"), namespace, message));
            }
        }
        (false, true) => {}
        (false, false) => errors.push(FieldError::forbidden(format!("{at}.namespace"), "not allowed on this type")),
    }
    errors.extend(validate_common(metadata, at));
    errors
}

/// What every ObjectMeta has to satisfy, also inside another object.
pub(crate) fn validate_embedded_meta(metadata: &Value, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = text(metadata, "name");
    for message in NameRule::PathSegment.check(name, false) {
        errors.push(FieldError::invalid(format!("{at}.name"), name, message));
    }
    errors.extend(validate_common(metadata, at));
    errors
}

fn validate_common(metadata: &Value, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(generation) = metadata.get("generation").and_then(Value::as_i64).filter(|g| *g < 0) {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(format!("{at}.generation"), generation, detail));
    }
    let labels = format!("{at}.labels");
    for (key, value) in map(metadata, "labels") {
        errors.extend(label_key(key).into_iter().map(|m| FieldError::invalid(&labels, key.as_str(), m)));
        let value = value.as_str().unwrap_or_default();
        errors.extend(label_value(value).into_iter().map(|m| FieldError::invalid(&labels, value, m)));
    }
    let annotations = format!("{at}.annotations");
    let mut bytes = 0;
    for (key, value) in map(metadata, "annotations") {
        let found = label_key(&key.to_lowercase());
        errors.extend(found.into_iter().map(|m| FieldError::invalid(&annotations, key.as_str(), m)));
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if bytes > MAX_ANNOTATIONS_BYTES {
        errors.push(FieldError::too_long(&annotations, MAX_ANNOTATIONS_BYTES as u64));
    }
    errors.extend(owners(metadata, &format!("{at}.ownerReferences")));
    errors.extend(finalizers(metadata, &format!("{at}.finalizers")));
    errors
}

fn owners(metadata: &Value, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut controller: Option<String> = None;
    for owner in list(metadata, "ownerReferences") {
        let version = text(owner, "apiVersion");
        if version.matches('/').count() > 1 || version.rsplit('/').next().unwrap_or_default().is_empty() {
            errors.push(FieldError::invalid(format!("{at}.apiVersion"), version, "version must not be empty"));
        }
        for name in ["kind", "name", "uid"] {
            if text(owner, name).is_empty() {
                errors.push(FieldError::invalid(format!("{at}.{name}"), "", "must not be empty"));
            }
        }
        if version == "v1" && text(owner, "kind") == "Event" {
            errors.push(FieldError::invalid(at, owner.clone(), "/v1, Kind=Event is disallowed from being an owner"));
        }
        if owner.get("controller") == Some(&Value::Bool(true)) {
            let current = format!("{}/{}", text(owner, "kind"), text(owner, "name"));
            match &controller {
                Some(first) => {
                    let detail = format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {current}"
                    );
                    errors.push(FieldError::invalid(at, metadata["ownerReferences"].clone(), detail));
                }
                None => controller = Some(current),
            }
        }
    }
    errors
}

fn finalizers(metadata: &Value, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let names: Vec<&str> = list(metadata, "finalizers").iter().filter_map(Value::as_str).collect();
    for name in &names {
        errors.extend(label_key(name).into_iter().map(|m| FieldError::invalid(at, *name, m)));
    }
    if names.contains(&"orphan") && names.contains(&"foregroundDeletion") {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid(at, metadata["finalizers"].clone(), detail));
    }
    errors
}

/// What an update of `old` may not do to `metadata`; in addition to [`validate_object_meta`]'s rules for the new value,
/// which this includes but for names.
pub fn validate_object_meta_update(metadata: &Value, old: &Value) -> Vec<FieldError> {
    let at = "metadata";
    let mut errors = Vec::new();
    if !old.get("deletionTimestamp").unwrap_or(&Value::Null).is_null() {
        let before = list(old, "finalizers");
        let mut extra: Vec<&str> =
            list(metadata, "finalizers").iter().filter(|f| !before.contains(f)).filter_map(Value::as_str).collect();
        extra.sort_unstable();
        if !extra.is_empty() {
            let quoted: Vec<String> = extra.iter().map(|f| crate::go::quote(f)).collect();
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                quoted.join(", ")
            );
            errors.push(FieldError::forbidden(format!("{at}.finalizers"), detail));
        }
    }
    if text(metadata, "resourceVersion").is_empty() {
        errors.push(FieldError::invalid(format!("{at}.resourceVersion"), "", "must be specified for an update"));
    }
    let generation = |m: &Value| m.get("generation").and_then(Value::as_i64).unwrap_or_default();
    if generation(metadata) < generation(old) {
        let detail = "must not be decremented";
        errors.push(FieldError::invalid(format!("{at}.generation"), generation(metadata), detail));
    }
    for name in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let said = |m: &Value| m.get(name).cloned().filter(|v| v != "");
        let (new, before) = (said(metadata), said(old));
        if new.as_ref().filter(|v| !v.is_null()) != before.as_ref().filter(|v| !v.is_null()) {
            let is_text = matches!(name, "name" | "namespace" | "uid");
            let bad = new.unwrap_or(if is_text { "".into() } else { Value::Null });
            errors.push(FieldError::invalid(format!("{at}.{name}"), bad, "field is immutable"));
        }
    }
    errors.extend(validate_common(metadata, at).into_iter().filter(|e| {
        // finalizers are validated on create only, and the decrement above says more about the generation
        !e.field.ends_with(".finalizers") && !e.field.ends_with(".generation")
    }));
    errors
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn map<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    value.get(key).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_object_meta_passes() {
        let meta = json!({"name": "web-1", "namespace": "shop", "labels": {"app": "web"}, "annotations": {"Example.com/X": "any thing"},
            "finalizers": ["nubium.dev/server"], "ownerReferences": [{"apiVersion": "nubium.dev/v1alpha1", "kind": "Server", "name": "a", "uid": "u", "controller": true}]});
        assert_eq!(texts(&validate_object_meta(&meta, true, NameRule::Subdomain)), Vec::<String>::new());
    }

    #[test]
    fn everything_wrong_is_named_at_once() {
        let meta = json!({"namespace": "a.b", "generation": -1, "labels": {"a": "-"}, "annotations": {"a b": ""},
            "finalizers": ["orphan", "foregroundDeletion"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "Event", "name": "e", "uid": "1", "controller": true},
                                {"apiVersion": "", "kind": "B", "name": "b", "uid": "", "controller": true}]});
        let errors = texts(&validate_object_meta(&meta, true, NameRule::Subdomain));
        let starts = [
            "metadata.name: Required value: name or generateName is required",
            "metadata.namespace: Invalid value: \"a.b\": must not contain dots",
            "metadata.generation: Invalid value: -1: must be greater than or equal to 0",
            "metadata.labels: Invalid value: \"-\": a valid label must be",
            "metadata.annotations: Invalid value: \"a b\": name part must consist of",
            "metadata.ownerReferences: Invalid value: {\"apiVersion\":\"v1\",\"controller\":true,\"kind\":\"Event\"",
            "metadata.ownerReferences.apiVersion: Invalid value: \"\": version must not be empty",
            "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty",
            "metadata.ownerReferences: Invalid value: [",
            "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer orphan and foregroundDeletion cannot be both set",
        ];
        assert_eq!(errors.len(), starts.len(), "{errors:#?}");
        for (error, start) in errors.iter().zip(starts) {
            assert!(error.starts_with(start), "{error}\n  should begin with\n{start}");
        }
        let cluster = texts(&validate_object_meta(&json!({"name": "a", "namespace": "b"}), false, NameRule::Subdomain));
        assert_eq!(cluster, ["metadata.namespace: Forbidden: not allowed on this type"]);
    }

    #[test]
    fn annotations_have_a_limit_together() {
        let meta = json!({"name": "a", "annotations": {"a": "x".repeat(200_000), "b": "x".repeat(100_000)}});
        let errors = texts(&validate_object_meta(&meta, false, NameRule::Subdomain));
        assert_eq!(errors, ["metadata.annotations: Too long: may not be more than 262144 bytes"]);
    }

    #[test]
    fn an_update_keeps_identity_and_a_dying_object_takes_no_finalizer() {
        let old = json!({"name": "a", "uid": "1", "resourceVersion": "5", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x/y"]});
        let mut new = old.clone();
        assert!(validate_object_meta_update(&new, &old).is_empty());
        new["finalizers"] = json!(["x/y", "x/z"]);
        new["uid"] = json!("2");
        new["resourceVersion"] = json!("");
        assert_eq!(
            texts(&validate_object_meta_update(&new, &old)),
            [
                r#"metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"x/z"}"#,
                r#"metadata.resourceVersion: Invalid value: "": must be specified for an update"#,
                r#"metadata.uid: Invalid value: "2": field is immutable"#,
            ]
        );
    }
}
