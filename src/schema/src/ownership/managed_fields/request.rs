//! What a write is, apart from the objects.

use crate::ownership::{Set, TypeRef};
use serde_json::Value;

/// A write. `Request { manager, api_version, kind, now, ..Request::default() }` is one to the main resource.
#[derive(Clone, Copy, Default)]
pub struct Request<'a> {
    /// Who writes: `fieldManager`, or the user agent up to its first `/` (at most 128 characters). Empty: `unknown`.
    pub manager: &'a str,
    /// The version that the request is in, and its objects with it: `v1`, `nubium.dev/v1alpha1`.
    pub api_version: &'a str,
    /// The kind of the objects.
    pub kind: &'a str,
    /// Empty for the main resource, else `status`, ….
    pub subresource: &'a str,
    /// Whether an apply takes what belongs to others.
    pub force: bool,
    /// The time of the write, as `2026-11-21T01:15:45Z`.
    pub now: &'a str,
    /// What this resource never takes from a client: `status` on a main resource that has a status subresource, `spec` on
    /// that subresource. It is not owned by who sends it.
    pub reset_fields: Option<&'a Set>,
    /// An object of this kind that says nothing, as compared with on create. `None`: one that has only `apiVersion` and
    /// `kind`, as for custom resources; built-in kinds also have their structs: `{"metadata":{},"spec":{},"status":{}}`.
    pub empty: Option<&'a Value>,
    /// For kinds of several versions. `None`: what is owned in any other version is forgotten.
    pub conversion: Option<Conversion<'a>>,
}

/// Gives an object in another version, with its kind in that version; `None` when there is no such version.
pub type Conversion<'a> = &'a (dyn Fn(&Value, &str) -> Option<(Value, TypeRef)> + Sync);
