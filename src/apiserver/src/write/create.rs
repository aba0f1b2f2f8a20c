//! Creating an object.

use bytes::Bytes;
use http::StatusCode;
use nubium_schema::names::generate_name;
use serde_json::Value;

use super::intake::{self, Intake};
use super::{check, commit, prepare, rules};
use crate::call::Call;
use crate::failure::{Failure, Subject};
use crate::http::reply::Reply;
use crate::kind::Kind;
use crate::object::meta;

/// How often a generated name that is taken is drawn again.
const DRAWS: usize = 8;

/// `POST` to a collection.
pub(crate) async fn create(call: &Call, kind: &Kind, body: Bytes) -> Result<Reply, Failure> {
    let Intake { object, warnings } = intake::object(call, kind, &body)?;
    call.allow("create", meta::text(&object, "name"))?;
    let (object, mut more) = new(call, kind, object).await?;
    more.splice(0..0, warnings);
    Ok(call.shape(kind)?.reply(StatusCode::CREATED, object).warn(more))
}

/// Creates an object that was taken in; answers it as stored, with warnings.
pub(super) async fn new(call: &Call, kind: &Kind, object: Value) -> Result<(Value, Vec<String>), Failure> {
    store(call, kind, object, true).await
}

/// Creates an object whose fields have owners already, from an apply.
pub(super) async fn applied(call: &Call, kind: &Kind, object: Value) -> Result<(Value, Vec<String>), Failure> {
    store(call, kind, object, false).await
}

async fn store(call: &Call, kind: &Kind, mut object: Value, own: bool) -> Result<(Value, Vec<String>), Failure> {
    if call.snapshot.is_terminating(kind) {
        let why = "create not allowed while custom resource definition is terminating";
        return Err(Failure::forbidden(kind.subject(), meta::text(&object, "name"), why));
    }
    if !meta::text(&object, "resourceVersion").is_empty() {
        return Err(Failure::failed("resourceVersion should not be set on objects to be created"));
    }
    prepare::place(call, kind, &mut object)?;
    prepare::for_create(call, kind, &mut object);
    let generate = meta::text(&object, "generateName").to_owned();
    let generated = meta::text(&object, "name").is_empty() && !generate.is_empty();
    let mut warnings = Vec::new();
    for draw in 1.. {
        if generated {
            let random = *uuid::Uuid::new_v4().as_bytes();
            let name = generate_name(&generate, [random[0], random[1], random[2], random[3], random[4]]);
            meta::set(&mut object, "name", Some(name.into()));
        }
        namespace_is_open(call, kind, &object).await?;
        if draw == 1 {
            if own {
                prepare::own(call, kind, None, &mut object)?;
            }
            rules::prepare(call, kind, &mut object, None);
            let findings = check::check(call, kind, &object, None)?;
            warnings.extend(findings);
        }
        if call.options.dry_run {
            return dry(call, kind, object, warnings).await;
        }
        match commit::create(call, kind, &object).await {
            Err(failure) if generated && draw < DRAWS && failure.is("AlreadyExists") => {}
            created => return created.map(|created| (created, warnings)),
        }
    }
    unreachable!("the loop above only ends by returning")
}

/// What a create would answer, without it.
async fn dry(call: &Call, kind: &Kind, object: Value, warnings: Vec<String>) -> Result<(Value, Vec<String>), Failure> {
    let name = meta::text(&object, "name");
    let there = call.state.store.get(&kind.key(&call.target.namespace, name)).await?.object;
    if there.is_some() {
        return Err(Failure::already_exists(kind.subject(), name));
    }
    Ok((object, warnings))
}

/// Refuses a create in a namespace that is not there, or that is on its way out.
async fn namespace_is_open(call: &Call, kind: &Kind, object: &Value) -> Result<(), Failure> {
    if !kind.namespaced {
        return Ok(());
    }
    let namespace = &call.target.namespace;
    let namespaces = Subject { group: "", resource: "namespaces" };
    let got = call.state.store.get(&format!("{}{namespace}", crate::kind::prefix("", "namespaces"))).await?;
    let Some(found) = got.object else { return Err(Failure::not_found(namespaces, namespace)) };
    if crate::object::scan::scalar(&found.value, "metadata.deletionTimestamp").is_some() {
        return Err(Failure::namespace_terminating(kind.subject(), meta::text(object, "name"), namespace));
    }
    Ok(())
}
