//! Writing: create, update, patch, apply, delete.
//!
//! ```text
//!  body ─ intake: parse, prune, default ─┐
//!  live ─ patch, apply, scale, mark ─────┴▶ Change ─▶ pipeline: own ▶ prepare ▶ validate ▶ admit ▶ commit
//! ```
//! Every verb only makes a [`pipeline::Change`]; one pipeline carries it out, so field ownership, generation, validation
//! and admission hold whichever verb is used. A write that would change nothing writes nothing.

mod commit;
mod create;
mod delete;
mod intake;
mod own;
mod patch;
mod pipeline;
mod prepare;
pub(crate) mod scale;
mod system;
mod update;
mod validate;

pub(crate) use create::create;
pub(crate) use delete::{delete, delete_collection};
pub(crate) use patch::patch;
pub(crate) use system::{Removed, ensure_namespace, modify, remove};
pub(crate) use update::update;
