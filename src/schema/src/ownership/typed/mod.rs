//! Objects with their kind: the operations that ownership is made of.
//!
//! A [`Typed`] has been checked against its kind once, when it was made; the operations rely on it. Each is a walk down
//! the value and the kind together, in a file of its own.

mod compare;
mod field_set;
mod item;
mod merge;
mod problem;
mod reconcile;
mod remove;
mod validate;
mod walk;

use std::borrow::Cow;

use serde_json::Value;

pub use compare::Comparison;
pub use problem::{ItemError, Problem, Violation, Violations};

use super::{Set, TypeRef};

/// Whether a set or a list of maps may hold an item twice. They may in what is stored (older versions let them
/// in), not in what is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    Allowed,
    Refused,
}

/// A value that fits its kind.
#[derive(Clone, Debug)]
pub struct Typed<'v> {
    value: Cow<'v, Value>,
    ty: TypeRef,
}

impl<'v> Typed<'v> {
    /// Checks a value against a kind.
    ///
    /// # Errors
    /// Everything that does not fit, each with its path.
    pub fn new(value: impl Into<Cow<'v, Value>>, ty: TypeRef, duplicates: Duplicates) -> Result<Self, Violations> {
        let value = value.into();
        validate::validate(&value, &ty, duplicates)?;
        Ok(Self { value, ty })
    }

    /// Checks a borrowed value against a kind.
    pub fn borrowed(value: &'v Value, ty: &TypeRef, duplicates: Duplicates) -> Result<Self, Violations> {
        validate::validate(value, ty, duplicates)?;
        Ok(Self { value: Cow::Borrowed(value), ty: ty.clone() })
    }

    /// The value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The value, given away.
    pub fn into_value(self) -> Value {
        self.value.into_owned()
    }

    /// The same object, borrowing nothing.
    pub fn into_static(self) -> Typed<'static> {
        Typed { value: Cow::Owned(self.value.into_owned()), ty: self.ty }
    }

    /// The kind.
    pub fn ty(&self) -> &TypeRef {
        &self.ty
    }

    fn with(&self, value: Value) -> Typed<'static> {
        Typed { value: Cow::Owned(value), ty: self.ty.clone() }
    }

    /// This object with everything that `config` says laid over it; nothing is taken away. The items of lists keep this
    /// object's order where `config` leaves it open.
    ///
    /// # Errors
    /// An item of a list that cannot be distinguished from others.
    pub fn merge(&self, config: &Typed) -> Result<Typed<'static>, Violations> {
        merge::merge(&self.value, &config.value, &self.ty).map(|value| self.with(value))
    }

    /// What has to be added, modified and removed to come from this object to `new`.
    ///
    /// # Errors
    /// An item of a list that cannot be distinguished from others.
    pub fn compare(&self, new: &Typed) -> Result<Comparison, Violations> {
        compare::compare(&self.value, &new.value, &self.ty)
    }

    /// The places that the object has a value at: what a manager owns that applies it.
    pub fn to_field_set(&self) -> Set {
        field_set::field_set(&self.value, &self.ty)
    }

    /// The object without these places and what is in them. What becomes empty by it stays as an empty list or map.
    pub fn remove_items(&self, places: &Set) -> Typed<'static> {
        self.with(remove::without(&self.value, places, &self.ty))
    }

    /// Only these places (leaves, see [`Set::leaves`]) of the object.
    pub fn extract_items(&self, places: &Set) -> Typed<'static> {
        self.with(remove::only(&self.value, places, &self.ty))
    }

    /// As [`Typed::extract_items`], with the key fields of the list items that places are in.
    pub fn extract_items_with_keys(&self, places: &Set) -> Typed<'static> {
        self.extract_items(&places.union(&remove::key_fields(places, &self.to_field_set())))
    }

    /// Brings a set that was written under an older schema up to this kind: where a list or map has since become one
    /// value, owning something in it becomes owning it. `None` when nothing changes.
    ///
    /// # Errors
    /// The set leads through a place that has no type.
    pub fn reconcile(&self, set: &Set) -> Result<Option<Set>, Violations> {
        reconcile::reconcile(set, &self.ty)
    }
}
