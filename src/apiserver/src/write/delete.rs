//! Deleting: at once if nobody holds the object, else by marking it and waiting for those who do.
//!
//! | propagation | finalizer | done by |
//! |---|---|---|
//! | Background | | the garbage collector, once the object is gone |
//! | Foreground | `foregroundDeletion` | the garbage collector, then it lets go of the object |
//! | Orphan | `orphan` | the garbage collector cuts the dependents loose, then lets go |

use bytes::Bytes;
use http::StatusCode;
use nubium_store::Object;
use serde_json::{Value, json};

use super::commit::{self, Swap};
use super::update::{TRIES, live, read};
use super::{intake, prepare};
use crate::State;
use crate::call::{Call, timestamp};
use crate::failure::Failure;
use crate::http::media::{BodyForm, body_form};
use crate::http::options::{DeleteOptions, Propagation};
use crate::http::reply::Reply;
use crate::kind::Kind;
use crate::object::meta;
use crate::protobuf;

/// The garbage collector's finalizers.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
pub(crate) const ORPHAN: &str = "orphan";

/// Holds a definition until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// What became of an object that was to be deleted.
pub(crate) enum Deleted {
    Gone,
    /// It waits for its finalizers; this is how it stands.
    Waiting(Value),
    /// Somebody else wrote meanwhile.
    Lost,
}

/// `DELETE` of an object.
pub(crate) async fn delete(call: &Call, kind: &Kind, body: Bytes) -> Result<Reply, Failure> {
    let mut options = DeleteOptions { dry_run: call.options.dry_run, ..call.options.delete.clone() };
    if !body.is_empty() {
        options.read(&delete_options(call, &body)?)?;
    }
    for _ in 0..TRIES {
        let stored = live(call, kind).await?.ok_or_else(|| Failure::not_found(kind.subject(), &call.target.name))?;
        let object = read(kind, &stored)?;
        preconditions(kind, &object, &options)?;
        if let Some(reason) = protected(kind, &object) {
            return Err(Failure::forbidden(kind.subject(), &call.target.name, reason));
        }
        let details = prepare::details(kind, &object);
        match mark(&call.state, kind, &stored, object, &options).await? {
            Deleted::Gone => {
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
                });
                return Ok(Reply::value(StatusCode::OK, &status));
            }
            Deleted::Waiting(object) => return Ok(call.shape(kind)?.reply(StatusCode::OK, object)),
            Deleted::Lost => {}
        }
    }
    Err(Failure::modified(kind.subject(), &call.target.name))
}

/// The options in a body, whichever form it has.
fn delete_options(call: &Call, body: &Bytes) -> Result<Value, Failure> {
    match body_form(&call.headers, true)? {
        BodyForm::Protobuf => protobuf::decode(body, protobuf::DELETE_OPTIONS)
            .map_err(|error| Failure::bad_request(format!("error decoding the body: {error}"))),
        _ => intake::json(body).map(|document| document.value),
    }
}

/// The namespaces that a cluster cannot be without.
fn protected(kind: &Kind, object: &Value) -> Option<&'static str> {
    let namespaces = kind.is("", "namespaces");
    let name = meta::text(object, "name");
    (namespaces && matches!(name, "default" | "kube-system" | "kube-public"))
        .then_some("this namespace may not be deleted")
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

/// Deletes the object, or marks it so that its finalizers do their work first.
pub(crate) async fn mark(
    state: &State,
    kind: &Kind,
    stored: &Object,
    object: Value,
    options: &DeleteOptions,
) -> Result<Deleted, Failure> {
    let mut wanted: Vec<String> = meta::finalizers(&object)
        .into_iter()
        .filter(|finalizer| options.propagation.is_none() || !matches!(*finalizer, FOREGROUND | ORPHAN))
        .map(str::to_owned)
        .collect();
    match options.propagation {
        Some(Propagation::Foreground) => wanted.push(FOREGROUND.to_owned()),
        Some(Propagation::Orphan) => wanted.push(ORPHAN.to_owned()),
        Some(Propagation::Background) | None => {}
    }
    if kind.is("apiextensions.k8s.io", "customresourcedefinitions") && !meta::is_terminating(&object) {
        wanted.push(CLEANUP.to_owned());
    }
    // A namespace is emptied first, and that is always somebody's work.
    let namespace = kind.is("", "namespaces");
    if wanted.is_empty() && !namespace {
        if options.dry_run || commit::delete(state, kind, stored).await? {
            return Ok(Deleted::Gone);
        }
        return Ok(Deleted::Lost);
    }
    let marked = meta::is_terminating(&object);
    let mut next = object.clone();
    meta::set_finalizers(&mut next, wanted);
    if !marked {
        let now = timestamp((state.config.clock)());
        meta::set(&mut next, "deletionTimestamp", Some(now.into()));
        meta::set(&mut next, "deletionGracePeriodSeconds", (!namespace).then(|| 0.into()));
        if let Some(generation) = object["metadata"]["generation"].as_i64() {
            meta::set(&mut next, "generation", Some((generation + 1).into()));
        }
        if namespace {
            next["status"]["phase"] = "Terminating".into();
        }
    }
    if next == object || options.dry_run {
        return Ok(Deleted::Waiting(next));
    }
    Ok(match commit::swap(state, kind, stored, next).await? {
        Swap::Done(object) => Deleted::Waiting(object),
        Swap::Lost => Deleted::Lost,
    })
}
