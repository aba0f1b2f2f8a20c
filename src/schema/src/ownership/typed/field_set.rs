//! The places that an object has a value at.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{
    item,
    walk::{Form, form_of},
};
use crate::ownership::{
    PathElement, Set, TypeRef,
    fieldpath::Node,
    kind::{Items, List, Map, Schema, TypeId},
};

/// Lists the places.
pub(super) fn field_set(value: &Value, ty: &TypeRef) -> Set {
    Set::from_nodes(places(value, ty.id(), ty.schema()).1)
}

/// Whether the place of a value is listed itself, and what is listed below it.
fn places(value: &Value, id: TypeId, schema: &Schema) -> (bool, Vec<Node>) {
    match form_of(schema.atom(id), Some(value)).form {
        Form::Scalar(_) => (true, Vec::new()),
        Form::Map(map) if map.atomic => (true, Vec::new()),
        Form::List(list) if list.relation == Items::Atomic => (true, Vec::new()),
        Form::Map(map) => (false, in_map(value, map, schema)),
        Form::List(list) => (false, in_list(value, list, schema)),
        Form::Nothing => (false, Vec::new()),
    }
}

fn in_map(value: &Value, map: &Map, schema: &Schema) -> Vec<Node> {
    let fields = value.as_object().into_iter().flatten();
    let nodes = fields.map(|(name, value)| {
        let declared = map.fields.get_key_value(name.as_str());
        let ty = declared.map_or(map.element, |(_, field)| field.ty);
        let (listed, below) = places(value, ty, schema);
        let name: Arc<str> = declared.map_or_else(|| name.as_str().into(), |(name, _)| name.clone());
        // An empty map is a statement; so is an entry of a map, unlike a declared field, which is always there.
        let empty = value.is_null() || value.as_object().is_some_and(|fields| fields.is_empty());
        let member = listed || empty || declared.is_none();
        Node { element: PathElement::Field(name), member, children: Set::from_nodes(below) }
    });
    nodes.collect()
}

fn in_list(value: &Value, list: &List, schema: &Schema) -> Vec<Node> {
    let mut by_element: BTreeMap<PathElement, Vec<&Value>> = BTreeMap::new();
    for value in value.as_array().into_iter().flatten() {
        // An item that lost its key fields by removal has no place.
        if let Ok(element) = item::element(schema, list, value) {
            by_element.entry(element).or_default().push(value);
        }
    }
    let nodes = by_element.into_iter().map(|(element, items)| {
        let below = match items[..] {
            [only] => places(only, list.element, schema).1,
            _ => Vec::new(),
        };
        Node { element, member: true, children: Set::from_nodes(below) }
    });
    nodes.collect()
}
