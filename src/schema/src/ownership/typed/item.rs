//! Telling the items of a list apart.

use serde_json::Value;

use super::{ItemError, Problem};
use crate::ownership::{
    PathElement,
    kind::{Items, List, Schema},
};

/// The element that names an item of a list that is not atomic.
pub(super) fn element(schema: &Schema, list: &List, item: &Value) -> Result<PathElement, ItemError> {
    match (&list.relation, item) {
        (Items::Keyed(names), Value::Object(fields)) => {
            let declared = schema.atom(list.element).map.as_ref();
            let default = |name: &str| declared?.fields.get(name)?.default.as_ref();
            // A key field that is absent and has no default is left out: that is another item than one with any value.
            let keys: Vec<_> = names
                .iter()
                .filter_map(|name| Some((name.clone(), fields.get(&**name).or_else(|| default(name))?.clone())))
                .collect();
            if keys.is_empty() && !names.is_empty() {
                return Err(ItemError::NoKeys(names.iter().map(|name| name.to_string()).collect()));
            }
            Ok(PathElement::key(keys))
        }
        (Items::Keyed(_), Value::Null) => Err(ItemError::NullAmongMaps),
        (Items::Keyed(_), _) => Err(ItemError::NotAMap),
        (_, Value::Object(_)) => Err(ItemError::MapInSet),
        (_, Value::Array(_)) => Err(ItemError::ListInSet),
        (_, Value::Null) => Err(ItemError::NullInSet),
        (_, scalar) => Ok(PathElement::value(scalar.clone())),
    }
}

/// As [`element`], with the item's position in the error.
pub(super) fn element_at(schema: &Schema, list: &List, index: usize, item: &Value) -> Result<PathElement, Problem> {
    element(schema, list, item).map_err(|source| Problem::Item { index, source })
}
