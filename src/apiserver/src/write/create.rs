//! Creating an object.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use nubium_schema::names::generate_name;
use nubium_store::Object;
use serde_json::Value;

use super::commit::Prepared;
use super::intake::{self, Intake};
use super::pipeline::{self, Change, Owners};
use super::prepare;
use crate::call::Call;
use crate::computations::is_costly;
use crate::failure::{Failure, Subject};
use crate::http::reply::Reply;
use crate::kind::{BuiltIn, Kind};
use crate::object::{meta, scan};

/// How often a generated name that is taken is drawn again.
const DRAWS: usize = 8;

/// How a new object is made of a request's body.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub make: fn(&Call, &Kind, &Bytes) -> Result<Intake, Failure>,
    pub owners: Owners,
}

/// `POST` to a collection.
pub(crate) async fn create(call: &Arc<Call>, kind: &Arc<Kind>, body: Bytes) -> Result<Reply, Failure> {
    new(call, kind, &body, Origin { make: posted, owners: Owners::Compute }).await
}

fn posted(call: &Call, kind: &Kind, body: &Bytes) -> Result<Intake, Failure> {
    let intake = intake::object(call, kind, body)?;
    call.allow("create", Some(meta::text(&intake.object, "name")))?;
    Ok(intake)
}

/// Creates an object, and answers it.
pub(super) async fn new(call: &Arc<Call>, kind: &Arc<Kind>, body: &Bytes, origin: Origin) -> Result<Reply, Failure> {
    let mut draws = DRAWS;
    loop {
        draws -= 1;
        let (namespace, read) = (namespace(call, kind).await?, body.clone());
        let work = move |call: &Call, kind: &Kind| computed(call, kind, &read, origin, namespace.as_ref());
        let Computed { prepared, name_is_generated } = call.compute(kind, body.len(), work).await?;
        if is_costly(body.len()) {
            // The namespace may have gone while the computation waited for its turn.
            namespace_is_open(call, kind, &prepared.object, self::namespace(call, kind).await?.as_ref())?;
        }
        match prepared.commit(call, kind).await {
            Err(failure) if name_is_generated && draws > 0 && failure.is("AlreadyExists") => {}
            Err(failure) => return Err(failure),
            Ok(Some(written)) => return written.reply(call, kind, body.len(), StatusCode::CREATED).await,
            Ok(None) => return Err(Failure::internal("a create replaces nothing, so nobody can have written before")),
        }
    }
}

struct Computed {
    prepared: Prepared,
    name_is_generated: bool,
}

/// The change that a create makes.
fn computed(
    call: &Call,
    kind: &Kind,
    body: &Bytes,
    origin: Origin,
    namespace: Option<&Object>,
) -> Result<Computed, Failure> {
    let Intake { mut object, warnings } = (origin.make)(call, kind, body)?;
    if call.snapshot.is_terminating(kind) {
        let why = "create not allowed while custom resource definition is terminating";
        return Err(Failure::forbidden(kind.subject(), meta::text(&object, "name"), why));
    }
    prepare::place(call, kind, &mut object)?;
    if !meta::text(&object, "resourceVersion").is_empty() {
        return Err(Failure::failed("resourceVersion should not be set on objects to be created"));
    }
    let prefix = meta::text(&object, "generateName");
    let name_is_generated = meta::text(&object, "name").is_empty() && !prefix.is_empty();
    if name_is_generated {
        let random = *uuid::Uuid::new_v4().as_bytes();
        let name = generate_name(prefix, [random[0], random[1], random[2], random[3], random[4]]);
        meta::set(&mut object, "name", Some(name.into()));
    }
    namespace_is_open(call, kind, &object, namespace)?;
    let prepared = pipeline::run(call, kind, Change::create(call, object, origin.owners))?.after(warnings);
    Ok(Computed { prepared, name_is_generated })
}

/// The namespace of the new object, as it is stored.
async fn namespace(call: &Call, kind: &Kind) -> Result<Option<Object>, Failure> {
    if !kind.namespaced {
        return Ok(None);
    }
    let key = format!("{}{}", BuiltIn::Namespace.prefix(), call.target.namespace);
    Ok(call.state.store.get(&key).await?.object)
}

/// Refuses a create in a namespace that is not there, or that is on its way out.
fn namespace_is_open(call: &Call, kind: &Kind, object: &Value, namespace: Option<&Object>) -> Result<(), Failure> {
    if !kind.namespaced {
        return Ok(());
    }
    let name = &call.target.namespace;
    let namespaces = Subject { group: "", resource: "namespaces" };
    let namespace = namespace.ok_or_else(|| Failure::not_found(namespaces, name))?;
    let may_be_terminating = memchr::memmem::find(&namespace.value, b"\"deletionTimestamp\"").is_some();
    if may_be_terminating && scan::scalar(&namespace.value, "metadata.deletionTimestamp").is_some() {
        return Err(Failure::namespace_terminating(kind.subject(), meta::text(object, "name"), name));
    }
    Ok(())
}
