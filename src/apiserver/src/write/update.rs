//! Replacing an object.

use bytes::Bytes;
use http::StatusCode;

use super::intake::{self, Intake};
use super::pipeline::{self, Change, Live, Owners, TRIES};
use super::{create, prepare};
use crate::call::Call;
use crate::failure::Failure;
use crate::http::reply::Reply;
use crate::kind::Kind;
use crate::object::meta;

/// `PUT` of an object or of its status.
pub(crate) async fn update(call: &Call, kind: &Kind, body: Bytes) -> Result<Reply, Failure> {
    let Intake { mut object, warnings } = intake::object(call, kind, &body)?;
    prepare::place(call, kind, &mut object)?;
    // Without a resourceVersion the client wants to win over whatever came before.
    let is_conditional = !meta::text(&object, "resourceVersion").is_empty();
    for _ in 0..TRIES {
        let Some(live) = Live::get(call, kind).await? else {
            if !kind.behaviour.create_on_update || !call.target.subresource.is_empty() {
                return Err(Failure::not_found(kind.subject(), &call.target.name));
            }
            call.allow("create", Some(&call.target.name))?;
            meta::set(&mut object, "resourceVersion", None);
            let written = create::new(call, kind, object, Owners::Compute).await?;
            return written.reply(&call.shape(kind)?, StatusCode::CREATED, warnings);
        };
        let (wanted, uid) = (meta::text(&object, "uid"), meta::text(&live.object, "uid"));
        if !wanted.is_empty() && wanted != uid {
            let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}");
            return Err(Failure::conflict(kind.subject(), &call.target.name, &why));
        }
        let change = Change::update(call, &live, object.clone(), Owners::Compute);
        match pipeline::run(call, kind, change).await? {
            Some(written) => return written.reply(&call.shape(kind)?, StatusCode::OK, warnings),
            None if is_conditional => break,
            None => {}
        }
    }
    Err(Failure::modified(kind.subject(), &call.target.name))
}
