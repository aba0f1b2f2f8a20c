//! What every kind says of itself beside its schema, in its own file; `KINDS` in the crate's root lists them all.

use std::iter;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResourceExt, Resource};
use serde::de::DeserializeOwned;

use crate::contract::Writer;

/// A kind of Nubium.
pub trait Kind: Resource<DynamicType = ()> + CustomResourceExt + DeserializeOwned {
    /// The plural name in lower case, such as `servers`.
    const RESOURCE: &'static str;
    /// What its controller writes of the status: the summary, and whatever nobody else writes.
    const CONTROLLER: Writer;
    /// Who else writes a part of the status. Every field and condition has one writer.
    const OTHER_WRITERS: &'static [Writer] = &[];

    /// Specs that are accepted and that together set every field, for the tests of this crate.
    #[cfg(test)]
    fn examples() -> Vec<serde_json::Value>;
}

/// A [`Kind`] as data.
pub(crate) struct AnyKind {
    pub resource: &'static str,
    pub crd: fn() -> CustomResourceDefinition,
    controller: Writer,
    others: &'static [Writer],
    #[cfg(test)]
    pub examples: fn() -> Vec<serde_json::Value>,
    /// Reads an object as the kind's type.
    #[cfg(test)]
    pub read: fn(&serde_json::Value) -> Result<(), String>,
}

impl AnyKind {
    pub const fn of<K: Kind>() -> Self {
        Self {
            resource: K::RESOURCE,
            crd: K::crd,
            controller: K::CONTROLLER,
            others: K::OTHER_WRITERS,
            #[cfg(test)]
            examples: K::examples,
            #[cfg(test)]
            read: crate::tests::read::<K>,
        }
    }

    /// Everybody who writes a part of the status, the controller first.
    pub fn writers(&self) -> impl Iterator<Item = &Writer> {
        iter::once(&self.controller).chain(self.others)
    }
}
