//! Lists: whole, or page by page at one revision.
//!
//! A plain list without a selector is a copy of stored bytes. A selector looks into each object's bytes for the few
//! values it names, and so do a table's columns; only old objects are parsed.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use http::StatusCode;
use nubium_schema::FieldError;
use nubium_store::{Object, Page, Range, Revision};
use serde_json::{Map, Value, json};

use super::form::begin_table;
use super::revision::{at_least, parse_revision};
use super::select::Selection;
use super::token::Token;
use crate::call::Call;
use crate::failure::Failure;
use crate::http::media::Form;
use crate::http::options::Options;
use crate::http::reply::Reply;
use crate::kind::Kind;

/// How many objects are looked at in one go while a selector searches for a page's worth.
const SCAN: usize = 1000;

const INCONSISTENT: &str = "The provided continue parameter is too old to display a consistent list result. You can \
start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder \
of the results. Continuing with the provided token results in an inconsistent list - objects that were created, \
modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// What a list found.
struct Found {
    objects: Vec<Object>,
    revision: Revision,
    next: Option<String>,
    remaining: Option<usize>,
}

/// How many bytes objects have.
pub(crate) fn size(objects: &[Object]) -> usize {
    objects.iter().map(|object| object.value.len()).sum()
}

/// `GET` of a collection.
pub(crate) async fn list(call: &Arc<Call>, kind: &Arc<Kind>) -> Result<Reply, Failure> {
    let options = &call.options;
    check(options)?;
    let selection = Arc::new(Selection::parse(kind, options)?);
    let prefix = kind.list_prefix(&call.target.namespace);
    let found = find(call, kind, &selection, &prefix).await?;
    let shape = call.shape(kind)?;
    let cost = found.objects.iter().map(|object| shape.cost(object)).sum();
    call.compute(kind, cost, move |call, kind| shown(call, kind, &found)).await
}

/// The answer: a list, or a table.
fn shown(call: &Call, kind: &Kind, found: &Found) -> Result<Reply, Failure> {
    let shape = call.shape(kind)?;

    let mut metadata = Map::new();
    metadata.insert("resourceVersion".to_owned(), found.revision.to_string().into());
    if kind.is_custom() && *shape.form == Form::Plain {
        metadata.insert("continue".to_owned(), "".into());
    }
    if let Some(next) = &found.next {
        let token = Token::new(Some(found.revision), next);
        metadata.insert("continue".to_owned(), token.encode().into());
        if let Some(remaining) = found.remaining {
            metadata.insert("remainingItemCount".to_owned(), remaining.into());
        }
    }
    let metadata = Value::Object(metadata);
    let mut out = BytesMut::with_capacity(size(&found.objects) + 64 * found.objects.len() + 512);
    let list = |kind: &str, api_version: &str| json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
    match shape.form {
        Form::Plain => begin_list(&mut out, &list(&kind.list_kind, &kind.api_version())),
        Form::Metadata { version } => {
            begin_list(&mut out, &list("PartialObjectMetadataList", &format!("meta.k8s.io/{version}")));
        }
        Form::Table { version } => begin_table(&mut out, &metadata, &kind.columns.definitions(), version),
    }
    for (index, object) in found.objects.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        shape.write_item(&mut out, object)?;
    }
    out.put_slice(b"]}\n");
    Ok(Reply::json(StatusCode::OK, out.freeze()))
}

/// Appends a list up to its first item.
fn begin_list(out: &mut BytesMut, list: &Value) {
    let head = list.to_string();
    out.put_slice(&head.as_bytes()[..head.len() - 1]);
    out.put_slice(b",\"items\":[");
}

async fn find(call: &Arc<Call>, kind: &Arc<Kind>, selection: &Arc<Selection>, prefix: &str) -> Result<Found, Failure> {
    let options = &call.options;
    let token = match options.continue_token.as_str() {
        "" => None,
        text => Some(Token::decode(text)?),
    };
    let after = token.as_ref().map(|token| format!("{prefix}{}", token.after));
    let at = match &token {
        Some(token) => token.revision,
        None => revision(call, options).await?,
    };
    let range = Range { prefix: prefix.to_owned(), limit: options.limit, after, at };
    if let Some(name) = selection.only_name()
        && kind.namespaced != call.target.namespace.is_empty()
    {
        return one(call, selection, format!("{prefix}{name}"), at).await;
    }
    if selection.is_everything() {
        let page = page(call, range, &token).await?;
        let next = (page.remaining > 0).then(|| last_key(&page.objects, prefix)).flatten();
        return Ok(Found { objects: page.objects, revision: page.revision, next, remaining: Some(page.remaining) });
    }
    let mut range = Range { limit: if range.limit == 0 { 0 } else { SCAN }, ..range };
    let mut objects = Vec::new();
    loop {
        let page = page(call, range.clone(), &token).await?;
        let last = page.objects.last().map(|object| object.key.to_string());
        let room = if options.limit > 0 { options.limit - objects.len() } else { usize::MAX };
        let (selection, bytes) = (selection.clone(), size(&page.objects));
        let work = move |_: &Call, _: &Kind| Ok(select(&selection, page.objects, room));
        let (selected, matched_all) = call.compute(kind, bytes, work).await?;
        objects.extend(selected);
        if !matched_all || page.remaining == 0 {
            let next = if matched_all { None } else { last_key(&objects, prefix) };
            return Ok(Found { objects, revision: page.revision, next, remaining: None });
        }
        // What is small is looked at where others wait.
        tokio::task::yield_now().await;
        range = Range { after: last, at: Some(page.revision), ..range };
    }
}

/// The objects that are selected, `room` at most; false if there are more.
fn select(selection: &Selection, found: Vec<Object>, room: usize) -> (Vec<Object>, bool) {
    let mut selected = Vec::new();
    for object in found.into_iter().filter(|object| selection.matches(object)) {
        if selected.len() == room {
            return (selected, false);
        }
        selected.push(object);
    }
    (selected, true)
}

fn last_key(objects: &[Object], prefix: &str) -> Option<String> {
    objects.last().and_then(|object| object.key.strip_prefix(prefix)).map(str::to_owned)
}

/// A page; of a revision that is gone, a refusal that says how to go on.
async fn page(call: &Call, range: Range, token: &Option<Token>) -> Result<Page, Failure> {
    match (call.state.store.range(range).await, token) {
        (Err(nubium_store::Error::Compacted { .. }), Some(token)) => {
            let go_on = Token::new(None, &token.after).encode();
            Err(Failure::expired(INCONSISTENT).with_continue(go_on))
        }
        (page, _) => Ok(page?),
    }
}

/// A list that can only hold one object, because a selector names it.
async fn one(call: &Call, selection: &Selection, key: String, at: Option<Revision>) -> Result<Found, Failure> {
    let range = Range { prefix: key.clone(), limit: 0, after: None, at };
    let page = call.state.store.range(range).await?;
    let here = |object: &Object| *object.key == *key && selection.matches(object);
    let objects = page.objects.into_iter().filter(here).collect();
    Ok(Found { objects, revision: page.revision, next: None, remaining: None })
}

/// The revision to read at: an exact one, or the present, which must not be older than what was asked for.
async fn revision(call: &Call, options: &Options) -> Result<Option<Revision>, Failure> {
    let wanted = parse_revision(&options.resource_version)
        .map_err(|error| Failure::bad_request(format!("invalid resource version: {error}")))?;
    at_least(&call.state.store, wanted).await?;
    Ok(wanted.filter(|_| options.resource_version_match == "Exact"))
}

/// What options may not be combined.
fn check(options: &Options) -> Result<(), Failure> {
    let field = "resourceVersionMatch";
    let (version, matching) = (options.resource_version.as_str(), options.resource_version_match.as_str());
    let mut errors = Vec::new();
    if options.initial_events.is_some() {
        errors.push(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    if !matching.is_empty() {
        if version.is_empty() {
            errors.push(FieldError::forbidden(
                field,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        if !options.continue_token.is_empty() {
            errors.push(FieldError::forbidden(field, "resourceVersionMatch is forbidden when continue is provided"));
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            errors.push(FieldError::not_supported(field, matching, &["Exact", "NotOlderThan", ""]));
        }
        if matching == "Exact" && version == "0" {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            errors.push(FieldError::forbidden(field, why));
        }
    }
    if !errors.is_empty() {
        return Err(Failure::invalid("meta.k8s.io", "ListOptions", "", &errors));
    }
    if !options.continue_token.is_empty() && !matches!(version, "" | "0") {
        return Err(Failure::bad_request("specifying resource version is not allowed when using continue"));
    }
    Ok(())
}
