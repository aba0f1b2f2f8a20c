//! What a Kubernetes API server does to an object between the wire and the store, as pure functions on
//! [`serde_json::Value`]: parse and name duplicate keys, prune, default, validate (OpenAPI, CEL), patch, select,
//! print as a table.
//!
//! No I/O, and no kind is known here: kinds are [`Structural`] schemas, compiled once from a
//! CustomResourceDefinition or from published OpenAPI components. Texts, paths and reasons of errors are those of
//! kube-apiserver 1.35, because clients match on them.
//!
//! ```text
//! bytes ─ document ─▶ Value ─ patch ─▶ prune ─▶ default ─▶ validate ─▶ rules (CEL) ─▶ the store
//!              │                        │                      │
//!       duplicate fields         unknown fields           FieldErrors ─▶ Status
//! ```

#![forbid(unsafe_code)]

pub mod cel;
mod correlate;
mod default;
pub mod document;
mod embedded;
pub mod error;
mod format;
mod go;
mod listtype;
pub mod names;
pub mod ownership;
pub mod patch;
pub mod path;
mod prune;
mod re2;
pub mod selector;
pub mod structural;
pub mod table;
mod validate;
mod work;

pub use document::{Document, DocumentError};
pub use error::{ErrorKind, FieldError};
pub use patch::PatchError;
pub use path::FieldPath;
pub use selector::{FieldSelector, LabelSelector};
pub use structural::Structural;
