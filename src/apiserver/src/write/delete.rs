//! Deleting: at once if nobody holds the object, else by marking it and waiting for those who do.
//!
//! | propagation | finalizer | done by |
//! |---|---|---|
//! | Background | | the garbage collector, once the object is gone |
//! | Foreground | `foregroundDeletion` | the garbage collector, then it lets go of the object |
//! | Orphan | `orphan` | the garbage collector cuts the dependents loose, then lets go |

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use nubium_store::{Object, Range, Revision};
use serde_json::{Value, json};

use super::commit::{Prepared, is_released};
use super::intake;
use super::pipeline::{self, Change, Live, TRIES};
use crate::call::Call;
use crate::failure::Failure;
use crate::http::media::{BodyForm, body_form};
use crate::http::options::{DeleteOptions, Propagation};
use crate::http::reply::Reply;
use crate::kind::Kind;
use crate::object::meta::{self, FOREGROUND, ORPHAN};
use crate::protobuf;
use crate::read::list::size;
use crate::read::select::Selection;

/// `DELETE` of an object.
pub(crate) async fn delete(call: &Arc<Call>, kind: &Arc<Kind>, body: Bytes) -> Result<Reply, Failure> {
    let options = options(call, kind, body).await?;
    for _ in 0..TRIES {
        let stored = call.stored(kind).await?;
        let stored = stored.ok_or_else(|| Failure::not_found(kind.subject(), &call.target.name))?;
        let (bytes, options) = (stored.value.len(), options.clone());
        let work = move |call: &Call, kind: &Kind| computed(call, kind, stored, &options);
        let Computed { prepared, is_gone, live } = call.compute(kind, bytes, work).await?;
        match prepared.commit(call, kind).await? {
            Some(_) if is_gone => {
                let details = details(kind, &live);
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
                });
                return Ok(Reply::value(StatusCode::OK, &status));
            }
            Some(written) => return written.reply(call, kind, bytes, StatusCode::OK).await,
            None => {}
        }
    }
    Err(Failure::modified(kind.subject(), &call.target.name))
}

/// `DELETE` of a collection: every object that the selectors choose. Answers the list of what it found.
pub(crate) async fn delete_collection(call: &Arc<Call>, kind: &Arc<Kind>, body: Bytes) -> Result<Reply, Failure> {
    let options = options(call, kind, body).await?;
    let selection = Selection::parse(kind, &call.options)?;
    let page = call.state.store.range(Range::all(kind.list_prefix(&call.target.namespace))).await?;
    let bytes = size(&page.objects);
    let found = page.objects;
    let select = move |_: &Call, _: &Kind| Ok(found.into_iter().filter(|it| selection.matches(it)).collect::<Vec<_>>());
    let found = call.compute(kind, bytes, select).await?;
    let mut items = Vec::with_capacity(found.len());
    for stored in found {
        items.extend(delete_item(call, kind, stored, &options).await?);
    }
    let list = move |_: &Call, kind: &Kind| Ok(Reply::value(StatusCode::OK, &deleted_list(kind, page.revision, items)));
    call.compute(kind, bytes, list).await
}

/// Deletes an object of a collection; answers it, unless somebody else was first.
async fn delete_item(
    call: &Arc<Call>,
    kind: &Arc<Kind>,
    stored: Object,
    options: &DeleteOptions,
) -> Result<Option<Value>, Failure> {
    let key = stored.key.clone();
    let mut found = Some(stored);
    for _ in 0..TRIES {
        // Gone already, by somebody else.
        let Some(stored) = found.take() else { break };
        let (bytes, options) = (stored.value.len(), options.clone());
        let work = move |call: &Call, kind: &Kind| computed(call, kind, stored, &options);
        let Computed { prepared, live, .. } = call.compute(kind, bytes, work).await?;
        if prepared.commit(call, kind).await?.is_some() {
            return Ok(Some(live));
        }
        found = call.state.store.get(&key).await?.object;
    }
    Ok(None)
}

fn deleted_list(kind: &Kind, revision: Revision, mut items: Vec<Value>) -> Value {
    if !kind.is_custom() {
        // Items of built-in kinds leave out what the list says already.
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            item.remove("apiVersion");
            item.remove("kind");
        }
    }
    json!({
        "kind": kind.list_kind, "apiVersion": kind.api_version(),
        "metadata": {"resourceVersion": revision.to_string()}, "items": items,
    })
}

struct Computed {
    /// Marks the object for deletion, or removes it.
    prepared: Prepared,
    /// Whether nobody holds the object, so that it goes at once.
    is_gone: bool,
    /// The object as it was.
    live: Value,
}

/// The change that a delete makes.
fn computed(call: &Call, kind: &Kind, stored: Object, options: &DeleteOptions) -> Result<Computed, Failure> {
    let live = Live::read(kind, stored)?;
    let name = meta::text(&live.object, "name");
    preconditions(kind, &live.object, options)?;
    if let Some(reason) = kind.rules().is_protected(name) {
        return Err(Failure::forbidden(kind.subject(), name, reason));
    }
    let marked = marked(kind, &live.object, options.propagation, &call.timestamp());
    let is_gone = is_released(kind, &marked);
    let prepared = pipeline::run(call, kind, Change::delete(&live, marked, options.dry_run))?;
    Ok(Computed { prepared, is_gone, live: live.object })
}

/// The options of the query and of the body, which wins.
async fn options(call: &Arc<Call>, kind: &Arc<Kind>, body: Bytes) -> Result<DeleteOptions, Failure> {
    let mut options = DeleteOptions { dry_run: call.options.dry_run, ..call.options.delete.clone() };
    if body.is_empty() {
        return Ok(options);
    }
    let bytes = body.len();
    let read = move |call: &Call, _: &Kind| {
        options.read(&delete_options(call, &body)?)?;
        Ok(options)
    };
    call.compute(kind, bytes, read).await
}

/// The options in a body, whichever form it has.
fn delete_options(call: &Call, body: &Bytes) -> Result<Value, Failure> {
    match body_form(&call.headers, true)? {
        BodyForm::Protobuf => protobuf::decode(body, protobuf::DELETE_OPTIONS)
            .map_err(|error| Failure::bad_request(format!("error decoding the body: {error}"))),
        _ => intake::json(body).map(|document| document.value),
    }
}

/// Which object a delete's answer is about.
fn details(kind: &Kind, object: &Value) -> Value {
    let mut details = json!({
        "name": meta::text(object, "name"), "kind": kind.plural, "uid": meta::text(object, "uid"),
    });
    if !kind.group.is_empty() {
        details["group"] = kind.group.as_str().into();
    }
    details
}

fn preconditions(kind: &Kind, object: &Value, options: &DeleteOptions) -> Result<(), Failure> {
    let name = meta::text(object, "name");
    for (field, label, wanted, then) in [
        ("uid", "UID", &options.uid, "deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", &options.resource_version, "modified"),
    ] {
        let seen = meta::text(object, field);
        if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != seen) {
            let why = format!(
                "the {label} in the precondition ({wanted}) does not match the {label} in record ({seen}). The object \
                 might have been {then}"
            );
            return Err(Failure::precondition(&kind.group, &kind.kind, name, &why));
        }
    }
    Ok(())
}

/// The object marked for deletion, with the finalizers that the propagation asks for. When nothing holds it, storing it
/// removes it.
pub(super) fn marked(kind: &Kind, object: &Value, propagation: Option<Propagation>, now: &str) -> Value {
    let mut marked = object.clone();
    if let Some(propagation) = propagation {
        let kept = meta::finalizers(object).into_iter().filter(|held| !matches!(*held, FOREGROUND | ORPHAN));
        let mut finalizers: Vec<String> = kept.map(str::to_owned).collect();
        match propagation {
            Propagation::Foreground => finalizers.push(FOREGROUND.to_owned()),
            Propagation::Orphan => finalizers.push(ORPHAN.to_owned()),
            Propagation::Background => {}
        }
        meta::set_finalizers(&mut marked, finalizers);
    }
    if !meta::is_terminating(object) {
        meta::set(&mut marked, "deletionTimestamp", Some(now.into()));
        meta::set(&mut marked, "deletionGracePeriodSeconds", Some(0.into()));
        if let Some(generation) = object["metadata"]["generation"].as_i64() {
            meta::set(&mut marked, "generation", Some((generation + 1).into()));
        }
        kind.rules().on_delete(&mut marked);
    }
    marked
}
