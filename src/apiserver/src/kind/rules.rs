//! What a kind does beyond its schema.

use nubium_schema::FieldError;
use serde_json::Value;

use super::snapshot::Snapshot;

/// What a built-in kind's rules may look at besides the object.
pub(crate) struct Context<'a> {
    pub snapshot: &'a Snapshot,
    /// The time of the request, as objects carry it.
    pub now: &'a str,
    /// The subresource that is written; empty for the object itself.
    pub subresource: &'a str,
}

/// What a built-in kind does beyond its schema. The rules of custom kinds are the defaults here.
pub(crate) trait Builtin: std::fmt::Debug + Send + Sync {
    /// Completes an object as it was read: forms that are turned into others, names that follow from others.
    fn default(&self, _object: &mut Value) {}

    /// Sets what the server itself says in an object, whoever writes it. `old` is what it replaces.
    fn prepare(&self, _context: &Context<'_>, _object: &mut Value, _old: Option<&Value>) {}

    /// Everything wrong with an object that no schema can say.
    fn validate(
        &self,
        _context: &Context<'_>,
        _object: &Value,
        _old: Option<&Value>,
        _warnings: &mut Vec<String>,
    ) -> Vec<FieldError> {
        Vec::new()
    }

    /// Why the object called `name` may not be deleted.
    fn is_protected(&self, _name: &str) -> Option<&'static str> {
        None
    }

    /// Changes an object that is being marked for deletion.
    fn on_delete(&self, _object: &mut Value) {}

    /// Whether an object that is marked for deletion is held by more than its finalizers.
    fn is_held(&self, _object: &Value) -> bool {
        false
    }

    /// Whether its objects define kinds, which are served before the write is answered.
    fn defines_kinds(&self) -> bool {
        false
    }
}

/// A kind without rules of its own.
#[derive(Debug)]
pub(super) struct NoRules;

impl Builtin for NoRules {}
