//! Events for people (`kubectl describe`), written beside the work and never in its way.
//!
//! A pass hands a [`Note`] over and goes on. One task writes them to `events.k8s.io/v1`; what does not fit in the queue
//! is dropped and counted. The same note about the same object again becomes a higher count on the same Event.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};
use tracing::{debug, warn};

use crate::{Chain, not_found};

const QUEUE: usize = 256;
/// The same note after this long is news again.
const MEMORY: Duration = Duration::from_secs(600);
/// A count is written at most this often.
const SERIES_PAUSE: Duration = Duration::from_secs(30);
const REMEMBERED: usize = 512;
const LONGEST_TEXT: usize = 1024;

/// Something that happened to an object. Made on a transition, never in a settled pass.
#[derive(Debug, Clone)]
pub struct Note {
    /// The object, as `Resource::object_ref` gives it.
    pub regarding: ObjectReference,
    /// Whether somebody should worry.
    pub kind: NoteKind,
    /// One word on what happened: `Scheduled`.
    pub reason: String,
    /// One word on what was being done: `Schedule`.
    pub action: String,
    /// One sentence for people; cut at 1 KiB.
    pub text: String,
}

/// Whether somebody should worry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteKind {
    /// No.
    Normal,
    /// Yes.
    Warning,
}

/// Hands notes to the task that writes them. Cloning gives another handle to the same task.
#[derive(Clone)]
pub struct Recorder {
    notes: mpsc::Sender<Note>,
    dropped: Arc<AtomicU64>,
}

impl Recorder {
    /// Starts the writing task, which ends with the last handle. `controller` is a qualified name such as
    /// `nubium.dev/scheduler`, `instance` says which one (a host's name).
    pub fn start(client: Client, controller: &str, instance: &str) -> Self {
        let (notes, inbox) = mpsc::channel(QUEUE);
        tokio::spawn(write_all(client, controller.to_owned(), instance.to_owned(), inbox));
        Self { notes, dropped: Arc::default() }
    }

    /// Takes a note. Never waits; when too many are waiting already it is dropped.
    pub fn note(&self, note: Note) {
        if self.notes.try_send(note).is_err() && self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
            warn!("events come faster than they can be written, some are dropped");
        }
    }
}

type Subject = (String, String, String);

/// An Event that was written, in case the same thing happens again.
struct Written {
    namespace: String,
    name: String,
    count: i32,
    last: Instant,
    reported: Instant,
}

async fn write_all(client: Client, controller: String, instance: String, mut inbox: mpsc::Receiver<Note>) {
    let mut written: HashMap<Subject, Written> = HashMap::new();
    while let Some(note) = inbox.recv().await {
        let now = Instant::now();
        let subject: Subject = (note.regarding.uid.clone().unwrap_or_default(), note.reason.clone(), note.text.clone());
        written.retain(|_, event| now.duration_since(event.last) < MEMORY);
        let result = if let Some(event) = written.get_mut(&subject) {
            event.count += 1;
            event.last = now;
            if event.count > 2 && now.duration_since(event.reported) < SERIES_PAUSE {
                continue;
            }
            event.reported = now;
            count_again(&client, event).await
        } else {
            let event = event(&note, &controller, &instance, Timestamp::now());
            let namespace = event.metadata.namespace.clone().unwrap_or_default();
            let name = event.metadata.name.clone().unwrap_or_default();
            if written.len() < REMEMBERED {
                written.insert(
                    subject.clone(),
                    Written { namespace: namespace.clone(), name, count: 1, last: now, reported: now },
                );
            }
            let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
            api.create(&PostParams::default(), &event).await.map(drop)
        };
        if let Err(error) = result {
            // Events are a courtesy: in a namespace that is being deleted, for one, none can be made.
            debug!(error = %Chain(&error), reason = note.reason, "an event was not written");
            if not_found(&error) {
                written.remove(&subject);
            }
        }
    }
}

async fn count_again(client: &Client, event: &Written) -> Result<(), kube::Error> {
    let api: Api<Event> = Api::namespaced(client.clone(), &event.namespace);
    let seen = MicroTime(Timestamp::now());
    let patch = json!({"series": {"count": event.count, "lastObservedTime": seen}});
    api.patch(&event.name, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
}

fn event(note: &Note, controller: &str, instance: &str, now: Timestamp) -> Event {
    let about = note.regarding.name.clone().unwrap_or_default();
    let mut text = note.text.clone();
    if text.len() > LONGEST_TEXT {
        text.truncate((0..=LONGEST_TEXT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0));
    }
    Event {
        metadata: ObjectMeta {
            // Events of cluster-wide objects live in the namespace default.
            namespace: Some(note.regarding.namespace.clone().unwrap_or_else(|| "default".to_owned())),
            name: Some(format!("{about}.{:x}", now.as_nanosecond())),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        reporting_controller: Some(controller.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        action: Some(note.action.clone()),
        reason: Some(note.reason.clone()),
        regarding: Some(note.regarding.clone()),
        note: Some(text),
        type_: Some(format!("{:?}", note.kind)),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_all_that_the_api_server_asks_for() {
        let regarding = ObjectReference { name: Some("web-1".into()), namespace: None, ..ObjectReference::default() };
        let text = "ü".repeat(LONGEST_TEXT);
        let note = Note { regarding, kind: NoteKind::Warning, reason: "Lost".into(), action: "Look".into(), text };
        let event = event(&note, "nubium.dev/agent", "host-a", Timestamp::UNIX_EPOCH);
        assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
        assert_eq!(event.metadata.name.as_deref(), Some("web-1.0"));
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        assert_eq!(event.note.unwrap().len(), LONGEST_TEXT);
    }
}
