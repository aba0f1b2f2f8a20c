//! What each place of an object may hold, and how it merges.
//!
//! A [`Schema`] is an arena of [`Atom`]s that name each other by [`TypeId`], so that kinds may hold themselves. A
//! [`TypeRef`] is one atom with its schema: the kind of an object, cheap to clone and shared between requests.

mod object_meta;
mod openapi;

use std::{collections::HashMap, sync::Arc};

use serde_json::Value;

pub use openapi::OpenApiError;

/// One kind in its schema.
#[derive(Clone, Debug)]
pub struct TypeRef {
    schema: Arc<Schema>,
    id: TypeId,
}

impl TypeRef {
    /// The kind `id` of a schema.
    pub fn new(schema: Arc<Schema>, id: TypeId) -> Self {
        Self { schema, id }
    }

    /// The kind of an object without a schema: maps merge by entry, lists are replaced whole.
    pub fn deduced() -> Self {
        Self::new(Arc::new(Builder::new().build()), TypeId::DEDUCED)
    }

    /// The kind's schema.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Where the kind is in its schema.
    pub fn id(&self) -> TypeId {
        self.id
    }
}

/// Where an atom is in its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeId(u32);

impl TypeId {
    /// Nothing is allowed here: the type of fields that are not declared.
    pub const NOTHING: Self = Self(0);
    /// Anything, replaced whole.
    pub const UNTYPED: Self = Self(1);
    /// Anything; maps merge by entry, lists are replaced whole.
    pub const DEDUCED: Self = Self(2);
}

/// Atoms that refer to each other.
#[derive(Clone, Debug)]
pub struct Schema {
    atoms: Vec<Atom>,
}

impl Schema {
    pub(crate) fn atom(&self, id: TypeId) -> &Atom {
        &self.atoms[id.0 as usize]
    }
}

/// The forms that a value may have at a place; usually one, several where the value decides (int-or-string, untyped).
#[derive(Clone, Debug, Default)]
pub struct Atom {
    pub scalar: Option<Scalar>,
    pub list: Option<List>,
    pub map: Option<Map>,
}

/// A value without parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    Numeric,
    String,
    Boolean,
    /// Any of the three.
    Untyped,
}

/// A list.
#[derive(Clone, Debug)]
pub struct List {
    pub element: TypeId,
    pub relation: Items,
}

/// How the items of a list relate to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Items {
    /// The list is one value, replaced whole.
    Atomic,
    /// A set of scalars, merged by value.
    Set,
    /// Maps that are identified by these fields, merged item by item.
    Keyed(Vec<Arc<str>>),
}

/// A struct (declared fields), a map (an element type), or both.
#[derive(Clone, Debug)]
pub struct Map {
    pub fields: HashMap<Arc<str>, Field>,
    /// The type of entries that are not declared fields; [`TypeId::NOTHING`] when there may be none.
    pub element: TypeId,
    /// Whether the map is one value, replaced whole.
    pub atomic: bool,
}

/// A declared field.
#[derive(Clone, Debug)]
pub struct Field {
    pub ty: TypeId,
    /// What the field is when it is absent, as far as it is a key of a list.
    pub default: Option<Value>,
}

impl Map {
    /// A map whose entries are all of one type.
    pub fn of(element: TypeId) -> Self {
        Self { fields: HashMap::new(), element, atomic: false }
    }

    /// The type of a field or entry.
    pub(crate) fn type_of(&self, name: &str) -> TypeId {
        self.fields.get(name).map_or(self.element, |field| field.ty)
    }
}

impl From<Scalar> for Atom {
    fn from(scalar: Scalar) -> Self {
        Self { scalar: Some(scalar), ..Self::default() }
    }
}

impl From<List> for Atom {
    fn from(list: List) -> Self {
        Self { list: Some(list), ..Self::default() }
    }
}

impl From<Map> for Atom {
    fn from(map: Map) -> Self {
        Self { map: Some(map), ..Self::default() }
    }
}

/// Collects the atoms of a schema.
#[derive(Debug)]
pub struct Builder {
    atoms: Vec<Atom>,
}

impl Builder {
    /// A schema that has only the three atoms that every schema has.
    pub fn new() -> Self {
        let anything = |map_element| Atom {
            scalar: Some(Scalar::Untyped),
            list: Some(List { element: TypeId::UNTYPED, relation: Items::Atomic }),
            map: Some(Map::of(map_element)),
        };
        let mut untyped = anything(TypeId::UNTYPED);
        if let Some(map) = &mut untyped.map {
            map.atomic = true;
        }
        Self { atoms: vec![Atom::default(), untyped, anything(TypeId::DEDUCED)] }
    }

    /// Adds an atom.
    pub fn add(&mut self, atom: impl Into<Atom>) -> TypeId {
        let id = TypeId(u32::try_from(self.atoms.len()).expect("a schema of 4 billion types does not fit in memory"));
        self.atoms.push(atom.into());
        id
    }

    /// Sets an atom that was added before its parts were known.
    pub fn set(&mut self, id: TypeId, atom: impl Into<Atom>) {
        self.atoms[id.0 as usize] = atom.into();
    }

    /// An atom added so far.
    pub fn get(&self, id: TypeId) -> &Atom {
        &self.atoms[id.0 as usize]
    }

    /// The finished schema.
    pub fn build(self) -> Schema {
        Schema { atoms: self.atoms }
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}
