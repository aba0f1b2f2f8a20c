//! Namespaces: held until they are empty, labelled with their name.

use serde_json::{Value, json};

use crate::kind::rules::{Builtin, Context};
use crate::object::meta;

/// The finalizer of a namespace's spec, removed when nothing is left in it.
pub(crate) const FINALIZER: &str = "kubernetes";

#[derive(Debug)]
pub(super) struct Namespace;

impl Builtin for Namespace {
    /// Every namespace has its name as a label.
    fn default(&self, object: &mut Value) {
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

    fn prepare(&self, _: &Context<'_>, object: &mut Value, old: Option<&Value>) {
        match old {
            None => {
                object["spec"] = json!({"finalizers": [FINALIZER]});
                object["status"] = json!({"phase": "Active"});
            }
            // Only the finalize subresource changes them.
            Some(old) => object["spec"] = old["spec"].clone(),
        }
    }

    /// A cluster cannot be without these.
    fn is_protected(&self, name: &str) -> Option<&'static str> {
        matches!(name, "default" | "kube-system" | "kube-public").then_some("this namespace may not be deleted")
    }

    fn on_delete(&self, object: &mut Value) {
        meta::set(object, "deletionGracePeriodSeconds", None);
        object["status"]["phase"] = "Terminating".into();
    }

    fn is_held(&self, object: &Value) -> bool {
        object["spec"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
    }
}
