//! Who owns which field of an object, and how one writer's configuration is merged into it: server-side apply.
//!
//! The layers, from the bottom up; each knows only those above it in this list:
//! ```text
//! fieldpath       one place in an object, and sets of places (the `fieldsV1` of a managedFields entry)
//! kind            what each place may hold, and how it merges (from an OpenAPI v3 schema)
//! typed           an object with its kind: validate, merge, compare, remove, list its fields
//! merge           the rules of ownership between managers: update, apply, conflicts, pruning
//! managed_fields  Kubernetes' `metadata.managedFields` on top: what an API server calls
//! ```
//! The rules are those of Kubernetes' structured-merge-diff v6, whose own cases are the tests (`tests/smd.rs`).
//! Everything here is pure: the time and the manager's name are handed in.

pub mod fieldpath;
pub mod kind;
pub mod managed_fields;
pub mod merge;
pub mod typed;

pub use fieldpath::{Path, PathElement, Set};
pub use kind::TypeRef;
pub use managed_fields::{ApplyError, Request, after_update, apply, keep_times_if_unchanged, manager_name};
