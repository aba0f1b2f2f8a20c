//! What every write goes through, whichever verb it is.
//!
//! ```text
//!  mutate ─▶ own ─▶ prepare ─▶ validate ─▶ admit ─▶ commit
//!  the verb  who    fields of  metadata,   the      compare
//!            owns   the server schema,     rules of and swap
//!            what              the kind    access
//! ```
//! All but the commit waits for nobody, and is one computation on what was read: a large one is made away from the threads
//! that answer requests ([`Call::compute`]). When somebody else wrote meanwhile, the verb reads and computes again.
//!
//! A verb mutates: it makes the [`Change`] out of a body or of what is stored. A server-side apply has decided about the
//! owners by then. A delete changes nothing but the marks of a deletion, so it goes straight to admission.

use nubium_schema::ownership::keep_times_if_unchanged;
use nubium_store::Object;
use serde_json::Value;

use super::commit::{self, Prepared, Step};
use super::{own, prepare, validate};
use crate::call::Call;
use crate::failure::Failure;
use crate::kind::Kind;

/// How often a change is computed because somebody else wrote meanwhile.
pub(super) const TRIES: usize = 8;

/// What a change does to the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Create,
    Update,
    Delete,
}

/// Whether the field owners in an object are still to be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owners {
    /// From what changes.
    Compute,
    /// They are in the object already.
    Given,
}

/// An object as it is stored, decoded once.
pub(super) struct Live {
    pub stored: Object,
    pub object: Value,
}

impl Live {
    pub fn read(kind: &Kind, stored: Object) -> Result<Self, Failure> {
        let object = kind
            .read(&stored)
            .map_err(|error| Failure::internal(format!("the stored object {} cannot be read: {error}", stored.key)))?;
        Ok(Self { stored, object })
    }
}

/// A change of one object, on its way to the store.
pub(super) struct Change<'a> {
    pub verb: Verb,
    /// `None` for a create.
    pub old: Option<&'a Live>,
    /// For a delete: the object, marked for deletion.
    pub new: Value,
    pub owners: Owners,
    pub dry_run: bool,
}

impl<'a> Change<'a> {
    pub fn create(call: &Call, new: Value, owners: Owners) -> Self {
        Self { verb: Verb::Create, old: None, new, owners, dry_run: call.options.dry_run }
    }

    pub fn update(call: &Call, old: &'a Live, new: Value, owners: Owners) -> Self {
        Self { verb: Verb::Update, old: Some(old), new, owners, dry_run: call.options.dry_run }
    }

    pub fn delete(old: &'a Live, marked: Value, dry_run: bool) -> Self {
        Self { verb: Verb::Delete, old: Some(old), new: marked, owners: Owners::Given, dry_run }
    }

    pub fn old(&self) -> Option<&'a Value> {
        self.old.map(|live| &live.object)
    }

    fn verb_name(&self) -> &'static str {
        match self.verb {
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Delete => "delete",
        }
    }
}

/// Takes a change through every step but the last. Waits for nobody.
///
/// # Errors
/// The refusal of the first step that refuses it.
pub(super) fn run(call: &Call, kind: &Kind, mut change: Change<'_>) -> Result<Prepared, Failure> {
    let old = change.old();
    let mut warnings = Vec::new();
    if change.verb != Verb::Delete {
        prepare::check_lengths(kind, old, &change.new)?;
        match old {
            None => prepare::confine_new(call, kind, &mut change.new),
            Some(old) => {
                prepare::check_version(kind, old, &mut change.new)?;
                prepare::confine(call, kind, old, &mut change.new);
            }
        }
        if change.owners == Owners::Compute {
            own::record(call, kind, old, &mut change.new);
        }
        prepare::prepare(call, kind, old, &mut change.new);
        warnings = validate::validate(call, kind, &change.new, old)?;
    }
    call.admit(change.verb_name(), old, (change.verb != Verb::Delete).then_some(&change.new))?;
    let Change { new: mut object, dry_run, old, .. } = change;
    let step = match old {
        None if dry_run => Step::Create(None),
        None => Step::Create(Some(commit::encoded(kind, &object)?)),
        Some(live) => {
            keep_times_if_unchanged(&live.object, &mut object);
            if dry_run || (object == live.object && !commit::is_released(kind, &object)) {
                Step::Keep
            } else {
                Step::Replace(live.stored.clone(), commit::successor(kind, &object)?)
            }
        }
    };
    Ok(Prepared { object, warnings, step })
}
