//! Finalizers of the core group's kinds: each is one of Kubernetes', or says whose it is.

use nubium_schema::FieldError;
use serde_json::Value;

use crate::object::meta::{self, FOREGROUND, ORPHAN};

/// The finalizer of a namespace's spec, removed when nothing is left in it.
pub(crate) const FINALIZER: &str = "kubernetes";

/// What is wrong with a finalizer that does not say whose it is.
pub(super) fn unqualified(name: &str, at: &str) -> Option<FieldError> {
    let is_fit = name.contains('/') || matches!(name, FINALIZER | ORPHAN | FOREGROUND);
    let detail = "name is neither a standard finalizer name nor is it fully qualified";
    (!is_fit).then(|| FieldError::invalid(at, name, detail))
}

/// The same of an object's own finalizers.
pub(super) fn unqualified_finalizers(object: &Value) -> Vec<FieldError> {
    let named = meta::finalizers(object).into_iter().enumerate();
    named.filter_map(|(index, name)| unqualified(name, &format!("metadata.finalizers[{index}]"))).collect()
}
