//! The `x-kubernetes-*` keywords: list types and their keys, map types, embedded resources.

use serde_json::{Map, Value};

use super::{Check, PRESERVE, is_true, text};
use crate::error::FieldError;
use crate::structural::checks::strings;

impl Check {
    pub(super) fn extensions(&mut self, schema: &Map<String, Value>) {
        let kind = text(schema, "type");
        if is_true(schema, "x-kubernetes-int-or-string") {
            for key in [PRESERVE, "x-kubernetes-embedded-resource"] {
                if is_true(schema, key) {
                    self.invalid(key, true, "must be false if x-kubernetes-int-or-string is true");
                }
            }
        }
        if schema.get(PRESERVE) == Some(&Value::Bool(false)) {
            self.invalid(PRESERVE, false, "must be true or undefined");
        }
        if let Some(map_type) = schema.get("x-kubernetes-map-type").and_then(Value::as_str) {
            let detail = "must be object if x-kubernetes-map-type is specified";
            match kind {
                "object" => {}
                "" => self.require("type", detail),
                other => self.invalid("type", other, detail),
            }
            if !matches!(map_type, "atomic" | "granular") {
                let path = self.path.child("x-kubernetes-map-type");
                self.errors.push(FieldError::not_supported(path, map_type, &["atomic", "granular"]));
            }
        }
        self.list_type(schema, kind);
    }

    fn list_type(&mut self, schema: &Map<String, Value>, kind: &str) {
        let list_type = schema.get("x-kubernetes-list-type").and_then(Value::as_str);
        let keys = strings(schema.get("x-kubernetes-list-map-keys"));
        if list_type.is_some() && kind != "array" {
            let detail = "must be array if x-kubernetes-list-type is specified";
            if kind.is_empty() { self.require("type", detail) } else { self.invalid("type", kind, detail) }
        }
        if let Some(other) = list_type.filter(|t| !matches!(*t, "atomic" | "set" | "map")) {
            let path = self.path.child("x-kubernetes-list-type");
            self.errors.push(FieldError::not_supported(path, other, &["atomic", "set", "map"]));
        }
        if !keys.is_empty() && list_type != Some("map") {
            let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
            match list_type {
                None => self.require("x-kubernetes-list-type", detail),
                Some(other) => self.invalid("x-kubernetes-list-type", other, detail),
            }
        }
        let items = schema.get("items").and_then(Value::as_object);
        if matches!(list_type, Some("set" | "map")) && items.is_some_and(|i| is_true(i, "nullable")) {
            let detail = format!("cannot be nullable when x-kubernetes-list-type is {}", list_type.unwrap_or_default());
            self.forbid("items.nullable", &detail);
        }
        match list_type {
            Some("set") => self.set_items(items),
            Some("map") => self.map_keys(&keys, items),
            _ => {}
        }
    }

    /// Items of a set are compared whole.
    fn set_items(&mut self, items: Option<&Map<String, Value>>) {
        let Some(items) = items else { return };
        let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
        match text(items, "type") {
            "array" if !matches!(text(items, "x-kubernetes-list-type"), "" | "atomic") => {
                self.invalid("items.x-kubernetes-list-type", text(items, "x-kubernetes-list-type"), detail);
            }
            "object" if text(items, "x-kubernetes-map-type") != "atomic" => {
                let said = items.get("x-kubernetes-map-type").cloned().unwrap_or_default();
                self.invalid("items.x-kubernetes-map-type", said, detail);
            }
            _ => {}
        }
    }

    fn map_keys(&mut self, keys: &[String], items: Option<&Map<String, Value>>) {
        if keys.is_empty() {
            self.require("x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map");
        }
        let Some(items) = items else {
            self.require("items", "must have a schema if x-kubernetes-list-type is map");
            return;
        };
        if text(items, "type") != "object" {
            let detail = "must be object if parent array's x-kubernetes-list-type is map";
            self.invalid("items.type", text(items, "type"), detail);
        }
        let required = strings(items.get("required"));
        let list = || Value::from(keys.to_vec());
        for (i, key) in keys.iter().enumerate() {
            if keys[..i].contains(key) {
                self.invalid("x-kubernetes-list-map-keys", list(), "must not contain duplicate entries");
                continue;
            }
            let Some(property) = items.get("properties").and_then(|p| p.get(key)).and_then(Value::as_object) else {
                self.invalid("x-kubernetes-list-map-keys", list(), "entries must all be names of item properties");
                continue;
            };
            let at = format!("items.properties[{key}]");
            if matches!(text(property, "type"), "object" | "array") {
                let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                self.invalid(&format!("{at}.type"), text(items, "type"), detail);
            }
            if !required.contains(key) && property.get("default").is_none_or(Value::is_null) {
                let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                self.require(&format!("{at}.default"), detail);
            }
            if is_true(property, "nullable") {
                let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
                self.forbid(&format!("{at}.nullable"), detail);
            }
        }
    }
}
