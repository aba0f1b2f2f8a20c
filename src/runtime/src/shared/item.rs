//! An object of a watch, decoded by itself: one that this version cannot read does not hide the others.
//!
//! kube decodes a list as a whole. One object that the schema accepts and the Rust type does not would end every watch
//! of its kind, in every process, again and again. Here each object is decoded apart from the rest, and what cannot be
//! read is still known by its metadata.

use std::{borrow::Cow, fmt::Debug};

use kube::{Resource, api::ObjectMeta, core::DynamicResourceScope};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

use crate::conditions;

/// An object as the watch brought it.
#[derive(Debug, Clone)]
pub(super) enum Item<K> {
    Read(K),
    Unreadable(Box<Unreadable>),
}

/// What is known of an object that cannot be decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Unreadable {
    /// Namespace, name, UID, resourceVersion and generation; the rest where it can be read.
    pub metadata: ObjectMeta,
    /// What is wrong, and where: `spec.restartedAt: …`.
    pub error: String,
    /// Its condition `Ready`, as it stands.
    pub(super) ready: Option<Value>,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Item<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Ok(match decode(&value) {
            Ok(object) => Self::Read(object),
            Err(error) => Self::Unreadable(Box::new(Unreadable {
                metadata: metadata(&value),
                error,
                ready: conditions::find(&value["status"], "Ready").cloned(),
            })),
        })
    }
}

fn decode<K: DeserializeOwned>(value: &Value) -> Result<K, String> {
    serde_path_to_error::deserialize(value).map_err(|error| error.to_string())
}

/// The metadata, or of metadata that cannot be decoded either what identifies the object.
fn metadata(object: &Value) -> ObjectMeta {
    let meta = &object["metadata"];
    let text = |field: &str| meta[field].as_str().map(str::to_owned);
    ObjectMeta::deserialize(meta).unwrap_or_else(|_| ObjectMeta {
        name: text("name"),
        namespace: text("namespace"),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        generation: meta["generation"].as_i64(),
        ..ObjectMeta::default()
    })
}

impl Unreadable {
    /// Its key.
    pub fn key(&self) -> crate::Key {
        let ObjectMeta { name, namespace, .. } = &self.metadata;
        crate::Key::new(namespace.clone().unwrap_or_default(), name.clone().unwrap_or_default())
    }
}

impl<K: Resource<DynamicType = ()>> Resource for Item<K> {
    type DynamicType = ();
    // An Api of it is made from an Api of K, whose scope was checked.
    type Scope = DynamicResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Read(object) => object.meta(),
            Self::Unreadable(object) => &object.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Read(object) => object.meta_mut(),
            Self::Unreadable(object) => &mut object.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::Lease;
    use kube::{ResourceExt, core::ObjectList};
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_list_only_what_cannot_be_read_is_unreadable_and_the_error_names_the_field() {
        let lease = |name: &str, time: &str| {
            json!({
                "metadata": {"namespace": "hosts", "name": name, "uid": "u", "resourceVersion": "7", "generation": 2},
                "spec": {"renewTime": time},
            })
        };
        let list = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "LeaseList", "metadata": {}, "items": [
            lease("a", "2026-01-01T00:00:00.000000Z"),
            lease("b", "9999-12-31T23:59:59Z"),
            {"metadata": {"name": "c", "creationTimestamp": "never", "generation": 3}},
        ]});
        let list: ObjectList<Item<Lease>> = serde_json::from_value(list).unwrap();
        assert!(matches!(&list.items[0], Item::Read(lease) if lease.name_any() == "a"));
        let Item::Unreadable(b) = &list.items[1] else { panic!("{:?}", list.items[1]) };
        assert_eq!(b.key(), crate::Key::new("hosts", "b"));
        assert!(b.error.starts_with("spec.renewTime: "), "{}", b.error);
        let Item::Unreadable(c) = &list.items[2] else { panic!("{:?}", list.items[2]) };
        assert_eq!((c.metadata.name.as_deref(), c.metadata.generation), (Some("c"), Some(3)));
    }
}
