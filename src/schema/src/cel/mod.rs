//! CEL rules (`x-kubernetes-validations`): compiled once when a CRD is accepted, evaluated on every write.
//!
//! Fences, because the parser and the evaluator have none of their own:
//! - a rule longer than [`MAX_RULE_BYTES`] or nested deeper than [`MAX_NESTING`] is refused before it is parsed (than
//!   [`MAX_DEPTH`], after), and
//!   parsing runs on a stack of its own, since a stack overflow ends the process;
//! - names that are neither `self`, `oldSelf` nor bound by a macro, unknown functions, and fields that the schema does
//!   not have are refused at compile time (types are not checked);
//! - before a rule runs, its steps are estimated from how deep its comprehensions nest and how large the value's lists
//!   and maps are; one object may cost [`MAX_STEPS`] steps, more is refused as "out of cost budget".

mod compile;
mod evaluate;
mod fields;
mod steps;
mod value;

use kube_cel::cel::Program;
use serde_json::Value;

pub(crate) use compile::compile_rules;
pub(crate) use fields::check_fields;

use crate::error::ErrorKind;

/// The longest rule or message expression.
pub const MAX_RULE_BYTES: usize = 2048;
/// The deepest nesting of brackets in a rule.
pub const MAX_NESTING: usize = 64;
/// The deepest a parsed rule may nest, operators counted.
pub const MAX_DEPTH: usize = 128;
/// Rules deeper than this are evaluated on a stack of their own too.
pub(crate) const SHALLOW: usize = 24;
/// Evaluation steps (visited expression nodes, estimated from above) one object may cost: about a second at worst.
pub const MAX_STEPS: u64 = 5_000_000;

/// A compiled rule of one schema node.
#[derive(Debug)]
pub(crate) struct Rule {
    program: Program,
    message_program: Option<Program>,
    message: String,
    source: String,
    reason: ErrorKind,
    /// Continues the path of the node, as `.spec.a`; empty for the node itself.
    field_path: String,
    optional_old_self: bool,
    uses_old_self: bool,
    steps: steps::Cost,
    pub(crate) depth: usize,
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
