//! A place in an object, from its root.

use std::{
    fmt::{self, Display, Formatter},
    ops::Deref,
};

use super::PathElement;

/// The steps from the root of an object to one place in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<PathElement>);

impl Path {
    /// A path of fields only.
    pub fn of_fields<const N: usize>(names: [&str; N]) -> Self {
        Self(names.into_iter().map(PathElement::field).collect())
    }
}

impl Deref for Path {
    type Target = [PathElement];

    fn deref(&self) -> &[PathElement] {
        &self.0
    }
}

/// As in conflict messages: `.spec.disks[name="root"].size`.
impl Display for Path {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|element| element.fmt(f))
    }
}
