//! Decisions over a change as a whole, made when it is known exactly and just before it is stored.

use serde_json::Value;

use super::authorize::Action;
use super::identity::Identity;
use crate::failure::Failure;

/// A change, and who makes it.
pub(crate) struct ChangeRequest<'a> {
    pub identity: &'a Identity,
    pub action: Action<'a>,
    /// `None` for a create.
    pub old: Option<&'a Value>,
    /// `None` for a delete.
    pub new: Option<&'a Value>,
}

/// A rule over changes.
pub(crate) trait Admission: Send + Sync {
    /// # Errors
    /// The refusal that the caller is answered.
    fn admit(&self, request: &ChangeRequest<'_>) -> Result<(), Failure>;
}
