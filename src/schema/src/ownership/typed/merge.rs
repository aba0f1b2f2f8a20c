//! Laying a configuration over an object.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map as Fields, Value};

use super::{
    Problem, Violations, item,
    walk::{At, Form, form_of, zip},
};
use crate::ownership::{
    PathElement, TypeRef,
    kind::{Items, List, Map, Schema, TypeId},
};

/// `live` with all that `config` says.
pub(super) fn merge(live: &Value, config: &Value, ty: &TypeRef) -> Result<Value, Violations> {
    let walk = Walk { schema: ty.schema() };
    Ok(walk.value(Some(live), Some(config), ty.id(), At::Root)?.unwrap_or(Value::Null))
}

struct Walk<'s> {
    schema: &'s Schema,
}

impl Walk<'_> {
    /// `None`: nothing is left here.
    fn value(
        &self,
        live: Option<&Value>,
        config: Option<&Value>,
        id: TypeId,
        at: At,
    ) -> Result<Option<Value>, Violations> {
        let (Some(live), Some(config)) = (live, config) else { return Ok(config.or(live).cloned()) };
        match form_of(self.schema.atom(id), Some(config)).form {
            Form::Map(map) => self.map(live, config, map, at),
            Form::List(list) => self.list(live, config, list, at),
            Form::Scalar(_) => Ok(Some(config.clone())),
            Form::Nothing => Err(at.fail(Problem::NoType)),
        }
    }

    fn map(&self, live: &Value, config: &Value, map: &Map, at: At) -> Result<Option<Value>, Violations> {
        let (live_fields, config_fields) = (live.as_object(), config.as_object());
        let empty = live_fields.is_none_or(Fields::is_empty) && config_fields.is_none_or(Fields::is_empty);
        if map.atomic || empty {
            return Ok(Some(config.clone()));
        }
        let mut merged = Fields::new();
        for (name, live, config) in zip(live_fields, config_fields) {
            if let Some(value) = self.value(live, config, map.type_of(name), At::Field(&at, name))? {
                merged.insert(name.to_owned(), value);
            }
        }
        Ok((!merged.is_empty()).then_some(Value::Object(merged)))
    }

    fn list(&self, live: &Value, config: &Value, list: &List, at: At) -> Result<Option<Value>, Violations> {
        let items = |value: &'_ Value| value.as_array().map_or(0, Vec::len);
        if list.relation == Items::Atomic || items(live) + items(config) == 0 {
            return Ok(Some(config.clone()));
        }
        let live = Indexed::new(self.schema, list, live, Twice::Hidden, at)?;
        let config = Indexed::new(self.schema, list, config, Twice::Refused, at)?;
        let merged = self.items(&live, &config, list, at)?;
        Ok((!merged.is_empty()).then_some(Value::Array(merged)))
    }

    /// The items of both lists. Items that both have keep the order of `config`; those that only `live` has stay behind the
    /// item they stood behind, as far as that order allows.
    fn items(&self, live: &Indexed, config: &Indexed, list: &List, at: At) -> Result<Vec<Value>, Violations> {
        let in_config = |element: &PathElement| config.by_element.contains_key(element);
        let mut shared: VecDeque<_> =
            config.elements.iter().filter(|element| live.by_element.contains_key(*element)).collect();
        let mut next_shared = shared.pop_front();
        let mut done = BTreeSet::new();
        let mut merged = Vec::with_capacity(live.elements.len().max(config.elements.len()));
        let (mut l, mut c) = (0, 0);
        while l < live.elements.len() || c < config.elements.len() {
            if let (Some(left), Some(right)) = (live.elements.get(l), config.elements.get(c)) {
                if left == right {
                    done.insert(left);
                    merged.extend(self.item(live.get(left), config.get(left), left, list, at)?);
                    (l, c) = (l + 1, c + 1);
                    next_shared = shared.pop_front();
                    continue;
                }
                if in_config(left) && next_shared.is_some_and(|next| next != left) {
                    // Both have it, but its turn has not come.
                    l += 1;
                    continue;
                }
            }
            if let Some(left) = live.elements.get(l) {
                if !in_config(left) {
                    merged.extend(self.item(Some(&live.items[l]), None, left, list, at)?);
                    l += 1;
                    continue;
                }
                if done.contains(left) {
                    l += 1;
                }
            }
            if let Some(right) = config.elements.get(c) {
                done.insert(right);
                merged.extend(self.item(live.get(right), config.get(right), right, list, at)?);
                c += 1;
                if next_shared == Some(right) {
                    next_shared = shared.pop_front();
                }
            }
        }
        Ok(merged)
    }

    fn item(
        &self,
        live: Option<&Value>,
        config: Option<&Value>,
        element: &PathElement,
        list: &List,
        at: At,
    ) -> Result<Option<Value>, Violations> {
        self.value(live, config, list.element, At::Item(&at, element))
    }
}

/// What happens to items that are in a list twice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Twice {
    Refused,
    /// They are seen as null: a new item is not merged into one of several.
    Hidden,
}

/// The items of a list, by position and by element.
struct Indexed<'v> {
    elements: Vec<PathElement>,
    items: &'v [Value],
    by_element: BTreeMap<PathElement, &'v Value>,
}

impl<'v> Indexed<'v> {
    fn new(schema: &Schema, list: &List, value: &'v Value, twice: Twice, at: At) -> Result<Self, Violations> {
        let items = value.as_array().map_or(&[][..], Vec::as_slice);
        let mut indexed = Self { elements: Vec::with_capacity(items.len()), items, by_element: BTreeMap::new() };
        for (index, item) in items.iter().enumerate() {
            let element = item::element_at(schema, list, index, item).map_err(|problem| at.fail(problem))?;
            if !indexed.by_element.contains_key(&element) {
                indexed.by_element.insert(element.clone(), item);
            } else if twice == Twice::Refused {
                return Err(at.fail(Problem::Duplicate(element)));
            } else {
                indexed.by_element.insert(element.clone(), &Value::Null);
            }
            indexed.elements.push(element);
        }
        Ok(indexed)
    }

    fn get(&self, element: &PathElement) -> Option<&'v Value> {
        self.by_element.get(element).copied()
    }
}
