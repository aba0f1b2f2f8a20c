//! A compiled schema: an arena of nodes that pruning, defaulting, validation, patches and field ownership walk.
//!
//! A CustomResourceDefinition's `openAPIV3Schema` and a built-in kind's published OpenAPI components become the same
//! tree; `$ref` cycles (a schema that holds schemas) become cycles in the arena. Compile once, share by `Arc`.

mod check;
mod checks;
mod compile;
mod properties;

use std::sync::LazyLock;

use serde_json::Value;

pub use check::check_crd_schema;
pub(crate) use checks::{Checks, Junctors};
pub use compile::SchemaError;
pub(crate) use properties::Properties;

use crate::cel::Rule;

/// The component that is grafted at `metadata` of every custom resource.
pub const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// A compiled schema of one version of one kind.
#[derive(Debug)]
pub struct Structural {
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: NodeId,
    /// Whether unknown fields at the root of the kind are errors in the words of a custom resource.
    pub(crate) custom: bool,
    pub(crate) has_rules: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(pub(crate) u32);

/// The JSON types a node accepts, as a set; empty accepts all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Types(pub(crate) u8);

impl Types {
    pub(crate) const NAMES: [&'static str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
    pub(crate) const ARRAY: Self = Self(1);
    pub(crate) const BOOLEAN: Self = Self(2);
    pub(crate) const INTEGER: Self = Self(4);
    pub(crate) const NUMBER: Self = Self(8);
    pub(crate) const OBJECT: Self = Self(16);
    pub(crate) const STRING: Self = Self(32);

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().position(|n| *n == name).map(|i| Self(1 << i))
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// `integer,string`, as errors name it.
    pub(crate) fn names(self) -> String {
        let names: Vec<&str> =
            Self::NAMES.iter().enumerate().filter(|(i, _)| self.0 & (1 << i) != 0).map(|(_, n)| *n).collect();
        names.join(",")
    }
}

/// What an object may hold beside the named properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Additional {
    /// Not declared: pruned, never an error.
    #[default]
    Unsaid,
    /// `additionalProperties: false`.
    Forbidden,
    /// `additionalProperties: true`.
    Any,
    Schema(NodeId),
}

/// `x-kubernetes-list-type`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListType {
    #[default]
    Atomic,
    Set,
    /// By the values of these fields.
    Map(Vec<String>),
}

#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) types: Types,
    pub(crate) nullable: bool,
    /// Of a built-in kind, or of the metadata of a custom one: Go reads it into a struct.
    pub(crate) published: bool,
    pub(crate) preserve_unknown: bool,
    pub(crate) embedded: bool,
    pub(crate) int_or_string: bool,
    pub(crate) properties: Properties,
    pub(crate) additional: Additional,
    pub(crate) items: Option<NodeId>,
    pub(crate) list_type: ListType,
    pub(crate) atomic_map: bool,
    pub(crate) default: Option<Box<Value>>,
    /// A default, or a null that could have to go, may be found at or below this node.
    pub(crate) defaults_below: bool,
    /// A list of type set or map, or an embedded resource, may be found at or below this node.
    pub(crate) lists_below: bool,
    pub(crate) rules_below: bool,
    pub(crate) format: String,
    /// Boxed, because most nodes have none: see [`checks`](Self::checks).
    pub(crate) own_checks: Option<Box<Checks>>,
    pub(crate) junctors: Option<Box<Junctors>>,
    pub(crate) merge_key: Option<Box<str>>,
    pub(crate) patch_strategies: Vec<String>,
    pub(crate) rules: Vec<Rule>,
}

impl Node {
    pub(crate) fn checks(&self) -> &Checks {
        static NONE: LazyLock<Checks> = LazyLock::new(Checks::default);
        self.own_checks.as_deref().unwrap_or(&NONE)
    }
}

impl Structural {
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The root, for walks from outside.
    pub fn root(&self) -> NodeRef<'_> {
        NodeRef { schema: self, id: self.root }
    }

    /// Whether the schema has any CEL rule.
    pub fn has_rules(&self) -> bool {
        self.has_rules
    }

    /// The node for a property of `node`: the named one, else `additionalProperties`.
    pub(crate) fn child(&self, node: &Node, name: &str) -> Option<NodeId> {
        node.properties.get(name).or(match node.additional {
            Additional::Schema(id) => Some(id),
            _ => None,
        })
    }
}

/// A node of a [`Structural`], to read.
#[derive(Debug, Clone, Copy)]
pub struct NodeRef<'a> {
    schema: &'a Structural,
    id: NodeId,
}

impl<'a> NodeRef<'a> {
    fn node(&self) -> &'a Node {
        self.schema.node(self.id)
    }

    /// The named property, not `additionalProperties`.
    pub fn property(&self, name: &str) -> Option<NodeRef<'a>> {
        self.node().properties.get(name).map(|id| NodeRef { schema: self.schema, id })
    }

    pub fn properties(&self) -> impl Iterator<Item = (&'a str, NodeRef<'a>)> {
        let schema = self.schema;
        self.node().properties.iter().map(move |(name, id)| (name, NodeRef { schema, id }))
    }

    /// Whether a field selector may name it: a text, a whole number or a truth value.
    pub fn is_selectable(&self) -> bool {
        let types = self.node().types;
        types == Types::STRING || types == Types::INTEGER || types == Types::BOOLEAN
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A schema for unit tests, with a small ObjectMeta grafted.

    use serde_json::{Map, Value, json};

    use super::{OBJECT_META, Structural};

    pub(crate) fn components() -> Map<String, Value> {
        let text = json!({"type": "string"});
        let texts = json!({"type": "object", "additionalProperties": {"type": "string", "default": ""}});
        let meta = json!({"type": "object", "properties": {
            "name": text, "generateName": text, "namespace": text, "uid": text, "resourceVersion": text,
            "creationTimestamp": {"allOf": [{"$ref": "#/components/schemas/Time"}]},
            "deletionTimestamp": {"$ref": "#/components/schemas/Time"},
            "generation": {"type": "integer", "format": "int64"}, "labels": texts, "annotations": texts,
            "finalizers": {"type": "array", "items": text, "x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge"},
            "ownerReferences": {"type": "array", "items": {"type": "object", "required": ["uid"], "properties": {
                "apiVersion": text, "kind": text, "name": text, "uid": text, "controller": {"type": "boolean"}, "blockOwnerDeletion": {"type": "boolean"}}},
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"],
                "x-kubernetes-patch-merge-key": "uid", "x-kubernetes-patch-strategy": "merge"},
            "managedFields": {"type": "array", "items": {"type": "object", "properties": {"manager": text, "fieldsV1": {"$ref": "#/components/schemas/FieldsV1"}}}}
        }});
        let mut components = Map::new();
        components.insert(OBJECT_META.to_owned(), meta);
        components.insert("Time".to_owned(), json!({"type": "string", "format": "date-time"}));
        components.insert("FieldsV1".to_owned(), json!({"type": "object"}));
        components
    }

    pub(crate) fn crd(schema: Value) -> Structural {
        Structural::from_crd(&schema, &components(), "schema").expect("a good schema")
    }
}
