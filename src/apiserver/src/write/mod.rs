//! Writing: create, update, patch, apply, delete.
//!
//! ```text
//!  body ─ intake: parse, prune, default ─┐
//!  live ─ patch or apply ────────────────┴▶ prepare: system fields, subresource, ownership ▶ check ▶ commit
//! ```
//! Every write goes through the same steps, so field ownership, generation and validation hold whichever verb is used. A
//! write that would change nothing writes nothing.

mod check;
mod commit;
mod create;
mod delete;
mod intake;
mod patch;
mod prepare;
mod rules;
pub(crate) mod scale;
mod system;
mod update;

pub(crate) use create::create;
pub(crate) use delete::{CLEANUP, FOREGROUND, ORPHAN, delete};
pub(crate) use patch::patch;
pub(crate) use rules::{NAMESPACE_FINALIZER, set_condition, settle_definition};
pub(crate) use system::{ensure_namespace, modify, remove};
pub(crate) use update::update;
