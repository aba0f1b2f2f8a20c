//! Namespaces: held until they are empty, labelled with their name.

use serde_json::{Value, json};

use crate::object::meta;

/// The finalizer of a namespace's spec, let go when nothing is left in it.
pub(crate) const FINALIZER: &str = "kubernetes";

/// Every namespace has its name as a label.
pub(super) fn default(object: &mut Value) {
    let name = meta::text(object, "name").to_owned();
    if name.is_empty() {
        return;
    }
    let labels = meta::of(object).entry("labels").or_insert_with(|| json!({}));
    if labels.is_null() {
        *labels = json!({});
    }
    if let Some(labels) = labels.as_object_mut() {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
    }
}

pub(super) fn prepare(object: &mut Value, live: Option<&Value>) {
    match live {
        None => {
            object["spec"] = json!({"finalizers": [FINALIZER]});
            object["status"] = json!({"phase": "Active"});
        }
        // Only the finalize subresource changes them.
        Some(live) => object["spec"] = live["spec"].clone(),
    }
}
