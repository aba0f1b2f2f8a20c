//! Kinds from OpenAPI v3 schemas: those of CustomResourceDefinitions, and those published for built-in kinds.
//!
//! What is read: `type`, `format`, `properties`, `additionalProperties`, `items`, `default` (of fields that are list
//! keys), `x-kubernetes-{preserve-unknown-fields, embedded-resource, list-type, list-map-keys, map-type}`, and
//! `$ref` (also as the only member of `allOf`). A schema without a type takes anything, and so does int-or-string.

use std::collections::HashMap;

use serde_json::Value;

use super::{Atom, Builder, Field, Items, List, Map, Scalar, TypeId, TypeRef, object_meta};

/// Why a schema gives no kind.
#[derive(Debug, thiserror::Error)]
pub enum OpenApiError {
    #[error("{at}: {extension} is {found}, which is not known")]
    Extension { at: String, extension: &'static str, found: String },
    #[error("{at}: a list of type map has no x-kubernetes-list-map-keys")]
    NoMapKeys { at: String },
    #[error("{at}: the type {found:?} is not known")]
    Type { at: String, found: String },
    #[error("{at}: a list has no items")]
    NoItems { at: String },
    #[error("{at}: the reference {reference:?} leads nowhere")]
    Reference { at: String, reference: String },
}

impl TypeRef {
    /// The kind of the objects of a custom resource: `schema` is `openAPIV3Schema` of one version.
    pub fn of_custom_resource(schema: &Value) -> Result<Self, OpenApiError> {
        let mut reader = Reader::new(&|_| None);
        let root = reader.read(schema, "", false, true)?;
        Ok(reader.finish(root))
    }

    /// The kind that a schema describes. `resolve` gives the schema that a `$ref` names.
    pub fn from_openapi(schema: &Value, resolve: &dyn Fn(&str) -> Option<Value>) -> Result<Self, OpenApiError> {
        let mut reader = Reader::new(resolve);
        let root = reader.read(schema, "", false, false)?;
        Ok(reader.finish(root))
    }
}

struct Reader<'r> {
    resolve: &'r dyn Fn(&str) -> Option<Value>,
    builder: Builder,
    /// The types of references read or being read.
    references: HashMap<String, TypeId>,
    metadata: Option<TypeId>,
}

impl<'r> Reader<'r> {
    fn new(resolve: &'r dyn Fn(&str) -> Option<Value>) -> Self {
        Self { resolve, builder: Builder::new(), references: HashMap::new(), metadata: None }
    }

    fn finish(self, root: TypeId) -> TypeRef {
        TypeRef::new(self.builder.build().into(), root)
    }

    /// Adds the type of one schema. `preserve`: whether a schema above keeps unknown fields; `object`: whether this is a
    /// whole object with `apiVersion`, `kind` and `metadata`.
    fn read(&mut self, schema: &Value, at: &str, preserve: bool, object: bool) -> Result<TypeId, OpenApiError> {
        if let Some(reference) = reference(schema) {
            return self.refer(schema, reference, at);
        }
        let atom = self.atom(schema, at, preserve, object)?;
        Ok(self.builder.add(atom))
    }

    fn refer(&mut self, schema: &Value, reference: &str, at: &str) -> Result<TypeId, OpenApiError> {
        let id = match self.references.get(reference) {
            Some(id) => *id,
            None => {
                let target = (self.resolve)(reference)
                    .ok_or_else(|| OpenApiError::Reference { at: at.to_owned(), reference: reference.to_owned() })?;
                let id = self.builder.add(Atom::default());
                self.references.insert(reference.to_owned(), id);
                let atom = match reference.rsplit('/').next() {
                    Some("io.k8s.apimachinery.pkg.api.resource.Quantity") => Scalar::Untyped.into(),
                    Some("io.k8s.apimachinery.pkg.runtime.RawExtension") => self.builder.get(TypeId::UNTYPED).clone(),
                    _ => self.atom(&target, at, false, false)?,
                };
                self.builder.set(id, atom);
                id
            }
        };
        // A reference may say otherwise than its target whether the map is one value.
        match (map_type(schema, at)?, self.builder.get(id)) {
            (Some(atomic), Atom { map: Some(map), .. }) if map.atomic != atomic => {
                let mut atom = self.builder.get(id).clone();
                atom.map = atom.map.map(|map| Map { atomic, ..map });
                Ok(self.builder.add(atom))
            }
            _ => Ok(id),
        }
    }

    fn atom(&mut self, schema: &Value, at: &str, preserve: bool, object: bool) -> Result<Atom, OpenApiError> {
        let preserve = preserve || schema["x-kubernetes-preserve-unknown-fields"] == true;
        let object = object || schema["x-kubernetes-embedded-resource"] == true;
        match schema["type"].as_str() {
            None => Ok(Atom {
                scalar: Some(Scalar::Untyped),
                list: Some(self.list(schema, at, preserve)?),
                map: Some(self.map(schema, at, preserve, object)?),
            }),
            Some("object") => Ok(self.map(schema, at, preserve, object)?.into()),
            Some("array") if schema["items"].is_object() => Ok(self.list(schema, at, preserve)?.into()),
            Some("array") => Err(OpenApiError::NoItems { at: at.to_owned() }),
            Some("integer" | "number") => Ok(Scalar::Numeric.into()),
            Some("boolean") => Ok(Scalar::Boolean.into()),
            Some("string") => Ok(match schema["format"].as_str() {
                None | Some("" | "byte") => Scalar::String.into(),
                Some(_) => Scalar::Untyped.into(),
            }),
            Some(found) => Err(OpenApiError::Type { at: at.to_owned(), found: found.to_owned() }),
        }
    }

    fn map(&mut self, schema: &Value, at: &str, preserve: bool, object: bool) -> Result<Map, OpenApiError> {
        let declared = schema["properties"].as_object();
        let mut fields = HashMap::new();
        for (name, field) in declared.into_iter().flatten() {
            let ty = self.read(field, &format!("{at}.{name}"), preserve, false)?;
            let default = field.get("default").filter(|default| !default.is_null()).cloned();
            fields.insert(name.as_str().into(), Field { ty, default });
        }
        if object {
            let string = self.builder.add(Scalar::String);
            let metadata = *self.metadata.get_or_insert_with(|| object_meta::add(&mut self.builder));
            for (name, ty) in [("apiVersion", string), ("kind", string), ("metadata", metadata)] {
                fields.insert(name.into(), Field { ty, default: None });
            }
        }
        let element = match &schema["additionalProperties"] {
            Value::Bool(false) => TypeId::NOTHING,
            Value::Bool(true) => TypeId::DEDUCED,
            Value::Null if preserve || fields.is_empty() => TypeId::DEDUCED,
            Value::Null => TypeId::NOTHING,
            entries => self.read(entries, &format!("{at}.*"), preserve, false)?,
        };
        Ok(Map { fields, element, atomic: map_type(schema, at)?.unwrap_or(false) })
    }

    fn list(&mut self, schema: &Value, at: &str, preserve: bool) -> Result<List, OpenApiError> {
        let element = match &schema["items"] {
            Value::Null => TypeId::UNTYPED,
            items => self.read(items, &format!("{at}[]"), preserve, false)?,
        };
        let relation = match schema["x-kubernetes-list-type"].as_str() {
            None | Some("atomic") => Items::Atomic,
            Some("set") => Items::Set,
            Some("map") => {
                let keys = schema["x-kubernetes-list-map-keys"].as_array();
                let keys = keys.ok_or_else(|| OpenApiError::NoMapKeys { at: at.to_owned() })?;
                Items::Keyed(keys.iter().filter_map(Value::as_str).map(Into::into).collect())
            }
            Some(found) => {
                let (extension, found) = ("x-kubernetes-list-type", found.to_owned());
                return Err(OpenApiError::Extension { at: at.to_owned(), extension, found });
            }
        };
        Ok(List { element, relation })
    }
}

/// What a schema refers to instead of saying it itself.
fn reference(schema: &Value) -> Option<&str> {
    let only = match schema["allOf"].as_array().map(Vec::as_slice) {
        Some([only]) => only["$ref"].as_str(),
        _ => None,
    };
    schema["$ref"].as_str().or(only)
}

/// Whether a schema says that its map is one value.
fn map_type(schema: &Value, at: &str) -> Result<Option<bool>, OpenApiError> {
    match schema["x-kubernetes-map-type"].as_str() {
        None => Ok(None),
        Some("atomic") => Ok(Some(true)),
        Some("granular") => Ok(Some(false)),
        Some(found) => {
            let (extension, found) = ("x-kubernetes-map-type", found.to_owned());
            Err(OpenApiError::Extension { at: at.to_owned(), extension, found })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ownership::typed::{Duplicates, Typed};

    fn fits(ty: &TypeRef, value: &Value) -> Result<(), String> {
        Typed::borrowed(value, ty, Duplicates::Refused).map(drop).map_err(|violations| violations.to_string())
    }

    #[test]
    fn a_custom_resource_has_metadata_without_saying_so() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "template": {"type": "object", "x-kubernetes-embedded-resource": true},
            "port": {"x-kubernetes-int-or-string": true},
        }}}});
        let ty = TypeRef::of_custom_resource(&schema).unwrap();
        let labels = json!({"labels": {"a": "b"}});
        assert_eq!(
            fits(&ty, &json!({"kind": "K", "metadata": labels, "spec": {"template": {"metadata": labels}}})),
            Ok(())
        );
        assert_eq!(fits(&ty, &json!({"spec": {"port": 80}})), Ok(()));
        assert_eq!(fits(&ty, &json!({"spec": {"port": "http"}})), Ok(()));
        let refused =
            fits(&ty, &json!({"metadata": {"lables": {}}, "spec": {"template": {"metadata": {"labels": 1}}}}));
        let expected = "errors:\n  .metadata.lables: field not declared in schema\n  \
                        .spec.template.metadata.labels: expected map, got &{1}";
        assert_eq!(refused, Err(expected.to_owned()));
    }

    #[test]
    fn references_may_lead_back_and_say_more() {
        let resolve = |reference: &str| match reference {
            "#/components/schemas/Tree" => Some(json!({"type": "object", "properties": {
                "children": {"type": "array", "items": {"allOf": [{"$ref": "#/components/schemas/Tree"}]}},
                "leaf": {"$ref": "#/components/schemas/Leaf"},
                "whole": {"allOf": [{"$ref": "#/components/schemas/Leaf"}], "x-kubernetes-map-type": "atomic"},
            }})),
            "#/components/schemas/Leaf" => Some(json!({"type": "object", "properties": {"color": {"type": "string"}}})),
            _ => None,
        };
        let ty = TypeRef::from_openapi(&json!({"$ref": "#/components/schemas/Tree"}), &resolve).unwrap();
        assert_eq!(fits(&ty, &json!({"children": [{"children": [{"leaf": {"color": "red"}}]}]})), Ok(()));
        assert!(fits(&ty, &json!({"children": [{"children": [{"leaf": {"colour": "red"}}]}]})).is_err());
        let value = json!({"leaf": {"color": "red"}, "whole": {"color": "red"}});
        let typed = Typed::borrowed(&value, &ty, Duplicates::Refused).unwrap();
        assert_eq!(typed.to_field_set().to_string(), ".whole\n.leaf.color");
        let missing = TypeRef::from_openapi(&json!({"$ref": "#/components/schemas/Bush"}), &resolve);
        assert!(matches!(missing, Err(OpenApiError::Reference { .. })));
    }

    #[test]
    fn schemas_that_say_nothing_sensible_are_refused() {
        let of = |field: Value| TypeRef::of_custom_resource(&json!({"type": "object", "properties": {"spec": field}}));
        assert!(matches!(of(json!({"type": "text"})), Err(OpenApiError::Type { .. })));
        assert!(matches!(of(json!({"type": "array"})), Err(OpenApiError::NoItems { .. })));
        let items = json!({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"});
        assert!(matches!(of(items), Err(OpenApiError::NoMapKeys { .. })));
        let map = json!({"type": "object", "x-kubernetes-map-type": "whole"});
        assert!(matches!(of(map), Err(OpenApiError::Extension { .. })));
    }
}
