//! Namespaces: held until they are empty, labelled with their name.

use nubium_schema::FieldError;
use nubium_schema::names::label_key;
use serde_json::{Value, json};

use super::qualified::{FINALIZER, unqualified, unqualified_finalizers};
use crate::kind::rules::{Builtin, Context};
use crate::object::meta;

#[derive(Debug)]
pub(super) struct Namespace;

/// What is wrong with a finalizer of the spec.
fn finalizer(name: &str, at: &str) -> Vec<FieldError> {
    let shape = label_key(name).into_iter().map(|detail| FieldError::invalid(at, name, detail));
    shape.chain(unqualified(name, at)).collect()
}

impl Builtin for Namespace {
    /// Every namespace has its name as a label, and a list of finalizers only while one is in it.
    fn default(&self, object: &mut Value) {
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
            && spec.get("finalizers").is_some_and(|finalizers| finalizers.as_array().is_some_and(Vec::is_empty))
        {
            spec.remove("finalizers");
        }
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

    fn prepare(&self, context: &Context<'_>, object: &mut Value, old: Option<&Value>) {
        match old {
            None => {
                object["spec"] = json!({"finalizers": [FINALIZER]});
                object["status"] = json!({"phase": "Active"});
            }
            Some(_) if context.subresource == "finalize" => {}
            Some(old) => object["spec"] = old["spec"].clone(),
        }
    }

    fn validate(
        &self,
        context: &Context<'_>,
        object: &Value,
        _: Option<&Value>,
        _: &mut Vec<String>,
    ) -> Vec<FieldError> {
        let mut errors = unqualified_finalizers(object);
        let named = object["spec"]["finalizers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let named = named.iter().filter(|_| context.subresource == "finalize").filter_map(Value::as_str).enumerate();
        errors.extend(named.flat_map(|(index, name)| finalizer(name, &format!("spec.finalizers[{index}]"))));
        errors
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
