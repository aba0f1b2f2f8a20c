//! Whether a value fits a kind.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Duplicates, Problem, Violations, item,
    walk::{At, Form, form_of},
};
use crate::ownership::{
    TypeRef,
    kind::{Items, List, Map, Scalar, Schema, TypeId},
};

/// Checks a value.
pub(super) fn validate(value: &Value, ty: &TypeRef, duplicates: Duplicates) -> Result<(), Violations> {
    let mut walk = Walk { schema: ty.schema(), duplicates, found: Violations::default() };
    walk.value(value, ty.id(), At::Root);
    if walk.found.0.is_empty() { Ok(()) } else { Err(walk.found) }
}

struct Walk<'s> {
    schema: &'s Schema,
    duplicates: Duplicates,
    found: Violations,
}

impl Walk<'_> {
    fn report(&mut self, at: At, problem: Problem) {
        self.found.0.push(at.violation(problem));
    }

    fn value(&mut self, value: &Value, id: TypeId, at: At) {
        if id == TypeId::UNTYPED || id == TypeId::DEDUCED {
            return;
        }
        match form_of(self.schema.atom(id), Some(value)).form {
            Form::Map(map) => self.map(value, map, at),
            Form::List(list) => self.list(value, list, at),
            Form::Scalar(wanted) if !scalar_fits(wanted, value) => {
                self.report(at, Problem::NotTheScalar { wanted, found: value.clone() });
            }
            Form::Scalar(_) => {}
            Form::Nothing => self.report(at, Problem::NoType),
        }
    }

    fn map(&mut self, value: &Value, map: &Map, at: At) {
        let fields = match value {
            Value::Object(fields) => fields,
            Value::Null => return,
            other => return self.report(at, Problem::NotAMap(other.clone())),
        };
        for (name, value) in fields {
            match map.type_of(name) {
                TypeId::NOTHING => self.report(At::Field(&at, name), Problem::NotDeclared),
                ty => self.value(value, ty, At::Field(&at, name)),
            }
        }
    }

    fn list(&mut self, value: &Value, list: &List, at: At) {
        let items = match value {
            Value::Array(items) => items,
            Value::Null => return,
            other => return self.report(at, Problem::NotAList(other.clone())),
        };
        if list.relation == Items::Atomic {
            for (index, item) in items.iter().enumerate() {
                self.value(item, list.element, At::Index(&at, index));
            }
            return;
        }
        for (index, item) in items.iter().enumerate() {
            if let Err(source) = item::check(self.schema, list, item) {
                // Nothing in the item could be named.
                return self.report(at, Problem::Item { index, source });
            }
            self.value(item, list.element, At::ItemOf(&at, self.schema, list, item));
        }
        if self.duplicates == Duplicates::Refused {
            let mut seen = BTreeSet::new();
            for element in items.iter().filter_map(|item| item::element(self.schema, list, item).ok()) {
                if seen.contains(&element) {
                    self.report(at, Problem::Duplicate(element));
                } else {
                    seen.insert(element);
                }
            }
        }
    }
}

fn scalar_fits(wanted: Scalar, value: &Value) -> bool {
    let fits = match wanted {
        Scalar::Numeric => value.is_number(),
        Scalar::String => value.is_string(),
        Scalar::Boolean => value.is_boolean(),
        Scalar::Untyped => !value.is_array() && !value.is_object(),
    };
    fits || value.is_null()
}
