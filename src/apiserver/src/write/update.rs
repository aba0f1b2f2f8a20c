//! Replacing an object, and the core of every change to one.

use bytes::Bytes;
use http::StatusCode;
use nubium_schema::FieldError;
use nubium_schema::ownership::keep_times_if_unchanged;
use nubium_store::Object;
use serde_json::Value;

use super::commit::{self, Swap};
use super::intake::{self, Intake};
use super::{check, create, prepare, rules};
use crate::call::Call;
use crate::failure::Failure;
use crate::http::reply::Reply;
use crate::kind::Kind;
use crate::object::{meta, scan};

/// How often a change is computed again because somebody else wrote meanwhile.
pub(super) const TRIES: usize = 8;

/// What a change did.
pub(super) struct Changed {
    pub object: Value,
    pub warnings: Vec<String>,
}

/// `PUT` of an object or of its status.
pub(crate) async fn update(call: &Call, kind: &Kind, body: Bytes) -> Result<Reply, Failure> {
    let Intake { mut object, mut warnings } = intake::object(call, kind, &body)?;
    prepare::place(call, kind, &mut object)?;
    let said = meta::text(&object, "resourceVersion").to_owned();
    let mut tries = 0;
    loop {
        tries += 1;
        let Some(live) = live(call, kind).await? else {
            if !kind.behaviour.create_on_update || !call.target.subresource.is_empty() {
                return Err(Failure::not_found(kind.subject(), &call.target.name));
            }
            call.allow("create", &call.target.name)?;
            meta::set(&mut object, "resourceVersion", None);
            let (created, more) = create::new(call, kind, object).await?;
            warnings.extend(more);
            return Ok(call.shape(kind)?.reply(StatusCode::CREATED, created).warn(warnings));
        };
        let (said_uid, uid) =
            (meta::text(&object, "uid"), scan::scalar(&live.value, "metadata.uid").unwrap_or_default());
        if !said_uid.is_empty() && said_uid != uid {
            let why = format!("Precondition failed: UID in precondition: {said_uid}, UID in object meta: {uid}");
            return Err(Failure::conflict(kind.subject(), &call.target.name, &why));
        }
        match change(call, kind, &live, object.clone(), Own::Tell).await? {
            Some(changed) => {
                warnings.extend(changed.warnings);
                return Ok(call.shape(kind)?.reply(StatusCode::OK, changed.object).warn(warnings));
            }
            // Without a resourceVersion the client wants to win over whatever came before.
            None if said.is_empty() && tries < TRIES => {}
            None => return Err(Failure::modified(kind.subject(), &call.target.name)),
        }
    }
}

/// The object that a request names, as it is now.
pub(super) async fn live(call: &Call, kind: &Kind) -> Result<Option<Object>, Failure> {
    Ok(call.state.store.get(&kind.key(&call.target.namespace, &call.target.name)).await?.object)
}

pub(super) fn read(kind: &Kind, stored: &Object) -> Result<Value, Failure> {
    kind.read(stored).map_err(|error| Failure::internal(format!("a stored object cannot be read: {error}")))
}

/// What is to be done about the owners of an object's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    /// They are to be told from what changes.
    Tell,
    /// They are told already, or stay as they are.
    Told,
}

/// Puts `object` in the place of what is stored as `live`, as far as this endpoint may. `None` when somebody else wrote
/// meanwhile.
pub(super) async fn change(
    call: &Call,
    kind: &Kind,
    live: &Object,
    mut object: Value,
    own: Own,
) -> Result<Option<Changed>, Failure> {
    let stored = live;
    let live = read(kind, stored)?;
    let version = meta::text(&live, "resourceVersion").to_owned();
    match meta::text(&object, "resourceVersion") {
        "" if kind.behaviour.unconditional_update => meta::set(&mut object, "resourceVersion", Some(version.into())),
        "" => {
            let error = FieldError::invalid("metadata.resourceVersion", 0, "must be specified for an update");
            return Err(Failure::invalid(&kind.group, &kind.plural, meta::text(&live, "name"), &[error]));
        }
        said if said == version => {}
        _ => return Err(Failure::modified(kind.subject(), meta::text(&live, "name"))),
    }
    prepare::for_update(call, kind, &live, &mut object);
    if own == Own::Tell {
        prepare::own(call, kind, Some(&live), &mut object)?;
    }
    rules::prepare(call, kind, &mut object, Some(&live));
    prepare::count_generation(kind, &live, &mut object);
    let warnings = check::check(call, kind, &object, Some(&live))?;
    call.allow_change(&live, &object)?;
    keep_times_if_unchanged(&live, &mut object);
    if (object == live && !commit::is_released(&object)) || call.options.dry_run {
        return Ok(Some(Changed { object, warnings }));
    }
    Ok(match commit::swap(&call.state, kind, stored, object).await? {
        Swap::Done(object) => Some(Changed { object, warnings }),
        Swap::Lost => None,
    })
}
