//! Checks that a CustomResourceDefinition's schema is structural and its Kubernetes extensions are consistent.
//!
//! Structural: every node declares its type once, outside junctors, and junctors only validate values. Only such a schema
//! can prune and default. What Kubernetes refuses is refused here with its paths and texts.

mod complete;
pub(super) mod defaults;
mod extensions;

use serde_json::{Map, Value, json};

use crate::error::FieldError;
use crate::path::FieldPath;
use crate::re2;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Everything that makes Kubernetes refuse the schema (but for CEL rules, which are compiled apart). Sorted by text.
pub fn check_crd_schema(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut check = Check { path: FieldPath::new(path), errors: Vec::new() };
    match schema.as_object() {
        Some(map) => {
            if is_true(map, "nullable") {
                check.forbid("nullable", "nullable cannot be true at the root");
            }
            check.node(map, Level::Root);
            check.complete(map);
        }
        None => check.errors.push(FieldError::required(path, "")),
    }
    check.errors.sort_by_key(ToString::to_string);
    check.errors
}

struct Check {
    path: FieldPath,
    errors: Vec<FieldError>,
}

impl Check {
    fn forbid(&mut self, key: &str, detail: &str) {
        self.errors.push(FieldError::forbidden(self.path.child(key), detail));
    }

    fn require(&mut self, key: &str, detail: &str) {
        self.errors.push(FieldError::required(self.path.child(key), detail));
    }

    fn invalid(&mut self, key: &str, bad: impl Into<Value>, detail: &str) {
        self.errors.push(FieldError::invalid(self.path.child(key), bad, detail));
    }

    fn node(&mut self, schema: &Map<String, Value>, level: Level) {
        let kind = text(schema, "type");
        self.keywords(schema);
        self.extensions(schema);
        if kind == "array" && !schema.contains_key("items") {
            self.require("items", "must be specified");
        }
        self.own_type(schema, kind, level);
        let is_resource = level == Level::Root || is_true(schema, "x-kubernetes-embedded-resource");
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                let mark = self.path.field("properties");
                self.path.key(name);
                match property.as_object() {
                    Some(property) if name == "metadata" && is_resource => self.metadata(property, level),
                    Some(property) => {
                        if is_resource
                            && matches!(name.as_str(), "apiVersion" | "kind")
                            && text(property, "type") != "string"
                        {
                            self.invalid("type", text(property, "type"), "must be string");
                        }
                        self.node(property, Level::Field);
                    }
                    None => self.require("type", "must not be empty for specified object fields"),
                }
                self.path.reset(mark);
            }
        }
        if let Some(additional) = schema.get("additionalProperties") {
            if level == Level::Root {
                self.forbid("additionalProperties", "must not be used at the root");
            }
            if let Some(map) = additional.as_object() {
                self.below("additionalProperties", map, Level::Field);
            }
        }
        match schema.get("items") {
            Some(Value::Object(items)) => self.below("items", items, Level::Item),
            Some(Value::Array(_)) => self.forbid("items", "items must be a schema object and not an array"),
            _ => {}
        }
        self.values(schema);
    }

    fn below(&mut self, key: &str, schema: &Map<String, Value>, level: Level) {
        let mark = self.path.field(key);
        self.node(schema, level);
        self.path.reset(mark);
    }

    fn own_type(&mut self, schema: &Map<String, Value>, kind: &str, level: Level) {
        let embedded = is_true(schema, "x-kubernetes-embedded-resource");
        let free = is_true(schema, "x-kubernetes-int-or-string") || is_true(schema, PRESERVE);
        if embedded && kind != "object" {
            let detail = "must be object if x-kubernetes-embedded-resource is true";
            if kind.is_empty() { self.require("type", detail) } else { self.invalid("type", kind, detail) }
        } else if kind.is_empty() && !free {
            let detail = match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            };
            self.require("type", detail);
        }
        if level == Level::Root && !kind.is_empty() && kind != "object" {
            self.invalid("type", kind, "must be object at the root");
        }
        if embedded && schema.contains_key("additionalProperties") {
            self.forbid("additionalProperties", "must not be used if x-kubernetes-embedded-resource is set");
        }
        let no_properties = schema.get("properties").and_then(Value::as_object).is_none_or(Map::is_empty);
        if embedded && !is_true(schema, PRESERVE) && no_properties {
            let detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            self.require("properties", detail);
        }
    }

    /// A CRD may only say more about `name` and `generateName`.
    fn metadata(&mut self, metadata: &Map<String, Value>, level: Level) {
        if text(metadata, "type") != "object" {
            self.invalid("type", text(metadata, "type"), "must be object");
        }
        if level != Level::Root {
            self.node(metadata, Level::Field);
            return;
        }
        let named = |name: &String| matches!(name.as_str(), "name" | "generateName");
        let properties = metadata.get("properties").and_then(Value::as_object);
        let only_names = properties.is_none_or(|p| p.keys().all(named));
        let only_known = metadata.keys().all(|k| matches!(k.as_str(), "type" | "properties" | "description"));
        if !(only_names && only_known) {
            let detail =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            self.errors.push(FieldError::forbidden(self.path.as_str(), detail));
        }
    }

    /// Keywords that no CRD may have.
    fn keywords(&mut self, schema: &Map<String, Value>) {
        let kind = text(schema, "type");
        if kind == "null" {
            self.forbid("type", "type cannot be set to null, use nullable as an alternative");
        }
        if !kind.is_empty() && super::Types::parse(kind).is_none() {
            let path = self.path.child("type");
            self.errors.push(FieldError::not_supported(path, kind, &super::Types::NAMES));
        }
        for key in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
            if schema.contains_key(key) {
                self.forbid(key, &format!("{key} is not supported"));
            }
        }
        if is_true(schema, "uniqueItems") {
            self.forbid(
                "uniqueItems",
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            );
        }
        let has_properties = schema.get("properties").and_then(Value::as_object).is_some_and(|p| !p.is_empty());
        if has_properties && schema.get("additionalProperties").is_some_and(|a| a != &json!(true)) {
            self.forbid("additionalProperties", "additionalProperties and properties are mutual exclusive");
        }
    }

    /// The junctors of a structural node.
    fn values(&mut self, schema: &Map<String, Value>) {
        let either = int_or_string();
        let any_of_is_either = schema.get("anyOf") == Some(&either);
        for key in ["anyOf", "allOf", "oneOf"] {
            let Some(schemas) = schema.get(key).and_then(Value::as_array) else { continue };
            if key == "anyOf" && any_of_is_either {
                continue;
            }
            for (i, nested) in schemas.iter().enumerate() {
                let mark = self.path.field(key);
                self.path.index(i);
                if let Some(nested) = nested.as_object() {
                    let skip = key == "allOf" && i == 0 && nested.get("anyOf") == Some(&either);
                    self.nested(nested, skip);
                }
                self.path.reset(mark);
            }
        }
        if let Some(not) = schema.get("not").and_then(Value::as_object) {
            let mark = self.path.field("not");
            self.nested(not, false);
            self.path.reset(mark);
        }
        let pattern = text(schema, "pattern");
        if let Err(error) = re2::compile(pattern) {
            let detail = format!("must be a valid regular expression, but isn't: {}", re2::explain(&error));
            self.invalid("pattern", pattern, &detail);
        }
    }

    /// A schema inside a junctor: value validations only.
    fn nested(&mut self, schema: &Map<String, Value>, skip_any_of: bool) {
        self.keywords(schema);
        self.extensions(schema);
        let empty = "must be empty to be structural";
        let undefined = "must be undefined to be structural";
        let unset = "must be false to be structural";
        for (key, detail) in [
            ("type", empty),
            ("title", empty),
            ("description", empty),
            ("x-kubernetes-list-map-keys", empty),
            ("x-kubernetes-validations", empty),
            ("default", undefined),
            ("additionalProperties", undefined),
            ("x-kubernetes-list-type", undefined),
            ("x-kubernetes-map-type", undefined),
            ("nullable", unset),
            (PRESERVE, unset),
            ("x-kubernetes-embedded-resource", unset),
            ("x-kubernetes-int-or-string", unset),
        ] {
            let said = match schema.get(key) {
                None | Some(Value::Null) | Some(Value::Bool(false)) => {
                    key == "additionalProperties" && schema.contains_key(key)
                }
                Some(Value::String(text)) => !text.is_empty(),
                Some(Value::Array(items)) => !items.is_empty(),
                Some(_) => true,
            };
            if said {
                self.forbid(key, detail);
            }
        }
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                let mark = self.path.field("properties");
                self.path.key(name);
                if name == "metadata" {
                    let detail = "must not be specified in a nested context";
                    self.errors.push(FieldError::forbidden(self.path.as_str(), detail));
                }
                if let Some(property) = property.as_object() {
                    self.nested(property, false);
                }
                self.path.reset(mark);
            }
        }
        if let Some(items) = schema.get("items").and_then(Value::as_object) {
            let mark = self.path.field("items");
            self.nested(items, false);
            self.path.reset(mark);
        }
        let mut values = schema.clone();
        if skip_any_of {
            values.remove("anyOf");
        }
        self.values_nested(&values);
    }

    fn values_nested(&mut self, schema: &Map<String, Value>) {
        // inside a junctor the int-or-string pattern has no meaning of its own
        for key in ["anyOf", "allOf", "oneOf"] {
            let Some(schemas) = schema.get(key).and_then(Value::as_array) else { continue };
            for (i, nested) in schemas.iter().enumerate() {
                let mark = self.path.field(key);
                self.path.index(i);
                if let Some(nested) = nested.as_object() {
                    self.nested(nested, false);
                }
                self.path.reset(mark);
            }
        }
        if let Some(not) = schema.get("not").and_then(Value::as_object) {
            let mark = self.path.field("not");
            self.nested(not, false);
            self.path.reset(mark);
        }
        let pattern = text(schema, "pattern");
        if let Err(error) = re2::compile(pattern) {
            let detail = format!("must be a valid regular expression, but isn't: {}", re2::explain(&error));
            self.invalid("pattern", pattern, &detail);
        }
    }
}

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";

fn int_or_string() -> Value {
    json!([{"type": "integer"}, {"type": "string"}])
}

fn is_true(schema: &Map<String, Value>, key: &str) -> bool {
    schema.get(key) == Some(&Value::Bool(true))
}

fn text<'s>(schema: &'s Map<String, Value>, key: &str) -> &'s str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
