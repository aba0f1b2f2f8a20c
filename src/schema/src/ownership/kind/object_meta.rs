//! The type of `metadata`, which is the same for every kind and not part of a custom resource's schema.

use super::{Builder, Field, Items, List, Map, Scalar, TypeId};

/// Adds the type of `metadata` to a schema.
pub(super) fn add(builder: &mut Builder) -> TypeId {
    let string = builder.add(Scalar::String);
    let number = builder.add(Scalar::Numeric);
    let boolean = builder.add(Scalar::Boolean);
    let time = builder.add(Scalar::Untyped);
    let strings = builder.add(Map::of(string));
    let finalizers = builder.add(List { element: string, relation: Items::Set });
    let owner = structure(&[
        ("apiVersion", string),
        ("blockOwnerDeletion", boolean),
        ("controller", boolean),
        ("kind", string),
        ("name", string),
        ("uid", string),
    ]);
    let owner = builder.add(Map { atomic: true, ..owner });
    let owners = builder.add(List { element: owner, relation: Items::Keyed(vec!["uid".into()]) });
    let managed_fields = builder.add(List { element: TypeId::UNTYPED, relation: Items::Atomic });
    builder.add(structure(&[
        ("annotations", strings),
        ("creationTimestamp", time),
        ("deletionGracePeriodSeconds", number),
        ("deletionTimestamp", time),
        ("finalizers", finalizers),
        ("generateName", string),
        ("generation", number),
        ("labels", strings),
        ("managedFields", managed_fields),
        ("name", string),
        ("namespace", string),
        ("ownerReferences", owners),
        ("resourceVersion", string),
        ("selfLink", string),
        ("uid", string),
    ]))
}

fn structure(fields: &[(&str, TypeId)]) -> Map {
    let fields = fields.iter().map(|(name, ty)| ((*name).into(), Field { ty: *ty, default: None }));
    Map { fields: fields.collect(), element: TypeId::NOTHING, atomic: false }
}
