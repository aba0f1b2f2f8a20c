//! Deleting: at once if nobody holds the object, else by marking it and waiting for those who do.
//!
//! | propagation | finalizer | done by |
//! |---|---|---|
//! | Background | | the garbage collector, once the object is gone |
//! | Foreground | `foregroundDeletion` | the garbage collector, then it lets go of the object |
//! | Orphan | `orphan` | the garbage collector cuts the dependents loose, then lets go |

use bytes::Bytes;
use http::StatusCode;
use nubium_store::Range;
use serde_json::{Value, json};

use super::commit::is_released;
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
use crate::read::select::Selection;

/// `DELETE` of an object.
pub(crate) async fn delete(call: &Call, kind: &Kind, body: Bytes) -> Result<Reply, Failure> {
    let options = options(call, &body)?;
    for _ in 0..TRIES {
        let live = Live::find(call, kind).await?;
        match delete_live(call, kind, &live, &options).await? {
            Deleted::Gone => {
                let details = details(kind, &live.object);
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
                });
                return Ok(Reply::value(StatusCode::OK, &status));
            }
            Deleted::Marked(object) => return Ok(call.shape(kind)?.reply(StatusCode::OK, object)),
            Deleted::Changed => {}
        }
    }
    Err(Failure::modified(kind.subject(), &call.target.name))
}

/// `DELETE` of a collection: every object that the selectors choose. Answers the list of what it found.
pub(crate) async fn delete_collection(call: &Call, kind: &Kind, body: Bytes) -> Result<Reply, Failure> {
    let options = options(call, &body)?;
    let selection = Selection::parse(kind, &call.options)?;
    let page = call.state.store.range(Range::all(kind.list_prefix(&call.target.namespace))).await?;
    let mut items = Vec::new();
    for stored in page.objects.into_iter().filter(|object| selection.matches(object)) {
        let key = stored.key.clone();
        let mut found = Some(stored);
        for _ in 0..TRIES {
            // Gone already, by somebody else.
            let Some(stored) = found.take() else { break };
            let live = Live::read(kind, stored)?;
            if !matches!(delete_live(call, kind, &live, &options).await?, Deleted::Changed) {
                items.push(live.object);
                break;
            }
            found = call.state.store.get(&key).await?.object;
        }
    }
    if !kind.is_custom() {
        // Items of built-in kinds leave out what the list says already.
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            item.remove("apiVersion");
            item.remove("kind");
        }
    }
    Ok(Reply::value(
        StatusCode::OK,
        &json!({
            "kind": kind.list_kind, "apiVersion": kind.api_version(),
            "metadata": {"resourceVersion": page.revision.to_string()}, "items": items,
        }),
    ))
}

/// What came of a delete.
enum Deleted {
    Gone,
    /// Somebody holds it: it is marked for deletion.
    Marked(Value),
    /// Somebody else wrote meanwhile.
    Changed,
}

async fn delete_live(call: &Call, kind: &Kind, live: &Live, options: &DeleteOptions) -> Result<Deleted, Failure> {
    let name = meta::text(&live.object, "name");
    preconditions(kind, &live.object, options)?;
    if let Some(reason) = kind.rules().is_protected(name) {
        return Err(Failure::forbidden(kind.subject(), name, reason));
    }
    let marked = marked(kind, &live.object, options.propagation, &call.timestamp());
    let is_gone = is_released(kind, &marked);
    Ok(match pipeline::run(call, kind, Change::delete(live, marked, options.dry_run)).await? {
        Some(_) if is_gone => Deleted::Gone,
        Some(written) => Deleted::Marked(written.stored.object),
        None => Deleted::Changed,
    })
}

/// The options of the query and of the body, which wins.
fn options(call: &Call, body: &Bytes) -> Result<DeleteOptions, Failure> {
    let mut options = DeleteOptions { dry_run: call.options.dry_run, ..call.options.delete.clone() };
    if !body.is_empty() {
        options.read(&delete_options(call, body)?)?;
    }
    Ok(options)
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
