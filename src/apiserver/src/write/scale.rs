//! The `scale` subresource of custom resources: the number of replicas in the spec, and the one in the status.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use nubium_schema::FieldError;
use nubium_schema::patch::{JsonPatch, apply_merge_patch};
use nubium_store::Object;
use serde_json::{Value, json};

use super::commit::Prepared;
use super::intake;
use super::pipeline::{self, Change, Live, Owners, TRIES};
use crate::call::Call;
use crate::failure::{Failure, Subject};
use crate::http::media::{PatchForm, patch_form};
use crate::http::reply::Reply;
use crate::kind::{Kind, Scale};
use crate::object::meta;

/// `GET …/scale`
pub(crate) async fn get(call: &Arc<Call>, kind: &Arc<Kind>) -> Result<Reply, Failure> {
    let stored = found(call, kind).await?;
    let bytes = stored.value.len();
    let work = move |_: &Call, kind: &Kind| {
        let live = Live::read(kind, stored)?;
        Ok(Reply::value(StatusCode::OK, &scale_of(paths(kind)?, &live.object)))
    };
    call.compute(kind, bytes, work).await
}

async fn found(call: &Call, kind: &Kind) -> Result<Object, Failure> {
    call.stored(kind).await?.ok_or_else(|| Failure::not_found(kind.subject(), &call.target.name))
}

fn paths(kind: &Kind) -> Result<&Scale, Failure> {
    kind.scale.as_ref().ok_or_else(Failure::no_such_path)
}

fn find<'a>(object: &'a Value, path: &str) -> &'a Value {
    meta::at(object, path.trim_start_matches('.'))
}

fn scale_of(paths: &Scale, object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {}, "spec": {},
        "status": {"replicas": find(object, &paths.status).as_i64().unwrap_or(0)},
    });
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if !metadata[field].is_null() {
            scale["metadata"][field] = metadata[field].clone();
        }
    }
    if let Some(replicas) = find(object, &paths.spec).as_i64() {
        scale["spec"]["replicas"] = replicas.into();
    }
    if let Some(selector) = paths.selector.as_ref().and_then(|path| find(object, path).as_str()) {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

/// `PUT` or `PATCH` of `…/scale`: changes the number in the spec, nothing else.
pub(crate) async fn set(call: &Arc<Call>, kind: &Arc<Kind>, is_patch: bool, body: Bytes) -> Result<Reply, Failure> {
    for _ in 0..TRIES {
        let (stored, read) = (found(call, kind).await?, body.clone());
        let bytes = body.len().max(stored.value.len());
        let work = move |call: &Call, kind: &Kind| computed(call, kind, stored, is_patch, &read);
        if let Some(written) = call.compute(kind, bytes, work).await?.commit(call, kind).await? {
            return Ok(Reply::value(StatusCode::OK, &scale_of(paths(kind)?, &written.stored.object)));
        }
    }
    Err(Failure::modified(kind.subject(), &call.target.name))
}

/// The change of an object that a change of its scale makes.
fn computed(call: &Call, kind: &Kind, stored: Object, is_patch: bool, body: &Bytes) -> Result<Prepared, Failure> {
    let paths = paths(kind)?;
    let live = Live::read(kind, stored)?;
    let mut object = live.object.clone();
    let mut scale = scale_of(paths, &object);
    match is_patch.then(|| patch_form(&call.headers, false)).transpose()? {
        None => scale = intake::json(body)?.value,
        Some(PatchForm::Merge) => {
            let patch = intake::json(body)?.value;
            apply_merge_patch(&mut scale, &patch).map_err(|error| Failure::bad_request(error.to_string()))?;
        }
        Some(PatchForm::Json) => {
            let patch: Value = serde_json::from_slice(body).map_err(|error| Failure::bad_request(error.to_string()))?;
            JsonPatch::decode(&patch)
                .and_then(|patch| patch.apply(&mut scale))
                .map_err(|error| Failure::unprocessable(error.to_string()))?;
        }
        Some(_) => {
            return Err(Failure::unsupported_media(&["application/json-patch+json", "application/merge-patch+json"]));
        }
    }
    let replicas = replicas(&scale, call, &live.object)?;
    let said = meta::text(&scale, "resourceVersion");
    if !said.is_empty() && said != meta::text(&object, "resourceVersion") {
        return Err(Failure::modified(kind.subject(), &call.target.name));
    }
    put(&mut object, &paths.spec, replicas.into());
    pipeline::run(call, kind, Change::update(call, &live, object, Owners::Compute))
}

/// The number that a Scale asks for, if it is a Scale of this object.
fn replicas(scale: &Value, call: &Call, object: &Value) -> Result<i64, Failure> {
    let refused = |why: String| Err(Failure::bad_request(format!("Scale in version \"v1\" cannot be read: {why}")));
    for (field, want) in [("kind", "Scale"), ("apiVersion", "autoscaling/v1")] {
        match &scale[field] {
            Value::Null => {}
            Value::String(found) if found == want => {}
            found => return refused(format!("{field} is {found}, it must be {want:?}")),
        }
    }
    let (name, uid) = (&call.target.name, meta::text(scale, "uid"));
    match meta::text(scale, "name") {
        "" => {
            let why = format!("the name of the object ({name} based on URL) was undeterminable: name must be provided");
            return Err(Failure::bad_request(why));
        }
        found if found != name => {
            let why = format!("the name of the object ({found}) does not match the name on the URL ({name})");
            return Err(Failure::bad_request(why));
        }
        _ => {}
    }
    let namespace = meta::text(scale, "namespace");
    if !namespace.is_empty() && namespace != call.target.namespace {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Failure::bad_request(why));
    }
    if !uid.is_empty() && uid != meta::text(object, "uid") {
        let record = meta::text(object, "uid");
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {record}");
        return Err(Failure::conflict(Subject { group: "autoscaling", resource: "scales" }, name, &why));
    }
    if !scale["spec"].is_object() && !scale["spec"].is_null() {
        return refused("spec must be an object".to_owned());
    }
    let replicas = match &scale["spec"]["replicas"] {
        Value::Null => 0,
        value => match value.as_i64().filter(|number| i32::try_from(*number).is_ok()) {
            Some(number) => number,
            None => return refused(format!("spec.replicas is {value}, it must be a 32-bit integer")),
        },
    };
    if replicas < 0 {
        let error = FieldError::invalid("spec.replicas", replicas, "should be a non-negative integer");
        return Err(Failure::invalid("autoscaling", "Scale", name, &[error]));
    }
    Ok(replicas)
}

fn put(object: &mut Value, path: &str, value: Value) {
    let mut at = object;
    for field in path.trim_start_matches('.').split('.') {
        at = &mut at[field];
    }
    *at = value;
}
