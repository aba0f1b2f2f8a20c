//! Selectors: which objects a list or a watch returns, by labels or by fields.

mod field;
mod label;
mod lexer;

use thiserror::Error;

pub use field::{FieldRequirement, FieldSelector, escape_field_value};
pub use label::{LabelSelector, Operator, Requirement};

/// Why a text is no selector, in the words of Kubernetes.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{0}")]
pub struct SelectorError(pub(crate) String);
