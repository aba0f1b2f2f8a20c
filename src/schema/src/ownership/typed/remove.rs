//! Taking places out of an object, or taking only them.

use serde_json::{Map as Fields, Value};

use super::{
    item,
    walk::{Form, form_of},
};
use crate::ownership::{
    Path, PathElement, Set, TypeRef,
    kind::{Items, List, Map, Schema, TypeId},
};

/// The value without the places and what is in them.
pub(super) fn without(value: &Value, places: &Set, ty: &TypeRef) -> Value {
    Walk { schema: ty.schema(), keep: Keep::TheRest }.value(value, places, ty.id())
}

/// The value with nothing but the places.
pub(super) fn only(value: &Value, places: &Set, ty: &TypeRef) -> Value {
    Walk { schema: ty.schema(), keep: Keep::ThePlaces }.value(value, places, ty.id())
}

/// The key fields of the list items that the places which are there are in.
pub(super) fn key_fields(places: &Set, there: &Set) -> Set {
    let mut keys = Set::new();
    places.for_each(|path| {
        if !there.has(path) {
            return;
        }
        for (index, element) in path.iter().enumerate() {
            if let PathElement::Key(fields) = element {
                for (name, _) in fields.iter() {
                    let mut field = Path(path[..=index].to_vec());
                    field.0.push(PathElement::Field(name.clone()));
                    keys.insert(&field);
                }
            }
        }
    });
    keys
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    TheRest,
    ThePlaces,
}

struct Walk<'s> {
    schema: &'s Schema,
    keep: Keep,
}

impl Walk<'_> {
    /// What is kept of a value; null when that is nothing.
    fn value(&self, value: &Value, places: &Set, id: TypeId) -> Value {
        match form_of(self.schema.atom(id), Some(value)).form {
            Form::Scalar(_) => value.clone(),
            Form::Map(map) => match value.as_object() {
                Some(fields) if fields.is_empty() || map.atomic => self.whole(value),
                Some(fields) => self.map(fields, places, map),
                None => Value::Null,
            },
            Form::List(list) => match value.as_array() {
                Some(items) if items.is_empty() || list.relation == Items::Atomic => self.whole(value),
                Some(items) => self.list(items, places, list),
                None => Value::Null,
            },
            Form::Nothing => Value::Null,
        }
    }

    /// A container that is not looked into: places lead into it, so it is one of them.
    fn whole(&self, value: &Value) -> Value {
        match self.keep {
            Keep::ThePlaces => value.clone(),
            Keep::TheRest => Value::Null,
        }
    }

    fn map(&self, fields: &Fields<String, Value>, places: &Set, map: &Map) -> Value {
        let mut kept = Fields::new();
        let mut touched = false;
        for (name, value) in fields {
            let (ty, node) = (map.type_of(name), places.node(&PathElement::field(name)));
            let below = node.map(|node| &node.children).filter(|children| !children.is_empty());
            let named = node.is_some_and(|node| node.member);
            let value = match (self.keep, below) {
                (Keep::TheRest, _) if named => continue,
                // A place that has others below it is looked into with the places around it, as the reference does:
                // callers hand in leaves.
                (Keep::ThePlaces, _) if named => self.value(value, places, ty),
                (Keep::ThePlaces, None) => continue,
                (Keep::ThePlaces, Some(below)) => self.value(value, below, ty),
                (Keep::TheRest, Some(below)) => {
                    touched = true;
                    emptied(value, self.value(value, below, ty))
                }
                (Keep::TheRest, None) => value.clone(),
            };
            kept.insert(name.clone(), value);
        }
        if kept.is_empty() && !touched { Value::Null } else { Value::Object(kept) }
    }

    fn list(&self, items: &[Value], places: &Set, list: &List) -> Value {
        let mut kept = Vec::with_capacity(items.len());
        let mut touched = false;
        for value in items {
            let node = item::element(self.schema, list, value).ok().and_then(|element| places.node(&element));
            let below = node.map(|node| &node.children).filter(|children| !children.is_empty());
            let named = node.is_some_and(|node| node.member);
            match (self.keep, below) {
                (Keep::TheRest, _) if named => {}
                (Keep::TheRest, Some(below)) => {
                    touched = true;
                    kept.push(emptied(value, self.value(value, below, list.element)));
                }
                (Keep::TheRest, None) => kept.push(value.clone()),
                (Keep::ThePlaces, Some(below)) => kept.push(self.value(value, below, list.element)),
                (Keep::ThePlaces, None) if named => kept.push(value.clone()),
                (Keep::ThePlaces, None) => {}
            }
        }
        if kept.is_empty() && !touched { Value::Null } else { Value::Array(kept) }
    }
}

/// What is left of a container from which something was removed: empty rather than gone.
fn emptied(before: &Value, left: Value) -> Value {
    match (before, left) {
        (Value::Object(_), Value::Null) => Value::Object(Fields::new()),
        (Value::Array(_), Value::Null) => Value::Array(Vec::new()),
        (_, left) => left,
    }
}
