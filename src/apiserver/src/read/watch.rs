//! Watches: what changes, as it changes, one JSON event a line.
//!
//! An event concerns a client if the object matches its selectors now or did before; which of the two decides whether
//! the client hears ADDED, MODIFIED or DELETED. Bookmarks tell how far the client has come while nothing concerned it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::future::{BoxFuture, OptionFuture};
use futures::stream::{BoxStream, ReadyChunks};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use nubium_schema::FieldError;
use nubium_store::{Event, Object, Range, Revision, WatchItem};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

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
/// How large a piece of the initial state gets, and how many bytes of objects are looked at for one.
const PIECE: usize = 64 << 10;
const LOOKED_AT: usize = 256 << 10;

/// What all watches need of an event. It travels with the event: the first watch computes it and the others find it.
#[derive(Debug, Default)]
struct Shared {
    /// What selectors ask of its two states.
    before: Index,
    after: Index,
    /// The lines that say it to those who get the stored object as it is.
    added: OnceLock<Bytes>,
    modified: OnceLock<Bytes>,
    deleted: OnceLock<Bytes>,
}

/// What goes out together.
#[derive(Default)]
struct Out {
    /// One line that others send too, as long as it is alone.
    shared: Option<Bytes>,
    own: BytesMut,
}

impl Out {
    fn is_empty(&self) -> bool {
        self.shared.is_none() && self.own.is_empty()
    }

    fn push(&mut self, line: &Bytes) {
        if self.is_empty() {
            self.shared = Some(line.clone());
        } else {
            self.own().extend_from_slice(line);
        }
    }

    /// Where to write what only this watch sends.
    fn own(&mut self) -> &mut BytesMut {
        if let Some(first) = self.shared.take() {
            self.own.extend_from_slice(&first);
        }
        &mut self.own
    }

    fn finish(self) -> Bytes {
        self.shared.unwrap_or_else(|| self.own.freeze())
    }
}

/// The objects that a watch begins with, as they were then. Their bytes are shared with the store: what is sent is made
/// piece by piece, when the client has taken the piece before, so that one who does not read costs little.
struct Initial {
    objects: std::vec::IntoIter<Object>,
    /// Whether a bookmark says that they were all.
    end_is_told: bool,
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
    let mut initial = None;
    let after = if state_first {
        at_least(&call.state.store, from).await?;
        let page = call.state.store.range(Range::all(prefix.clone())).await?;
        let end_is_told = options.initial_events == Some(true) && watcher.bookmarks;
        initial = Some(Initial { objects: page.objects.into_iter(), end_is_told });
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
    Ok(Reply::stream(pieces(watcher, initial, events, Instant::now() + timeout, stopping)))
}

/// The watch's body: what is ready goes out at once, together. It ends at `end`, when the server stops, or when the
/// definition makes another kind: the client watches that one, from where it is.
fn pieces(
    watcher: Watcher,
    initial: Option<Initial>,
    events: nubium_store::Watch,
    end: Instant,
    stopping: tokio::sync::watch::Receiver<bool>,
) -> BoxStream<'static, Bytes> {
    let mut replaced = watcher.kind.replaced.subscribe();
    let replacement = async move {
        // An error means that nobody can replace it any more.
        if replaced.wait_for(Option::is_some).await.is_err() {
            std::future::pending().await
        }
    };
    let mut told = stopping.clone();
    let time_is_over = async move {
        tokio::select! {
            () = sleep_until(end) => {}
            // An error means that the server itself is gone.
            _ = told.wait_for(|stopping| *stopping) => {}
        }
    };
    let body = Body {
        watcher,
        initial,
        events: events.ready_chunks(TOGETHER),
        end,
        stopping,
        over: Box::pin(time_is_over),
        replacement: Some(Box::pin(replacement)),
    };
    stream::unfold(Some(body), |body| async { body?.next().await }).boxed()
}

/// A watch's body. What ends it is looked at before what is ready, and waited for only when nothing is.
struct Body {
    watcher: Watcher,
    /// Until it was sent.
    initial: Option<Initial>,
    events: ReadyChunks<nubium_store::Watch>,
    end: Instant,
    stopping: tokio::sync::watch::Receiver<bool>,
    over: BoxFuture<'static, ()>,
    /// Until it has come once.
    replacement: Option<BoxFuture<'static, ()>>,
}

impl Body {
    async fn next(mut self) -> Option<(Bytes, Option<Self>)> {
        loop {
            if *self.stopping.borrow() {
                return None;
            }
            let mut out = Out::default();
            if Instant::now() >= self.end {
                // A last word about how far the client has come.
                if self.watcher.bookmarks && self.watcher.reached > self.watcher.told {
                    self.watcher.bookmark(out.own(), false);
                    return Some((out.finish(), None));
                }
                return None;
            }
            if let Some(initial) = &mut self.initial {
                if self.watcher.begin(out.own(), initial) {
                    self.initial = None;
                }
                if !out.is_empty() {
                    return Some((out.finish(), Some(self)));
                }
                // Nothing of that concerns the client: others have their turn before more is looked at.
                tokio::task::yield_now().await;
                continue;
            }
            let (mut items, mut over) = (Vec::new(), false);
            let replacement = OptionFuture::from(self.replacement.as_mut());
            tokio::select! {
                biased;
                ready = self.events.next() => match ready {
                    Some(ready) => items = ready,
                    None => over = true,
                },
                Some(()) = replacement => self.replacement = None,
                () = &mut self.over => {
                    if Instant::now() < self.end {
                        return None;
                    }
                    continue;
                }
            }
            for item in items {
                over = over || self.watcher.take(&mut out, item);
            }
            over |= self.watcher.is_past_its_kind(self.watcher.reached);
            match (out.is_empty(), over) {
                (false, over) => return Some((out.finish(), (!over).then_some(self))),
                (true, true) => return None,
                (true, false) => {}
            }
        }
    }
}

impl Watcher {
    /// Writes a piece of the initial state; true when it was the last.
    fn begin(&mut self, out: &mut BytesMut, initial: &mut Initial) -> bool {
        let mut looked_at = 0;
        for object in initial.objects.by_ref() {
            looked_at += object.value.len();
            if self.concerns(&object) {
                self.write(out, "ADDED", &object);
            }
            if out.len() >= PIECE || looked_at >= LOOKED_AT {
                return false;
            }
        }
        if initial.end_is_told {
            self.bookmark(out, true);
        }
        true
    }

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
    fn take(&mut self, out: &mut Out, item: WatchItem) -> bool {
        match item {
            // It may be stored in a form that this kind does not know.
            WatchItem::Event(event) if self.is_past_its_kind(event.revision()) => return true,
            WatchItem::Event(event) => self.event(out, &event),
            WatchItem::Progress(revision) => {
                self.reached = revision;
                let due = self.last_bookmark.elapsed() >= BOOKMARK_EVERY;
                if self.bookmarks && due && self.reached > self.told {
                    self.bookmark(out.own(), false);
                }
            }
            WatchItem::Compacted => {
                let message = "The resourceVersion for the provided watch is too old.";
                out.own().extend_from_slice(&error_event(&Failure::expired(message)));
                return true;
            }
        }
        false
    }

    fn event(&mut self, out: &mut Out, event: &Event) {
        self.reached = event.revision();
        let own = Shared::default();
        let shared = event.derive::<Shared>().unwrap_or(&own);
        let was = event.previous.as_ref().is_some_and(|previous| self.selects(previous, &shared.before));
        let is = !event.deleted && self.selects(&event.object, &shared.after);
        match (was, is) {
            (false, true) => self.tell(out, "ADDED", &event.object, &shared.added),
            (true, true) => self.tell(out, "MODIFIED", &event.object, &shared.modified),
            (true, false) => {
                // The last state that the client could see, at the revision that took it away.
                let previous = event.previous.as_ref().unwrap_or(&event.object);
                let last = Object { modified: event.revision(), ..previous.clone() };
                self.tell(out, "DELETED", &last, &shared.deleted);
            }
            (false, false) => return,
        }
        self.told = event.revision();
    }

    /// Says it in the words of all watches, if these are the stored ones.
    fn tell(&mut self, out: &mut Out, what: &str, object: &Object, line: &OnceLock<Bytes>) {
        // Here the kind is the same for all: what is stored.
        if self.form != Form::Plain || !self.kind.is_stored_as_served(object) {
            return self.write(out.own(), what, object);
        }
        out.push(line.get_or_init(|| {
            let mut line = BytesMut::new();
            self.write(&mut line, what, object);
            line.freeze()
        }));
    }

    fn write(&mut self, out: &mut BytesMut, what: &str, object: &Object) {
        let mark = out.len();
        out.put_slice(b"{\"type\":\"");
        out.put_slice(what.as_bytes());
        out.put_slice(b"\",\"object\":");
        let shape = Shape { kind: &self.kind, form: &self.form, include: self.include, now: Timestamp::now() };
        let written = match &self.form {
            Form::Table { version } => shape.write_table(out, object, version, !self.columns_sent),
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
