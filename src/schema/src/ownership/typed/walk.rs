//! What the walks share: where they are, and which form of a kind a value takes.

use serde_json::{Map as Fields, Value};

use super::{Problem, Violation, Violations, item};
use crate::ownership::{
    PathElement,
    kind::{Atom, List, Map, Scalar, Schema},
};

/// Where a walk is: a list of steps on the stack, put together only when something has to be reported.
#[derive(Clone, Copy)]
pub(super) enum At<'a> {
    Root,
    Field(&'a At<'a>, &'a str),
    Item(&'a At<'a>, &'a PathElement),
    /// An item whose element is not yet needed.
    ItemOf(&'a At<'a>, &'a Schema, &'a List, &'a Value),
    Index(&'a At<'a>, usize),
}

impl At<'_> {
    fn path(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Field(above, name) => format!("{}.{name}", above.path()),
            Self::Item(above, element) => format!("{}{element}", above.path()),
            Self::ItemOf(above, schema, list, item) => match item::element(schema, list, item) {
                Ok(element) => format!("{}{element}", above.path()),
                Err(_) => above.path(),
            },
            Self::Index(above, index) => format!("{}[{index}]", above.path()),
        }
    }

    pub fn violation(&self, problem: Problem) -> Violation {
        Violation { path: self.path(), problem }
    }

    pub fn fail(&self, problem: Problem) -> Violations {
        Violations(vec![self.violation(problem)])
    }
}

/// The form that a value takes at a place.
#[derive(Clone, Copy)]
pub(super) enum Form<'s> {
    Scalar(Scalar),
    List(&'s List),
    Map(&'s Map),
    Nothing,
}

impl PartialEq for Form<'_> {
    /// Of two forms of one atom.
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// The forms that an atom leaves open to a value: one when the value has decided, as many as the atom has when it is
/// null or fits none.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Open<'s> {
    pub form: Form<'s>,
    decided: bool,
}

/// Decides the form of a value. What fits no form is taken for the first that the atom has, and found wrong later.
pub(super) fn form_of<'s>(atom: &'s Atom, value: Option<&Value>) -> Open<'s> {
    let several =
        [atom.scalar.is_some(), atom.list.is_some(), atom.map.is_some()].into_iter().filter(|has| *has).count() > 1;
    let form = match (value, atom) {
        (Some(Value::Number(_) | Value::String(_) | Value::Bool(_)), Atom { scalar: Some(scalar), .. }) => {
            Form::Scalar(*scalar)
        }
        (Some(Value::Array(_)), Atom { list: Some(list), .. }) => Form::List(list),
        (Some(Value::Object(_)), Atom { map: Some(map), .. }) => Form::Map(map),
        (_, Atom { map, scalar, list }) => {
            let first = map.as_ref().map(Form::Map).or(scalar.map(Form::Scalar)).or(list.as_ref().map(Form::List));
            return Open { form: first.unwrap_or(Form::Nothing), decided: !several };
        }
    };
    Open { form, decided: true }
}

/// The fields of a value, if it is a map.
pub(super) fn fields(value: Option<&Value>) -> Option<&Fields<String, Value>> {
    value.and_then(Value::as_object)
}

/// The items of a value, if it is a list.
pub(super) fn items(value: Option<&Value>) -> Option<&Vec<Value>> {
    value.and_then(Value::as_array)
}

/// The names in either map with their values, in the order of names.
pub(super) fn zip<'v>(
    left: Option<&'v Fields<String, Value>>,
    right: Option<&'v Fields<String, Value>>,
) -> impl Iterator<Item = (&'v str, Option<&'v Value>, Option<&'v Value>)> {
    let in_left = left
        .into_iter()
        .flatten()
        .map(move |(name, value)| (name.as_str(), Some(value), right.and_then(|right| right.get(name))));
    let only_right = right
        .into_iter()
        .flatten()
        .filter(move |(name, _)| left.is_none_or(|left| !left.contains_key(*name)))
        .map(|(name, value)| (name.as_str(), None, Some(value)));
    in_left.chain(only_right)
}
