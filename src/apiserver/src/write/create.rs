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
    let written = new(call, kind, object, Owners::Compute).await?;
    written.reply(&call.shape(kind)?, StatusCode::CREATED, warnings)
}

/// Creates an object that was taken in, or that an apply has made.
pub(super) async fn new(call: &Call, kind: &Kind, mut object: Value, owners: Owners) -> Result<Written, Failure> {
    if call.snapshot.is_terminating(kind) {
        let why = "create not allowed while custom resource definition is terminating";
        return Err(Failure::forbidden(kind.subject(), meta::text(&object, "name"), why));
    }
    prepare::place(call, kind, &mut object)?;
    if !meta::text(&object, "resourceVersion").is_empty() {
        return Err(Failure::failed("resourceVersion should not be set on objects to be created"));
    }
    if meta::text(&object, "name").is_empty() && !meta::text(&object, "generateName").is_empty() {
        let name = free_name(call, kind, meta::text(&object, "generateName")).await?;
        meta::set(&mut object, "name", Some(name.into()));
    }
    namespace_is_open(call, kind, &object).await?;
    let written = pipeline::run(call, kind, Change::create(call, object, owners)).await?;
    written.ok_or_else(|| Failure::internal("a create replaces nothing, so nobody can have written before"))
}

/// A name that begins so and that no object has now.
async fn free_name(call: &Call, kind: &Kind, prefix: &str) -> Result<String, Failure> {
    let mut draws = DRAWS;
    loop {
        draws -= 1;
        let random = *uuid::Uuid::new_v4().as_bytes();
        let name = generate_name(prefix, [random[0], random[1], random[2], random[3], random[4]]);
        let taken = call.state.store.get(&kind.key(&call.target.namespace, &name)).await?.object;
        // The last one is refused by the create when it is taken too.
        if taken.is_none() || draws == 0 {
            return Ok(name);
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
    let may_be_terminating = memchr::memmem::find(&found.value, b"\"deletionTimestamp\"").is_some();
    if may_be_terminating && scan::scalar(&found.value, "metadata.deletionTimestamp").is_some() {
        return Err(Failure::namespace_terminating(kind.subject(), meta::text(object, "name"), namespace));
    }
    Ok(())
}
