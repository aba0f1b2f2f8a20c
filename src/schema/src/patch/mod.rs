//! The patch languages that a Kubernetes API server takes besides server-side apply.

pub mod json;
pub mod merge;
pub mod strategic;

use thiserror::Error;

pub use json::{JsonPatch, apply_json_patch};
pub use merge::apply_merge_patch;
pub use strategic::apply_strategic_merge_patch;

/// Why a patch cannot be applied.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PatchError {
    /// The patch itself is not in its language.
    #[error("{0}")]
    Malformed(String),
    #[error("The allowed maximum operations in a JSON patch is {max}, got {found}")]
    TooManyOperations { max: usize, found: usize },
    #[error("The patch moves too many list items: the limit is {max} for all of its operations together")]
    TooMuchWork { max: usize },
    /// The patch does not fit the object: a failed test, a missing path.
    #[error("{0}")]
    Unprocessable(String),
}

impl PatchError {
    /// The HTTP status that Kubernetes answers with: 400, 413 or 422.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::TooManyOperations { .. } | Self::TooMuchWork { .. } => 413,
            Self::Unprocessable(_) => 422,
        }
    }
}
