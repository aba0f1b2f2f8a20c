//! Adds and removes one finalizer, on exactly the object that was read.
//!
//! A JSON patch that tests the UID and the list it is based on: it cannot undo another's change of the list, and it
//! does not fail because a status was written meanwhile, as a test of resourceVersion would.

use kube::{
    Api, Error, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{errors::conflicting, not_found, patch::patch};

/// Whether the object has that finalizer.
pub fn has_finalizer<K: Resource>(object: &K, finalizer: &str) -> bool {
    object.finalizers().iter().any(|held| held == finalizer)
}

/// Adds `finalizer`. True when it wrote; an object that has it already is fine.
///
/// Fails with a conflict when the object or its finalizers are no longer as `seen` shows them.
pub async fn add_finalizer<K: Resource + Clone>(api: &Api<K>, seen: &K, finalizer: &str) -> Result<bool, Error> {
    if has_finalizer(seen, finalizer) {
        return Ok(false);
    }
    let mut wanted = seen.finalizers().to_vec();
    wanted.push(finalizer.to_owned());
    replace(api, seen, &wanted).await.map(|()| true)
}

/// Removes `finalizer`. True when it wrote; an object that is gone, or never had it, is fine.
///
/// Fails with a conflict when the object or its finalizers are no longer as `seen` shows them.
pub async fn remove_finalizer<K: Resource + Clone>(api: &Api<K>, seen: &K, finalizer: &str) -> Result<bool, Error> {
    if !has_finalizer(seen, finalizer) {
        return Ok(false);
    }
    let wanted: Vec<String> = seen.finalizers().iter().filter(|held| *held != finalizer).cloned().collect();
    match replace(api, seen, &wanted).await {
        Ok(()) => Ok(true),
        Err(error) if not_found(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn replace<K: Resource + Clone>(api: &Api<K>, seen: &K, wanted: &[String]) -> Result<(), Error> {
    let change = serde_json::from_value(change(seen.uid(), seen.finalizers(), wanted)).map_err(Error::SerdeError)?;
    let result = patch(api, &seen.name_any(), None, &PatchParams::default(), &Patch::<()>::Json(change)).await;
    result.map(drop).map_err(|error| match error {
        // This is how a test that does not hold is answered.
        Error::Api(status) if status.code == 422 => {
            conflicting(&format!("finalizers changed meanwhile: {}", status.message))
        }
        error => error,
    })
}

/// The patch from the list that was seen to the one that is wanted.
fn change(uid: Option<String>, seen: &[String], wanted: &[String]) -> Value {
    let before = if seen.is_empty() { Value::Null } else { json!(seen) };
    json!([
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": "/metadata/finalizers", "value": before},
        {"op": "add", "path": "/metadata/finalizers", "value": wanted},
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patch_tests_what_it_is_based_on() {
        let patch = change(Some("u1".into()), &["a".into()], &["a".into(), "b".into()]);
        assert_eq!(patch[0]["value"], "u1");
        assert_eq!(patch[1]["value"], json!(["a"]));
        assert_eq!(patch[2]["value"], json!(["a", "b"]));
        assert_eq!(change(None, &[], &["a".into()])[1]["value"], Value::Null);
    }
}
