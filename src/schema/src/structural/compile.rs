//! JSON schema → arena: resolves `$ref`, grafts ObjectMeta into resources, compiles patterns and CEL rules.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};
use thiserror::Error;

use super::check::defaults::check_defaults;
use super::checks::{Bound, strings};
use super::{Additional, Checks, Junctors, ListType, Node, NodeId, OBJECT_META, Structural, Types, check_crd_schema};
use crate::cel;
use crate::error::FieldError;
use crate::path::FieldPath;
use crate::re2;

/// Why published OpenAPI components do not make a schema.
#[derive(Debug, Error)]
pub enum SchemaError {
    #[error("no schema component is called {0:?}")]
    UnknownComponent(String),
    #[error("{0}")]
    Field(FieldError),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// A custom resource's schema: what is not declared is pruned.
    Custom,
    /// Published components: an object without properties holds anything.
    Published,
}

impl Structural {
    /// Compiles a CustomResourceDefinition's `openAPIV3Schema`. `components` are published OpenAPI components that hold
    /// [`OBJECT_META`] and what it refers to; `path` begins the fields of errors, e.g.
    /// `spec.versions[0].schema.openAPIV3Schema`. Errors: everything that makes Kubernetes refuse the CRD for its schema
    /// (not structural, bad patterns, CEL rules that do not compile).
    pub fn from_crd(schema: &Value, components: &Map<String, Value>, path: &str) -> Result<Self, Vec<FieldError>> {
        match Self::from_stored_crd(schema, components, path) {
            (structural, errors) if errors.is_empty() => Ok(structural),
            (_, errors) => Err(errors),
        }
    }

    /// As [`from_crd`](Self::from_crd), for a definition that was accepted before, perhaps by a version of this program
    /// that knew fewer errors: its objects have to be served all the same. What is wrong is left out: a rule or a pattern
    /// that does not compile checks nothing.
    pub fn from_stored_crd(schema: &Value, components: &Map<String, Value>, path: &str) -> (Self, Vec<FieldError>) {
        let mut found = check_crd_schema(schema, path);
        let mut root = schema.as_object().cloned().unwrap_or_default();
        graft(&mut root, components);
        let root = Value::Object(root);
        let compile = || {
            let (structural, mut errors) = Compiler::new(components, Dialect::Custom, path).finish(&root);
            if errors.is_empty() {
                errors = cel::check_fields(&structural, path);
            }
            if errors.is_empty() {
                errors = check_defaults(&structural, path);
            }
            (structural, errors)
        };
        // CEL's parser recurses deeply; a stack of its own keeps a hostile rule from ending the process
        let (structural, errors) = if cel::mentions_rules(schema) { cel::on_big_stack(compile) } else { compile() };
        // an error of structure often causes others, which would say less
        if found.is_empty() {
            found = errors;
        }
        (structural, found)
    }

    /// Compiles the component `name` of published OpenAPI v3 `components.schemas` (a built-in kind).
    pub fn from_components(name: &str, components: &Map<String, Value>) -> Result<Self, SchemaError> {
        if !components.contains_key(name) {
            return Err(SchemaError::UnknownComponent(name.to_owned()));
        }
        let root = serde_json::json!({"$ref": format!("#/components/schemas/{name}")});
        let (structural, mut errors) = Compiler::new(components, Dialect::Published, "").finish(&root);
        if errors.is_empty() { Ok(structural) } else { Err(SchemaError::Field(errors.remove(0))) }
    }
}

/// Gives a resource its `apiVersion`, `kind` and `metadata`, keeping what the CRD says about a name.
fn graft(resource: &mut Map<String, Value>, components: &Map<String, Value>) {
    let properties = resource.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    let Some(properties) = properties.as_object_mut() else { return };
    for name in ["apiVersion", "kind"] {
        properties.entry(name).or_insert_with(|| serde_json::json!({"type": "string"}));
    }
    let Some(Value::Object(mut metadata)) = components.get(OBJECT_META).cloned() else {
        properties.insert("metadata".to_owned(), serde_json::json!({"type": "object", PRESERVE: true}));
        return;
    };
    metadata.remove("required");
    metadata.remove("default");
    let said = properties.get("metadata").and_then(|m| m.get("properties")).and_then(Value::as_object).cloned();
    if let Some(known) = metadata.get_mut("properties").and_then(Value::as_object_mut) {
        known.extend(said.unwrap_or_default());
    }
    metadata.insert(PUBLISHED.to_owned(), true.into());
    properties.insert("metadata".to_owned(), Value::Object(metadata));
}

/// Marks a grafted subtree in the dialect of published components.
const PUBLISHED: &str = "\u{0}published";
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";

struct Compiler<'a> {
    nodes: Vec<Node>,
    components: &'a Map<String, Value>,
    dialect: Dialect,
    refs: HashMap<(String, String), NodeId>,
    path: FieldPath,
    /// Where, on the way down, an old value was no longer to be found.
    uncorrelatable: Option<String>,
    errors: Vec<FieldError>,
}

impl<'a> Compiler<'a> {
    fn new(components: &'a Map<String, Value>, dialect: Dialect, path: &str) -> Self {
        Self {
            nodes: Vec::new(),
            components,
            dialect,
            refs: HashMap::new(),
            path: FieldPath::new(path),
            uncorrelatable: None,
            errors: Vec::new(),
        }
    }

    fn finish(mut self, root: &Value) -> (Structural, Vec<FieldError>) {
        let id = self.compile(root);
        if self.dialect == Dialect::Custom {
            self.nodes[id.0 as usize].embedded = false;
        }
        let mut structural =
            Structural { nodes: self.nodes, root: id, custom: self.dialect == Dialect::Custom, has_rules: false };
        structural.mark_subtrees();
        structural.has_rules = structural.nodes.iter().any(|node| !node.rules.is_empty());
        (structural, self.errors)
    }

    fn reserve(&mut self) -> NodeId {
        self.nodes.push(Node::default());
        NodeId(self.nodes.len() as u32 - 1)
    }

    fn compile(&mut self, schema: &Value) -> NodeId {
        let empty = Map::new();
        let map = schema.as_object().unwrap_or(&empty);
        let Some((name, said)) = reference(map) else {
            let id = self.reserve();
            let node = self.read(map);
            self.nodes[id.0 as usize] = node;
            return id;
        };
        let key = (name.to_owned(), Value::Object(said.clone()).to_string());
        if let Some(id) = self.refs.get(&key) {
            return *id;
        }
        let id = self.reserve();
        self.refs.insert(key, id);
        match self.components.get(name).and_then(Value::as_object) {
            Some(target) if said.is_empty() => self.nodes[id.0 as usize] = self.read(target),
            Some(target) => {
                let mut merged = target.clone();
                merged.extend(said);
                self.nodes[id.0 as usize] = self.read(&merged);
            }
            None => self.errors.push(FieldError::invalid(self.path.child("$ref"), name, "unknown component")),
        }
        id
    }

    fn read(&mut self, schema: &Map<String, Value>) -> Node {
        let outer = self.dialect;
        if schema.contains_key(PUBLISHED) {
            self.dialect = Dialect::Published;
        }
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or_default();
        let embedded = flag("x-kubernetes-embedded-resource");
        let grafted = embedded.then(|| {
            let mut grafted = schema.clone();
            graft(&mut grafted, self.components);
            grafted
        });
        let schema = grafted.as_ref().unwrap_or(schema);
        let mut node = Node {
            types: types(schema),
            nullable: flag("nullable"),
            published: self.dialect == Dialect::Published,
            preserve_unknown: flag(PRESERVE),
            embedded,
            int_or_string: flag("x-kubernetes-int-or-string"),
            atomic_map: schema.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic"),
            list_type: list_type(schema),
            default: schema.get("default").filter(|d| !d.is_null()).cloned().map(Box::new),
            merge_key: schema.get("x-kubernetes-patch-merge-key").and_then(Value::as_str).map(Into::into),
            patch_strategies: strategies(schema),
            format: format_of(schema),
            ..Node::default()
        };
        if node.int_or_string {
            node.types = Types(Types::INTEGER.0 | Types::STRING.0);
        }
        let (checks, error) = Checks::read(schema);
        node.own_checks = (checks != Checks::default()).then(|| Box::new(checks));
        if let Some(error) = error {
            let source = schema.get("pattern").cloned().unwrap_or_default();
            let detail = format!("must be a valid regular expression, but isn't: {}", re2::explain(&error));
            self.errors.push(FieldError::invalid(self.path.child("pattern"), source, detail));
        }
        if self.dialect == Dialect::Published {
            bound_integers(schema, &mut node);
            if node.format == "byte" {
                node.format = crate::format::BYTES.to_owned();
            }
        }
        self.read_children(schema, &mut node);
        if self.dialect == Dialect::Published
            && (node.types.is_empty() || node.types.has(Types::OBJECT))
            && node.properties.is_empty()
            && node.additional == Additional::Unsaid
        {
            node.preserve_unknown = true;
        }
        if let Some(rules) = schema.get("x-kubernetes-validations").and_then(Value::as_array) {
            let lost = self.uncorrelatable.as_deref();
            node.rules = cel::compile_rules(rules, lost, &mut self.path, &mut self.errors);
        }
        self.dialect = outer;
        node
    }

    fn read_children(&mut self, schema: &Map<String, Value>, node: &mut Node) {
        let outer = self.uncorrelatable.clone();
        if node.atomic_map && outer.is_none() {
            self.uncorrelatable = Some(self.path.as_str().to_owned());
        }
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            let mut named = Vec::with_capacity(properties.len());
            for (name, property) in properties {
                let mark = self.path.field("properties");
                self.path.key(name);
                let id = self.compile(property);
                self.path.reset(mark);
                named.push((name.clone(), id));
            }
            node.properties = named.into_iter().collect();
        }
        node.additional = match schema.get("additionalProperties") {
            Some(Value::Bool(false)) => Additional::Forbidden,
            Some(Value::Bool(true)) => Additional::Any,
            Some(schema) => Additional::Schema(self.compile_at("additionalProperties", schema)),
            None => Additional::Unsaid,
        };
        self.uncorrelatable.clone_from(&outer);
        if !matches!(node.list_type, ListType::Map(_)) && outer.is_none() {
            self.uncorrelatable = Some(self.path.as_str().to_owned());
        }
        node.items = schema.get("items").filter(|i| i.is_object()).map(|items| self.compile_at("items", items));
        self.uncorrelatable = outer;
        let list = |compiler: &mut Self, key: &str| -> Vec<NodeId> {
            let schemas = schema.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            schemas.iter().map(|s| compiler.compile_at(key, s)).collect()
        };
        let mut junctors = Junctors {
            all_of: list(self, "allOf"),
            any_of: list(self, "anyOf"),
            one_of: list(self, "oneOf"),
            not: None,
        };
        junctors.not = schema.get("not").map(|not| self.compile_at("not", not));
        if !(junctors.all_of.is_empty() && junctors.any_of.is_empty() && junctors.one_of.is_empty())
            || junctors.not.is_some()
        {
            node.junctors = Some(Box::new(junctors));
        }
    }

    fn compile_at(&mut self, key: &str, schema: &Value) -> NodeId {
        let mark = self.path.field(key);
        let id = self.compile(schema);
        self.path.reset(mark);
        id
    }
}

/// The component a schema refers to, and what it says beside: `{"$ref"}` or the published `{"allOf": [{"$ref"}], …}`.
fn reference(schema: &Map<String, Value>) -> Option<(&str, Map<String, Value>)> {
    let wrapped = || match schema.get("allOf")?.as_array()?.as_slice() {
        [only] if !schema.contains_key("type") && !schema.contains_key("properties") => only.get("$ref"),
        _ => None,
    };
    let target = schema.get("$ref").or_else(wrapped)?.as_str()?;
    let name = target.rsplit('/').next().unwrap_or(target);
    let mut said = schema.clone();
    for key in ["$ref", "allOf", "description"] {
        said.remove(key);
    }
    Some((name, said))
}

fn types(schema: &Map<String, Value>) -> Types {
    match schema.get("type") {
        Some(Value::String(name)) => Types::parse(name).unwrap_or_default(),
        Some(Value::Array(names)) => {
            Types(names.iter().filter_map(Value::as_str).filter_map(Types::parse).fold(0, |all, t| all | t.0))
        }
        _ => Types::default(),
    }
}

fn list_type(schema: &Map<String, Value>) -> ListType {
    match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => ListType::Set,
        Some("map") => ListType::Map(strings(schema.get("x-kubernetes-list-map-keys"))),
        _ => ListType::Atomic,
    }
}

fn strategies(schema: &Map<String, Value>) -> Vec<String> {
    let text = schema.get("x-kubernetes-patch-strategy").and_then(Value::as_str).unwrap_or_default();
    text.split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

/// The format if it is one that is checked, without dashes.
fn format_of(schema: &Map<String, Value>) -> String {
    let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
    if crate::format::is_known(format) { format.to_owned() } else { String::new() }
}

/// A typed server cannot hold more than 32 bits in an `int32`; a custom resource's schema does not promise that.
fn bound_integers(schema: &Map<String, Value>, node: &mut Node) {
    if schema.get("format").and_then(Value::as_str) == Some("int32") && node.types.has(Types::INTEGER) {
        let bound = |value: i32| Some(Bound { value: Number::from(value), exclusive: false });
        let checks = node.own_checks.get_or_insert_default();
        if checks.minimum.is_none() {
            checks.minimum = bound(i32::MIN);
        }
        if checks.maximum.is_none() {
            checks.maximum = bound(i32::MAX);
        }
    }
}

impl Structural {
    /// Finds out under which nodes there is something to default or to compare, so that walks skip the rest.
    fn mark_subtrees(&mut self) {
        let mut changed = true;
        while changed {
            changed = false;
            for i in 0..self.nodes.len() {
                let node = &self.nodes[i];
                let mut below = (
                    node.default.is_some(),
                    node.list_type != ListType::Atomic || node.embedded,
                    !node.rules.is_empty(),
                );
                let additional = match node.additional {
                    Additional::Schema(id) => Some(id),
                    _ => None,
                };
                let named = node.properties.iter().map(|(_, id)| id);
                for id in named.chain(additional).chain(node.items) {
                    let child = self.node(id);
                    below.0 |= child.defaults_below;
                    below.1 |= child.lists_below;
                    below.2 |= child.rules_below;
                }
                let node = &mut self.nodes[i];
                if below != (node.defaults_below, node.lists_below, node.rules_below) {
                    (node.defaults_below, node.lists_below, node.rules_below) = below;
                    changed = true;
                }
            }
        }
    }
}
