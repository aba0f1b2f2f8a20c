//! Creating an object.

use bytes::Bytes;
use http::StatusCode;
use nubium_schema::names::generate_name;
use serde_json::Value;

use super::intake::{self, Intake};
use super::pipeline::{self, Change, Owners, Written};
use super::prepare;
use crate::call::Call;
use crate::failure::{Failure, Subject};
use crate::http::reply::Reply;
use crate::kind::{BuiltIn, Kind};
use crate::object::{meta, scan};

/// How often a generated name that is taken is drawn again.
const DRAWS: usize = 8;

/// `POST` to a collection.
pub(crate) async fn create(call: &Call, kind: &Kind, body: Bytes) -> Result<Reply, Failure> {
    let Intake { object, warnings } = intake::object(call, kind, &body)?;
    call.allow("create", Some(meta::text(&object, "name")))?;
    let (object, mut more) = new(call, kind, object, Owners::Compute).await?;
    more.splice(0..0, warnings);
    Ok(call.shape(kind)?.reply(StatusCode::CREATED, object).warn(more))
}

/// Creates an object that was taken in, or that an apply has made; answers it as stored, with warnings.
pub(super) async fn new(
    call: &Call,
    kind: &Kind,
    mut object: Value,
    owners: Owners,
) -> Result<(Value, Vec<String>), Failure> {
    if call.snapshot.is_terminating(kind) {
        let why = "create not allowed while custom resource definition is terminating";
        return Err(Failure::forbidden(kind.subject(), meta::text(&object, "name"), why));
    }
    prepare::place(call, kind, &mut object)?;
    if !meta::text(&object, "resourceVersion").is_empty() {
        return Err(Failure::failed("resourceVersion should not be set on objects to be created"));
    }
    let prefix = meta::text(&object, "generateName").to_owned();
    let is_generated = meta::text(&object, "name").is_empty() && !prefix.is_empty();
    let mut draws = if is_generated { DRAWS } else { 1 };
    loop {
        draws -= 1;
        let mut next = if draws == 0 { std::mem::take(&mut object) } else { object.clone() };
        if is_generated {
            let random = *uuid::Uuid::new_v4().as_bytes();
            let name = generate_name(&prefix, [random[0], random[1], random[2], random[3], random[4]]);
            meta::set(&mut next, "name", Some(name.into()));
        }
        namespace_is_open(call, kind, &next).await?;
        match pipeline::run(call, kind, Change::create(call, next, owners)).await {
            Err(failure) if draws > 0 && failure.is("AlreadyExists") => {}
            Err(failure) => return Err(failure),
            Ok(Some(Written { object, warnings })) => return Ok((object, warnings)),
            Ok(None) => return Err(Failure::internal("a create replaces nothing, so nobody can have written before")),
        }
    }
}

/// Refuses a create in a namespace that is not there, or that is on its way out.
async fn namespace_is_open(call: &Call, kind: &Kind, object: &Value) -> Result<(), Failure> {
    if !kind.namespaced {
        return Ok(());
    }
    let namespace = &call.target.namespace;
    let namespaces = Subject { group: "", resource: "namespaces" };
    let got = call.state.store.get(&format!("{}{namespace}", BuiltIn::Namespace.prefix())).await?;
    let Some(found) = got.object else { return Err(Failure::not_found(namespaces, namespace)) };
    if scan::scalar(&found.value, "metadata.deletionTimestamp").is_some() {
        return Err(Failure::namespace_terminating(kind.subject(), meta::text(object, "name"), namespace));
    }
    Ok(())
}
