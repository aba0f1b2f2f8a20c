//! Sets that were written when the schema was another one.
//!
//! Only one change matters: a list or map that merged by item and is now one value. Who owned something in it then owns
//! it as a whole. The other way round needs nothing: owning the whole goes on to mean just that.

use super::{Problem, Violations, walk::At};
use crate::ownership::{
    Path, PathElement, Set, TypeRef,
    fieldpath::Node,
    kind::{Items, Map, Scalar, Schema, TypeId},
};

/// The set under the present schema, if that is another set.
pub(super) fn reconcile(set: &Set, ty: &TypeRef) -> Result<Option<Set>, Violations> {
    let mut walk = Walk { schema: ty.schema(), path: Path::default(), whole: Set::new() };
    walk.value(Some(set), ty.id(), false)?;
    let whole = walk.whole;
    Ok((!whole.is_empty()).then(|| set.recursive_difference(&whole).union(&whole)))
}

struct Walk<'s> {
    schema: &'s Schema,
    path: Path,
    /// The places that have become one value.
    whole: Set,
}

impl Walk<'_> {
    /// Looks at one place. `below`: what the set has below it; `alone`: it is in the set and nothing below it is.
    fn value(&mut self, below: Option<&Set>, id: TypeId, alone: bool) -> Result<(), Violations> {
        let atom = self.schema.atom(id);
        if let Some(map) = &atom.map {
            if is_deduced(map, self.schema) {
                return Ok(());
            }
            if map.atomic && !alone {
                if below.is_some_and(|below| !below.is_empty()) {
                    self.whole.insert(&self.path);
                }
                return Ok(());
            }
            return self.children(below, |element| match element {
                PathElement::Field(name) => map.type_of(name),
                _ => map.element,
            });
        }
        if atom.scalar.is_some() {
            return Ok(());
        }
        let Some(list) = &atom.list else { return Err(At::Root.fail(Problem::NoType)) };
        if list.relation == Items::Atomic && !alone {
            self.whole.insert(&self.path);
            return Ok(());
        }
        self.children(below, |_| list.element)
    }

    /// Looks at all that the set has below a place; what has no type any more is left alone.
    fn children(&mut self, below: Option<&Set>, type_of: impl Fn(&PathElement) -> TypeId) -> Result<(), Violations> {
        for Node { element, member, children } in below.into_iter().flat_map(Set::nodes) {
            let ty = type_of(element);
            if ty != TypeId::NOTHING {
                self.path.0.push(element.clone());
                self.value(Some(children), ty, *member && children.is_empty())?;
                self.path.0.pop();
            }
        }
        Ok(())
    }
}

/// Whether a map has no schema of its own: its types follow from its values.
fn is_deduced(map: &Map, schema: &Schema) -> bool {
    map.fields.is_empty() && map.element != TypeId::UNTYPED && schema.atom(map.element).scalar == Some(Scalar::Untyped)
}
