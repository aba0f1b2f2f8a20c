//! The schemas that calls name.

use std::{collections::HashMap, sync::Arc};

use nubium_schema::ownership::{
    TypeRef,
    kind::{Atom, Builder, Field, Items, List, Map, Scalar, Schema, TypeId},
};
use serde_json::Value;

use super::call::Call;

/// Types that every schema of ours has.
const BUILT_IN: [&str; 2] = ["__untyped_atomic_", "__untyped_deduced_"];

pub struct Schemas(HashMap<String, Value>);

/// A kind, and those of its schema by name.
pub struct Kinds {
    pub root: TypeRef,
    schema: Arc<Schema>,
    names: HashMap<String, TypeId>,
}

impl Kinds {
    pub fn named(&self, name: &str) -> Option<TypeRef> {
        self.names.get(name).map(|id| TypeRef::new(self.schema.clone(), *id))
    }

    pub fn name_of(&self, ty: &TypeRef) -> &str {
        self.names.iter().find(|(_, id)| **id == ty.id()).map(|(name, _)| name.as_str()).unwrap()
    }
}

impl Schemas {
    pub fn read(lines: &[Call]) -> Self {
        let schemas = lines.iter().filter(|line| line.op == "schema");
        Self(schemas.map(|line| (line.text("id").to_owned(), line.get("schema").clone())).collect())
    }

    pub fn of(&self, call: &Call) -> Kinds {
        let types = self.0[call.text("schema")].as_object().unwrap();
        let mut reader = Reader { builder: Builder::new(), names: HashMap::new(), overridden: Vec::new() };
        for name in types.keys() {
            let id = match name.as_str() {
                "__untyped_atomic_" => TypeId::UNTYPED,
                "__untyped_deduced_" => TypeId::DEDUCED,
                _ => reader.builder.add(Atom::default()),
            };
            reader.names.insert(name.clone(), id);
        }
        for (name, atom) in types.iter().filter(|(name, _)| !BUILT_IN.contains(&name.as_str())) {
            let atom = reader.atom(atom);
            reader.builder.set(reader.names[name], atom);
        }
        let root = reader.refer(call.get("type"));
        let Reader { mut builder, names, overridden } = reader;
        for (id, target, relationship) in overridden {
            let atom = overriding(builder.get(target).clone(), &relationship);
            builder.set(id, atom);
        }
        let schema = Arc::new(builder.build());
        Kinds { root: TypeRef::new(schema.clone(), root), schema, names }
    }
}

struct Reader {
    builder: Builder,
    names: HashMap<String, TypeId>,
    /// References that say otherwise than their target how items relate.
    overridden: Vec<(TypeId, TypeId, String)>,
}

impl Reader {
    fn refer(&mut self, reference: &Value) -> TypeId {
        let target = match reference["named"].as_str() {
            Some(name) => match self.names.get(name) {
                Some(id) => *id,
                None => self.builder.add(Atom::default()),
            },
            None if reference.as_object().unwrap().is_empty() => return TypeId::NOTHING,
            None => {
                let atom = self.atom(reference);
                self.builder.add(atom)
            }
        };
        match reference["relationship"].as_str() {
            None => target,
            Some(relationship) => {
                let id = self.builder.add(Atom::default());
                self.overridden.push((id, target, relationship.to_owned()));
                id
            }
        }
    }

    fn atom(&mut self, atom: &Value) -> Atom {
        let scalar = atom["scalar"].as_str().and_then(|scalar| match scalar {
            "numeric" => Some(Scalar::Numeric),
            "string" => Some(Scalar::String),
            "boolean" => Some(Scalar::Boolean),
            "untyped" => Some(Scalar::Untyped),
            // Schemas that are wrong on purpose.
            _ => None,
        });
        let list = atom["list"].is_object().then(|| self.list(&atom["list"]));
        let map = atom["map"].is_object().then(|| self.map(&atom["map"]));
        Atom { scalar, list, map }
    }

    fn list(&mut self, list: &Value) -> List {
        let element = self.refer(&list["element"]);
        let keys = list["keys"].as_array();
        let relation = match (list["relationship"].as_str(), keys) {
            (Some("atomic"), _) => Items::Atomic,
            (_, Some(keys)) => Items::Keyed(keys.iter().map(|key| key.as_str().unwrap().into()).collect()),
            (_, None) => Items::Set,
        };
        List { element, relation }
    }

    fn map(&mut self, map: &Value) -> Map {
        let fields = map["fields"].as_object().unwrap().iter().map(|(name, field)| {
            let (ty, default) = (self.refer(&field["type"]), field.get("default").cloned());
            (name.as_str().into(), Field { ty, default })
        });
        let fields = fields.collect();
        Map { fields, element: self.refer(&map["element"]), atomic: map["relationship"] == "atomic" }
    }
}

fn overriding(atom: Atom, relationship: &str) -> Atom {
    let atomic = relationship == "atomic";
    match atom {
        Atom { map: Some(map), scalar, list } => Atom { map: Some(Map { atomic, ..map }), scalar, list },
        Atom { list: Some(list), scalar, map } => {
            let relation = match list.relation {
                _ if atomic => Items::Atomic,
                Items::Atomic => Items::Set,
                relation => relation,
            };
            Atom { list: Some(List { relation, element: list.element }), scalar, map }
        }
        // It makes no sense for a scalar: there is no such type.
        Atom { .. } => Atom::default(),
    }
}
