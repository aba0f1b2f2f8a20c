//! The identity of list items: by key fields, or by value.

use std::sync::Arc;

use serde_json::Value;

use super::{ItemError, Problem};
use crate::ownership::{
    PathElement,
    kind::{Items, List, Schema},
};

/// The element that names an item of a list that is not atomic.
pub(super) fn element(schema: &Schema, list: &List, item: &Value) -> Result<PathElement, ItemError> {
    check(schema, list, item)?;
    Ok(match &list.relation {
        Items::Keyed(names) => {
            let keys = names.iter().filter_map(|name| Some((name.clone(), key(schema, list, item, name)?.clone())));
            PathElement::key(keys.collect())
        }
        Items::Set | Items::Atomic => PathElement::value(item.clone()),
    })
}

/// Whether an item has an element that names it.
pub(super) fn check(schema: &Schema, list: &List, item: &Value) -> Result<(), ItemError> {
    match (&list.relation, item) {
        (Items::Keyed(names), Value::Object(_)) => {
            let named = names.is_empty() || names.iter().any(|name| key(schema, list, item, name).is_some());
            let all = || names.iter().map(|name| name.to_string()).collect();
            named.then_some(()).ok_or_else(|| ItemError::NoKeys(all()))
        }
        (Items::Keyed(_), Value::Null) => Err(ItemError::NullAmongMaps),
        (Items::Keyed(_), _) => Err(ItemError::NotAMap),
        (_, Value::Object(_)) => Err(ItemError::MapInSet),
        (_, Value::Array(_)) => Err(ItemError::ListInSet),
        (_, Value::Null) => Err(ItemError::NullInSet),
        _ => Ok(()),
    }
}

/// The value of a key field of an item, or its default. An item in which a key field is absent and has no default is another
/// one than any in which it has a value.
fn key<'v>(schema: &'v Schema, list: &List, item: &'v Value, name: &Arc<str>) -> Option<&'v Value> {
    item.get(&**name).or_else(|| schema.atom(list.element).map.as_ref()?.fields.get(name)?.default.as_ref())
}

/// As [`element`], with the item's position in the error.
pub(super) fn element_at(schema: &Schema, list: &List, index: usize, item: &Value) -> Result<PathElement, Problem> {
    element(schema, list, item).map_err(|source| Problem::Item { index, source })
}
