//! Watches: what changes, as it changes, one JSON event a line.
//!
//! An event concerns a client if the object matches its selectors now or did before; which of the two decides whether
//! the client hears ADDED, MODIFIED or DELETED. Bookmarks tell how far the client has come while nothing concerned it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use nubium_schema::FieldError;
use nubium_store::{Event, Object, Range, Revision, WatchItem};
use serde_json::json;
use tokio::time::Instant;

use super::form::{Include, Shape};
use super::revision::{at_least, parse_revision};
use super::select::{Index, Selection};
use crate::call::Call;
use crate::failure::Failure;
use crate::http::media::Form;
use crate::http::options::Options;
use crate::http::reply::Reply;
use crate::kind::Kind;

/// How long a watch lasts when the client does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// How often a quiet watch is told how far it is.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How many events that are ready go out together.
const TOGETHER: usize = 64;

/// What the selectors of all watches ask of an event's two states. It travels with the event, so that the first watch reads
/// it and the others find it.
#[derive(Debug, Default)]
struct Indexes {
    before: Index,
    after: Index,
}

/// One client's watch.
struct Watcher {
    kind: Arc<Kind>,
    selection: Selection,
    /// The one key that is watched, when only one is.
    key: Option<String>,
    form: Form,
    include: Include,
    bookmarks: bool,
    columns_sent: bool,
    last_bookmark: Instant,
    /// Everything up to here was delivered or did not concern the client.
    reached: Revision,
    told: Revision,
}

/// `GET` with `watch=true`.
pub(crate) async fn watch(call: &Call, kind: &Arc<Kind>) -> Result<Reply, Failure> {
    let options = &call.options;
    check(options)?;
    let selection = Selection::parse(kind, options)?;
    let from = parse_revision(&options.resource_version).map_err(|error| Failure::failed(error.to_string()))?;
    let from = from.filter(|revision| *revision > 0);
    let name = selection.only_name().map(str::to_owned);
    let prefix = kind.list_prefix(&call.target.namespace);
    let one = kind.namespaced != call.target.namespace.is_empty();
    let key = name.filter(|_| one).map(|name| format!("{prefix}{name}"));
    let mut watcher = Watcher {
        kind: kind.clone(),
        selection,
        form: call.wanted.form.clone(),
        include: Include::parse(&options.include_object)?,
        bookmarks: options.bookmarks,
        columns_sent: false,
        last_bookmark: Instant::now(),
        reached: 0,
        told: 0,
        key,
    };
    let prefix = watcher.key.clone().unwrap_or(prefix);

    let state_first = match (options.initial_events, from) {
        (Some(send), _) => send,
        (None, from) => from.is_none(),
    };
    let mut initial = BytesMut::new();
    let after = if state_first {
        at_least(&call.state.store, from).await?;
        let page = call.state.store.range(Range::all(prefix.clone())).await?;
        for object in &page.objects {
            if watcher.concerns(object) {
                watcher.write(&mut initial, "ADDED", object);
            }
        }
        watcher.reached = page.revision;
        if options.initial_events == Some(true) && watcher.bookmarks {
            watcher.bookmark(&mut initial, true);
        }
        page.revision
    } else {
        match from {
            Some(from) => from,
            None => call.state.store.current().await?,
        }
    };
    (watcher.reached, watcher.told) = (after, after);
    let events = match call.state.store.watch(&prefix, after).await {
        Ok(events) => events,
        // As kube-apiserver: the watch begins, and its first event says that it cannot.
        Err(error @ nubium_store::Error::Compacted { .. }) => {
            let gone = error_event(&Failure::from(error));
            return Ok(Reply::stream(stream::once(async { gone }).boxed()));
        }
        Err(error) => return Err(error.into()),
    };
    let timeout = options.watch_timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(DEFAULT_TIMEOUT);
    let stopping = call.state.stopping.subscribe();
    let pieces = pieces(watcher, events, Instant::now() + timeout, stopping);
    if initial.is_empty() {
        return Ok(Reply::stream(pieces));
    }
    let initial = initial.freeze();
    Ok(Reply::stream(stream::once(async { initial }).chain(pieces).boxed()))
}

/// The watch's body: what is ready goes out at once, together. It ends at `end`, when the server stops, or when the
/// definition makes another kind: the client watches that one, from where it is.
fn pieces(
    watcher: Watcher,
    events: nubium_store::Watch,
    end: Instant,
    mut stopping: tokio::sync::watch::Receiver<bool>,
) -> BoxStream<'static, Bytes> {
    let replaced = watcher.kind.replaced.subscribe();
    let state = Some((watcher, events.ready_chunks(TOGETHER), replaced));
    let pieces = stream::unfold(state, move |state| async move {
        let (mut watcher, mut events, mut replaced) = state?;
        loop {
            let mut out = BytesMut::new();
            let next = async {
                tokio::select! {
                    items = events.next() => items,
                    _ = replaced.changed() => Some(Vec::new()),
                }
            };
            let Ok(items) = tokio::time::timeout_at(end, next).await else {
                // The time is over: a last word about how far the client has come.
                if watcher.bookmarks && watcher.reached > watcher.told {
                    watcher.bookmark(&mut out, false);
                    return Some((out.freeze(), None));
                }
                return None;
            };
            let mut over = items.is_none();
            for item in items.into_iter().flatten() {
                over = over || watcher.take(&mut out, item);
            }
            over |= watcher.is_past_its_kind(watcher.reached);
            let go_on = (!over).then_some((watcher, events, replaced));
            match (out.is_empty(), go_on) {
                (false, go_on) => return Some((out.freeze(), go_on)),
                (true, None) => return None,
                (true, Some(again)) => (watcher, events, replaced) = again,
            }
        }
    });
    let stopped = async move {
        // An error means that the server itself is gone.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    pieces.take_until(Box::pin(stopped)).boxed()
}

impl Watcher {
    /// Whether the definition had made another kind by this revision.
    fn is_past_its_kind(&self, revision: Revision) -> bool {
        self.kind.replaced.borrow().is_some_and(|replaced| replaced <= revision)
    }

    fn concerns(&self, object: &Object) -> bool {
        self.key.as_ref().is_none_or(|key| **key == *object.key) && self.selection.matches(object)
    }

    fn selects(&self, object: &Object, index: &Index) -> bool {
        self.key.as_ref().is_none_or(|key| **key == *object.key) && self.selection.matches_indexed(object, index)
    }

    /// Handles what the store's watch delivers; true when it was the last.
    fn take(&mut self, out: &mut BytesMut, item: WatchItem) -> bool {
        match item {
            // It may be stored in a form that this kind does not know.
            WatchItem::Event(event) if self.is_past_its_kind(event.revision()) => return true,
            WatchItem::Event(event) => self.event(out, &event),
            WatchItem::Progress(revision) => {
                self.reached = revision;
                let due = self.last_bookmark.elapsed() >= BOOKMARK_EVERY;
                if self.bookmarks && due && self.reached > self.told {
                    self.bookmark(out, false);
                }
            }
            WatchItem::Compacted => {
                let message = "The resourceVersion for the provided watch is too old.";
                out.extend_from_slice(&error_event(&Failure::expired(message)));
                return true;
            }
        }
        false
    }

    fn event(&mut self, out: &mut BytesMut, event: &Event) {
        self.reached = event.revision();
        let shared = event.derive::<Indexes>();
        let own = Indexes::default();
        let Indexes { before, after } = shared.unwrap_or(&own);
        let was = event.previous.as_ref().is_some_and(|previous| self.selects(previous, before));
        let is = !event.deleted && self.selects(&event.object, after);
        match (was, is) {
            (false, true) => self.write(out, "ADDED", &event.object),
            (true, true) => self.write(out, "MODIFIED", &event.object),
            (true, false) => {
                // The last state that the client could see, at the revision that took it away.
                let previous = event.previous.as_ref().unwrap_or(&event.object);
                self.write(out, "DELETED", &Object { modified: event.revision(), ..previous.clone() });
            }
            (false, false) => return,
        }
        self.told = event.revision();
    }

    fn write(&mut self, out: &mut BytesMut, what: &str, object: &Object) {
        let mark = out.len();
        out.put_slice(b"{\"type\":\"");
        out.put_slice(what.as_bytes());
        out.put_slice(b"\",\"object\":");
        let shape = Shape { kind: &self.kind, form: &self.form, include: self.include, now: Timestamp::now() };
        let written = match &self.form {
            Form::Table { .. } => {
                self.kind.read(object).map_err(|error| Failure::internal(error.to_string())).map(|value| {
                    out.put_slice(shape.shown(value, !self.columns_sent).to_string().as_bytes());
                })
            }
            _ => shape.write_stored(out, object),
        };
        match written {
            Ok(()) => {
                self.columns_sent = true;
                out.put_slice(b"}\n");
            }
            Err(failure) => {
                out.truncate(mark);
                out.extend_from_slice(&error_event(&failure));
            }
        }
    }

    fn bookmark(&mut self, out: &mut BytesMut, initial_end: bool) {
        let mut metadata = json!({"resourceVersion": self.reached.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let (kind, api_version) = match &self.form {
            Form::Metadata { version } => ("PartialObjectMetadata".to_owned(), format!("meta.k8s.io/{version}")),
            _ => (self.kind.kind.clone(), self.kind.api_version()),
        };
        let mut object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        if let Form::Table { version } = &self.form {
            object = json!({
                "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": {"resourceVersion": self.reached.to_string()}, "columnDefinitions": null,
                "rows": [{"cells": [], "object": object}],
            });
        }
        out.put_slice(json!({"type": "BOOKMARK", "object": object}).to_string().as_bytes());
        out.put_u8(b'\n');
        self.told = self.reached;
        self.last_bookmark = Instant::now();
    }
}

fn error_event(failure: &Failure) -> Bytes {
    Bytes::from(format!("{}\n", json!({"type": "ERROR", "object": failure.status()})))
}

/// What options may not be combined.
fn check(options: &Options) -> Result<(), Failure> {
    let matching = options.resource_version_match.as_str();
    let mut errors = Vec::new();
    match options.initial_events {
        Some(_) if matching != "NotOlderThan" => {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            errors.push(FieldError::forbidden("resourceVersionMatch", why));
        }
        None if !matching.is_empty() => {
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            errors.push(FieldError::forbidden("resourceVersionMatch", why));
        }
        _ => {}
    }
    if !options.continue_token.is_empty() {
        errors.push(FieldError::forbidden("continue", "continue is forbidden for watch"));
    }
    if errors.is_empty() { Ok(()) } else { Err(Failure::invalid("meta.k8s.io", "ListOptions", "", &errors)) }
}
