//! Looks at an object itself, not at the cache, before anything of it is destroyed.
//!
//! "Not in my cache", "no longer in my watch" and "gone by name" never mean "may be destroyed". The only permission is
//! a [`Marked`]: the API server, asked just now, showed this very UID with a deletion mark. It cannot be made otherwise.

use std::fmt::Debug;

use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::Key;

/// What a live look at one UID found.
#[derive(Debug)]
pub enum Live<K> {
    /// It is there and not marked for deletion.
    Wanted(Box<K>),
    /// It is there and marked for deletion.
    Marked(Marked<K>),
    /// That UID is no more: the name is free, or another object's.
    Gone(Gone),
}

/// Proof that an object was seen, live, marked for deletion.
#[derive(Debug)]
pub struct Marked<K>(Box<K>);

/// Proof that an object of that UID was looked for, live, and is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    name: String,
    uid: String,
}

impl<K: Resource> Marked<K> {
    /// The object as the API server showed it.
    pub fn object(&self) -> &K {
        &self.0
    }

    /// Its key.
    pub fn key(&self) -> Key {
        Key::of(self.object())
    }

    /// Its UID.
    pub fn uid(&self) -> String {
        self.0.uid().unwrap_or_default()
    }

    /// The generation that carries the mark: what a report of the release must say it observed.
    pub fn generation(&self) -> Option<i64> {
        self.0.meta().generation
    }
}

impl Gone {
    /// The name that was looked under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The UID that is no more.
    pub fn uid(&self) -> &str {
        &self.uid
    }
}

/// Looks at the object `name`, in the namespace of `api`, and says how the one with this UID stands.
///
/// An error means that nobody could look: it is never a permission.
pub async fn live_get<K>(api: &Api<K>, name: &str, uid: &str) -> Result<Live<K>, kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    Ok(classify(api.get_opt(name).await?, name, uid))
}

fn classify<K: Resource>(found: Option<K>, name: &str, uid: &str) -> Live<K> {
    match found {
        Some(object) if object.meta().uid.as_deref() == Some(uid) => {
            if object.meta().deletion_timestamp.is_some() {
                Live::Marked(Marked(Box::new(object)))
            } else {
                Live::Wanted(Box::new(object))
            }
        }
        _ => Live::Gone(Gone { name: name.to_owned(), uid: uid.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn map(uid: &str, deleted: bool) -> ConfigMap {
        let mark = deleted.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({"metadata": {"name": "a", "uid": uid, "deletionTimestamp": mark}})).unwrap()
    }

    #[test]
    fn only_the_marked_object_of_that_very_uid_is_marked() {
        assert!(matches!(classify(Some(map("1", true)), "a", "1"), Live::Marked(marked) if marked.uid() == "1"));
        assert!(matches!(classify(Some(map("1", false)), "a", "1"), Live::Wanted(_)));
        assert!(matches!(classify(Some(map("2", true)), "a", "1"), Live::Gone(gone) if gone.uid() == "1"));
        assert!(matches!(classify::<ConfigMap>(None, "a", "1"), Live::Gone(_)));
    }
}
