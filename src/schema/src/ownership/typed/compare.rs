//! What is different between two objects of one kind.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map as Fields, Value};

use super::{
    Problem, Violations, item,
    walk::{At, Form, fields, form_of, items, zip},
};
use crate::ownership::{
    PathElement, Set, TypeRef,
    fieldpath::{Filter, Node, equal},
    kind::{Items, List, Map, Schema, TypeId},
};

/// The difference between two objects; no place is in two of the sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    pub removed: Set,
    pub modified: Set,
    pub added: Set,
}

impl Comparison {
    /// The differences at places that a filter lets through.
    #[must_use]
    pub fn filter(&self, filter: &Filter) -> Self {
        Self {
            removed: filter.filter(&self.removed),
            modified: filter.filter(&self.modified),
            added: filter.filter(&self.added),
        }
    }
}

/// Compares two values.
pub(super) fn compare(old: &Value, new: &Value, ty: &TypeRef) -> Result<Comparison, Violations> {
    let walk = Walk { schema: ty.schema() };
    let found = walk.value(Some(old), Some(new), ty.id(), At::Root)?;
    Ok(Comparison {
        removed: Set::from_nodes(found.removed.below),
        modified: Set::from_nodes(found.modified.below),
        added: Set::from_nodes(found.added.below),
    })
}

/// What differs at one place and below it.
#[derive(Default)]
struct Found {
    removed: Part,
    modified: Part,
    added: Part,
}

/// One of the three sets, at one place and below it.
#[derive(Default)]
struct Part {
    here: bool,
    below: Vec<Node>,
}

impl Part {
    fn is_empty(&self) -> bool {
        !self.here && self.below.is_empty()
    }

    fn put(&mut self, child: Part, element: &PathElement) {
        if !child.is_empty() {
            let (element, children) = (element.clone(), Set::from_nodes(child.below));
            self.below.push(Node { element, member: child.here, children });
        }
    }

    fn join(&mut self, other: Part) {
        self.here |= other.here;
        self.below.extend(other.below);
    }
}

impl Found {
    fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.modified.is_empty() && self.added.is_empty()
    }

    fn put(&mut self, child: Found, element: &PathElement) {
        self.removed.put(child.removed, element);
        self.modified.put(child.modified, element);
        self.added.put(child.added, element);
    }

    /// The difference of two values that have no parts.
    fn leaf(old: Option<&Value>, new: Option<&Value>) -> Self {
        let mut found = Self::default();
        match (old, new) {
            (None, _) => found.added.here = true,
            (_, None) => found.removed.here = true,
            (Some(old), Some(new)) => found.modified.here = !equal(old, new),
        }
        found
    }

    /// What is found in the parts of a container, itself being new or gone.
    fn container(mut self, old: Option<&Value>, new: Option<&Value>) -> Self {
        self.added.here |= old.is_none();
        self.removed.here |= new.is_none();
        self
    }
}

struct Walk<'s> {
    schema: &'s Schema,
}

impl Walk<'_> {
    fn value(&self, old: Option<&Value>, new: Option<&Value>, id: TypeId, at: At) -> Result<Found, Violations> {
        let atom = self.schema.atom(id);
        let (old_form, new_form) = (form_of(atom, old), form_of(atom, new));
        if new.is_none() {
            return self.form(old, new, old_form.form, at);
        }
        let mut found = self.form(old, new, new_form.form, at)?;
        if old.is_some() && old_form != new_form {
            // It is of another form now: what was in the old one is gone too.
            let before = self.form(old, new, old_form.form, at)?;
            found.removed.join(before.removed);
            found.modified.join(before.modified);
            found.added.join(before.added);
        }
        Ok(found)
    }

    fn form(&self, old: Option<&Value>, new: Option<&Value>, form: Form, at: At) -> Result<Found, Violations> {
        match form {
            Form::Map(map) => self.map(old, new, map, at),
            Form::List(list) => self.list(old, new, list, at),
            Form::Scalar(_) => Ok(Found::leaf(old, new)),
            Form::Nothing => Err(at.fail(Problem::NoType)),
        }
    }

    fn map(&self, old: Option<&Value>, new: Option<&Value>, map: &Map, at: At) -> Result<Found, Violations> {
        let (old_fields, new_fields) = (fields(old), fields(new));
        let empty = old_fields.is_none_or(Fields::is_empty) && new_fields.is_none_or(Fields::is_empty);
        if map.atomic || empty {
            return Ok(Found::leaf(old, new));
        }
        let mut found = Found::default();
        for (name, old, new) in zip(old_fields, new_fields) {
            let (declared, ty) = match map.fields.get_key_value(name) {
                Some((declared, field)) => (Some(declared), field.ty),
                None => (None, map.element),
            };
            let child = self.value(old, new, ty, At::Field(&at, name))?;
            if !child.is_empty() {
                let name: Arc<str> = declared.cloned().unwrap_or_else(|| name.into());
                found.put(child, &PathElement::Field(name));
            }
        }
        Ok(found.container(old, new))
    }

    fn list(&self, old: Option<&Value>, new: Option<&Value>, list: &List, at: At) -> Result<Found, Violations> {
        let (old_items, new_items) = (items(old), items(new));
        let empty = old_items.is_none_or(Vec::is_empty) && new_items.is_none_or(Vec::is_empty);
        if list.relation == Items::Atomic || empty {
            return Ok(Found::leaf(old, new));
        }
        if old == new {
            return Ok(Found::default());
        }
        let mut by_element: BTreeMap<PathElement, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
        for (index, value) in old_items.into_iter().flatten().enumerate() {
            let element = item::element_at(self.schema, list, index, value).map_err(|problem| at.fail(problem))?;
            by_element.entry(element).or_default().0.push(value);
        }
        for (index, value) in new_items.into_iter().flatten().enumerate() {
            let element = item::element_at(self.schema, list, index, value).map_err(|problem| at.fail(problem))?;
            by_element.entry(element).or_default().1.push(value);
        }
        let mut found = Found::default();
        for (element, (old, new)) in &by_element {
            let child = self.items(old, new, list.element, At::Item(&at, element))?;
            found.put(child, element);
        }
        Ok(found.container(old, new))
    }

    /// Compares the items of one element. Where an element occurs several times, its items are one value together; the
    /// place itself then means "several times".
    fn items(&self, old: &[&Value], new: &[&Value], ty: TypeId, at: At) -> Result<Found, Violations> {
        match (old, new) {
            ([] | [_], [] | [_]) => self.value(old.first().copied(), new.first().copied(), ty, at),
            ([_, _, ..], [_, _, ..]) => {
                let mut found = Found::default();
                let same = old.len() == new.len() && old.iter().zip(new).all(|(old, new)| equal(old, new));
                found.modified.here = !same;
                Ok(found)
            }
            (_, [] | [_]) => {
                let mut found = match new.first() {
                    Some(new) => self.value(None, Some(new), ty, at)?,
                    None => Found::default(),
                };
                found.removed.here = true;
                Ok(found)
            }
            ([] | [_], _) => {
                let mut found = match old.first() {
                    Some(old) => self.value(Some(old), None, ty, at)?,
                    None => Found::default(),
                };
                found.added.here = true;
                Ok(found)
            }
        }
    }
}
