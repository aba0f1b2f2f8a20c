//! Replacing an object.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use nubium_store::Object;

use super::commit::Prepared;
use super::create::{self, Origin};
use super::intake::{self, Intake};
use super::pipeline::{self, Change, Live, Owners, TRIES};
use super::prepare;
use crate::call::Call;
use crate::failure::Failure;
use crate::http::reply::Reply;
use crate::kind::Kind;
use crate::object::meta;

/// `PUT` of an object or of its status.
pub(crate) async fn update(call: &Arc<Call>, kind: &Arc<Kind>, body: Bytes) -> Result<Reply, Failure> {
    for _ in 0..TRIES {
        let (stored, read) = (call.stored(kind).await?, body.clone());
        let bytes = body.len().max(stored.as_ref().map_or(0, |stored| stored.value.len()));
        let work = move |call: &Call, kind: &Kind| computed(call, kind, &read, stored);
        let Some(Computed { prepared, is_conditional }) = call.compute(kind, bytes, work).await? else {
            return create::new(call, kind, &body, Origin { make: put_new, owners: Owners::Compute }).await;
        };
        match prepared.commit(call, kind).await? {
            Some(written) => return written.reply(call, kind, bytes, StatusCode::OK).await,
            None if is_conditional => break,
            None => {}
        }
    }
    Err(Failure::modified(kind.subject(), &call.target.name))
}

struct Computed {
    prepared: Prepared,
    /// Whether it may only replace what was read. Without a resourceVersion the client wants to win over whatever came
    /// before.
    is_conditional: bool,
}

/// The change of what is stored; `None` when the object is to be created.
fn computed(call: &Call, kind: &Kind, body: &Bytes, stored: Option<Object>) -> Result<Option<Computed>, Failure> {
    let Intake { mut object, warnings } = intake::object(call, kind, body)?;
    prepare::place(call, kind, &mut object)?;
    let Some(stored) = stored else {
        if !kind.behaviour.create_on_update || !call.target.subresource.is_empty() {
            return Err(Failure::not_found(kind.subject(), &call.target.name));
        }
        return Ok(None);
    };
    let live = Live::read(kind, stored)?;
    let is_conditional = !meta::text(&object, "resourceVersion").is_empty();
    let (wanted, uid) = (meta::text(&object, "uid"), meta::text(&live.object, "uid"));
    if !wanted.is_empty() && wanted != uid {
        let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}");
        return Err(Failure::conflict(kind.subject(), &call.target.name, &why));
    }
    let prepared = pipeline::run(call, kind, Change::update(call, &live, object, Owners::Compute))?.after(warnings);
    Ok(Some(Computed { prepared, is_conditional }))
}

/// A `PUT` of what is not there, by whoever may create.
fn put_new(call: &Call, kind: &Kind, body: &Bytes) -> Result<Intake, Failure> {
    let mut intake = intake::object(call, kind, body)?;
    call.allow("create", Some(&call.target.name))?;
    prepare::place(call, kind, &mut intake.object)?;
    meta::set(&mut intake.object, "resourceVersion", None);
    Ok(intake)
}
