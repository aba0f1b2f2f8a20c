//! What every write goes through, whichever verb it is.
//!
//! ```text
//!  mutate ─▶ own ─▶ prepare ─▶ validate ─▶ admit ─▶ commit
//!  the verb  who    fields of  metadata,   the      compare
//!            owns   the server schema,     rules of and swap
//!            what              the kind    access
//! ```
//! A verb mutates: it makes the [`Change`] out of a body or of what is stored. A server-side apply has decided about the
//! owners by then. A delete changes nothing but the marks of a deletion, so it goes straight to admission.

use http::StatusCode;
use nubium_schema::ownership::keep_times_if_unchanged;
use nubium_store::Object;
use serde_json::Value;

use super::commit::{self, Stored, Swap};
use super::{own, prepare, validate};
use crate::call::Call;
use crate::failure::Failure;
use crate::http::reply::Reply;
use crate::kind::Kind;
use crate::read::form::Shape;

/// How often a change is computed again because somebody else wrote meanwhile.
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
    /// The object that a request names, as it is now.
    pub async fn get(call: &Call, kind: &Kind) -> Result<Option<Self>, Failure> {
        let key = kind.key(&call.target.namespace, &call.target.name);
        call.state.store.get(&key).await?.object.map(|stored| Self::read(kind, stored)).transpose()
    }

    /// The same, or 404.
    pub async fn find(call: &Call, kind: &Kind) -> Result<Self, Failure> {
        Self::get(call, kind).await?.ok_or_else(|| Failure::not_found(kind.subject(), &call.target.name))
    }

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

/// What a change did.
pub(super) struct Written {
    pub stored: Stored,
    pub warnings: Vec<String>,
}

impl Written {
    /// The answer to a write, with warnings from before it.
    pub fn reply(self, shape: &Shape<'_>, code: StatusCode, mut warnings: Vec<String>) -> Result<Reply, Failure> {
        warnings.extend(self.warnings);
        let Stored { object, kept } = self.stored;
        // What was kept has been encoded already.
        let reply = match kept.filter(|kept| shape.is_as_stored(kept)) {
            Some(kept) => shape.reply_stored(code, &kept)?,
            None => shape.reply(code, object),
        };
        Ok(reply.warn(warnings))
    }
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

/// Carries a change out. `None` when somebody else wrote meanwhile.
///
/// # Errors
/// The refusal of the first step that refuses it.
pub(super) async fn run(call: &Call, kind: &Kind, mut change: Change<'_>) -> Result<Option<Written>, Failure> {
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
    let Change { mut new, dry_run, .. } = change;
    let Some(live) = change.old else {
        let stored = commit::create(call, kind, new, dry_run).await?;
        return Ok(Some(Written { stored, warnings }));
    };
    keep_times_if_unchanged(&live.object, &mut new);
    if dry_run || (new == live.object && !commit::is_released(kind, &new)) {
        return Ok(Some(Written { stored: Stored { object: new, kept: None }, warnings }));
    }
    Ok(match commit::swap(&call.state, kind, &live.stored, new).await? {
        Swap::Done(stored) => Some(Written { stored, warnings }),
        Swap::Lost => None,
    })
}
