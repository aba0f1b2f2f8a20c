//! CEL rules (`x-kubernetes-validations`): compiled once when a CRD is accepted, evaluated on every write.
//!
//! ```text
//! text ─ cel crate: parse ─▶ lowered (expr) ─ fields, types ─▶ Rule ─ interpret, on a budget ─▶ FieldErrors
//! ```
//!
//! - A rule longer than [`MAX_RULE_BYTES`] or nested deeper than [`MAX_NESTING`] is refused before it is parsed, and
//!   parsing runs on a stack of its own, since a stack overflow ends the process.
//! - Names that are neither `self`, `oldSelf` nor bound by a macro, unknown functions, and fields that the schema does
//!   not have are refused at compile time. There is no full type checker: only what is certainly no text or no truth
//!   value is refused where one is needed.
//! - Evaluation counts its steps as Kubernetes counts costs: an expression may cost [`MAX_RULE_COST`], all rules of one
//!   object [`MAX_COST`]. The size of values counts.

mod compile;
mod evaluate;
mod expr;
mod fields;
mod folds;
mod interpret;
mod library;
mod meter;
mod net;
mod value;

use serde_json::Value;

pub(crate) use compile::compile_rules;
pub(crate) use fields::check_fields;

use crate::error::ErrorKind;

/// The longest rule or message expression.
pub const MAX_RULE_BYTES: usize = 64 * 1024;
/// The deepest nesting of brackets and operators in the text of a rule.
pub const MAX_NESTING: usize = 250;
/// The deepest a parsed rule may nest.
pub const MAX_DEPTH: usize = 128;
/// What one expression may cost: the limit of Kubernetes.
pub const MAX_RULE_COST: u64 = 1_000_000;
/// What all rules of one object may cost together: the limit of Kubernetes.
pub const MAX_COST: u64 = 10_000_000;

/// A compiled rule of one schema node.
#[derive(Debug)]
pub(crate) struct Rule {
    program: expr::Program,
    message_program: Option<expr::Program>,
    message: String,
    source: String,
    reason: ErrorKind,
    /// Continues the path of the node, as `.spec.a`; empty for the node itself.
    field_path: String,
    field_names: Vec<String>,
    optional_old_self: bool,
    uses_old_self: bool,
}

pub(crate) fn mentions_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.contains_key("x-kubernetes-validations") || map.values().any(mentions_rules),
        Value::Array(items) => items.iter().any(mentions_rules),
        _ => false,
    }
}

/// Runs `work` with 32 MiB of stack.
pub(crate) fn on_big_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(32 << 20).spawn_scoped(scope, work);
        match thread.expect("a thread can be started").join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[cfg(test)]
mod tests;
