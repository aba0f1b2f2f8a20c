//! The one thread that writes: it compares, groups, commits, and only then passes the events on and answers.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::Options;
use super::newest::Newest;
use super::room::{Room, SMALL_GROWTH};
use super::table::{Table, is_full};
use crate::{Derived, Error, Event, Expect, Guard, Loaded, Object, Outcome, Revision, Tail};

/// How many log rows one step of a compaction looks at, between two commits.
const COMPACT_STEP: usize = 512;
/// How many free pages one step gives back to the disk, between two commits.
const SHRINK_STEP: u32 = 256;

/// Work for the committer.
pub(super) enum Command {
    Write { key: Arc<str>, expect: Expect, value: Option<Bytes>, guard: Option<Guard>, answer: Answer<Outcome> },
    Compact { revision: Revision, answer: Answer<()> },
}

type Answer<T> = oneshot::Sender<Result<T, Error>>;

/// A compaction under way.
struct Compaction {
    from: Revision,
    revision: Revision,
    answer: Answer<()>,
}

pub(super) struct Committer {
    table: Table,
    newest: Newest,
    room: Room,
    group: usize,
    /// The state after the newest durable write; its bytes are shared with whoever follows.
    live: HashMap<Arc<str>, Object>,
    current: Revision,
    compacted: Revision,
    tail: Arc<Mutex<Option<Box<dyn Tail>>>>,
    commands: mpsc::Receiver<Command>,
    compaction: Option<Compaction>,
    /// Whether free pages of the file are being given back.
    shrinking: bool,
    /// Whether the last commit failed: a disk that stays full is logged once.
    failing: bool,
}

impl Committer {
    pub fn new(
        table: Table,
        newest: Newest,
        room: Room,
        loaded: &Loaded,
        options: Options,
        tail: Arc<Mutex<Option<Box<dyn Tail>>>>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let Loaded { live, current, compacted } = loaded;
        let live = live.iter().map(|(key, object)| (key.clone(), object.clone())).collect();
        Self {
            table,
            newest,
            room,
            group: options.group,
            live,
            current: *current,
            compacted: *compacted,
            tail,
            commands,
            compaction: None,
            shrinking: false,
            failing: false,
        }
    }

    /// Works until every sender is gone.
    pub fn run(mut self) {
        let mut waiting = Vec::new();
        loop {
            if self.compaction.is_some() || self.shrinking {
                match self.commands.try_recv() {
                    Ok(command) => waiting.push(command),
                    Err(mpsc::error::TryRecvError::Empty) => {}
                    Err(mpsc::error::TryRecvError::Disconnected) => return,
                }
            } else {
                match self.commands.blocking_recv() {
                    Some(command) => waiting.push(command),
                    None => return,
                }
            }
            while waiting.len() < self.group {
                match self.commands.try_recv() {
                    Ok(command) => waiting.push(command),
                    Err(_) => break,
                }
            }
            if !waiting.is_empty() {
                self.work_off(&mut waiting);
            }
            self.compact_step();
        }
    }

    /// Decides every waiting write, keeps the good ones in one commit, passes them on and answers.
    fn work_off(&mut self, waiting: &mut Vec<Command>) {
        let full = self.room.look();
        let mut events: Vec<Arc<Event>> = Vec::new();
        let mut answers = Vec::new();
        // What this batch did so far; it is not live before it is durable.
        let mut pending: HashMap<Arc<str>, Option<Object>> = HashMap::new();
        let mut current = self.current;
        for command in waiting.drain(..) {
            let (key, expect, value, guard, answer) = match command {
                Command::Write { key, expect, value, guard, answer } => (key, expect, value, guard, answer),
                Command::Compact { revision, answer } => {
                    self.begin(revision, answer);
                    continue;
                }
            };
            let seen = |key: &Arc<str>| pending.get(key).cloned().unwrap_or_else(|| self.live.get(key).cloned());
            if let Some(guard) = guard {
                let modified = seen(&guard.key).map(|object| object.modified);
                if modified != Some(guard.modified) {
                    answers.push((answer, Outcome::Outdated(modified.unwrap_or(current))));
                    continue;
                }
            }
            let seen = seen(&key);
            match decide(key, expect, value, seen, current + 1) {
                Ok(event) if full && needs_room(&event) => drop(answer.send(Err(Error::Full))),
                Ok(event) => {
                    current += 1;
                    let after = (!event.deleted).then(|| event.object.clone());
                    pending.insert(event.object.key.clone(), after);
                    answers.push((answer, Outcome::Done(event.object.clone())));
                    events.push(Arc::new(event));
                }
                Err(seen) => answers.push((answer, Outcome::Differs(seen))),
            }
        }
        let is_changed = !events.is_empty();
        if is_changed {
            if let Err(error) = self.append(&events) {
                for (answer, _) in answers {
                    let _ = answer.send(Err(Error::NotKept { reason: error.to_string() }));
                }
                return;
            }
            self.current = current;
            for (key, after) in pending {
                match after {
                    Some(object) => drop(self.live.insert(key, object)),
                    None => drop(self.live.remove(&key)),
                }
            }
            if let Some(tail) = self.tail.lock().as_mut() {
                tail.take(events);
            }
        }
        for (answer, outcome) in answers {
            let _ = answer.send(Ok(outcome));
        }
        if is_changed && let Some(tail) = self.tail.lock().as_mut() {
            tail.wake();
        }
    }

    /// Makes a group durable. When the disk has no room even for what needs hardly any, the reserve is given up for it.
    fn append(&mut self, events: &[Arc<Event>]) -> rusqlite::Result<()> {
        let mut kept = self.table.append(events);
        if kept.as_ref().is_err_and(is_full) && self.room.give_back() {
            kept = self.table.append(events);
        }
        match &kept {
            Ok(()) => {
                let newest = events.last().map_or(self.current, |event| event.revision());
                if let Err(error) = self.newest.write(newest) {
                    tracing::debug!(%error, newest, "cannot record the newest revision beside the store");
                }
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the store keeps writes again");
                }
            }
            Err(error) if !std::mem::replace(&mut self.failing, true) => {
                tracing::error!(%error, writes = events.len(), "the store could not keep a group of writes");
            }
            Err(error) => tracing::debug!(%error, writes = events.len(), "the store could not keep a group of writes"),
        }
        kept
    }

    /// One step of the compaction, and after it of giving free pages back.
    fn compact_step(&mut self) {
        if let Some(mut compaction) = self.compaction.take() {
            match self.table.compact_some(compaction.from, compaction.revision, COMPACT_STEP) {
                Ok(Some(from)) => {
                    compaction.from = from;
                    self.compaction = Some(compaction);
                }
                Ok(None) => {
                    self.shrinking = true;
                    drop(compaction.answer.send(Ok(())));
                }
                Err(error) => drop(compaction.answer.send(Err(error))),
            }
        } else if self.shrinking {
            self.shrinking = self.table.shrink_some(SHRINK_STEP).unwrap_or_else(|error| {
                tracing::debug!(%error, "the store's file cannot be made smaller");
                false
            });
        }
    }

    /// Begins a compaction: from now on nothing before `revision` is promised, then the rows are removed step by step.
    fn begin(&mut self, revision: Revision, answer: Answer<()>) {
        if revision > self.current {
            drop(answer.send(Err(Error::Future { requested: revision, current: self.current })));
            return;
        }
        if revision <= self.compacted {
            drop(answer.send(Ok(())));
            return;
        }
        if let Err(error) = self.table.mark_compacted(revision) {
            drop(answer.send(Err(error)));
            return;
        }
        self.compacted = revision;
        // A newer compaction covers what an older one had left.
        if let Some(older) = self.compaction.replace(Compaction { from: 0, revision, answer }) {
            drop(older.answer.send(Ok(())));
        }
    }
}

/// Whether a write needs more room than a status or a deletion does.
fn needs_room(event: &Event) -> bool {
    let Event { object, deleted, previous, derived: _ } = event;
    let before = previous.as_ref().map(|previous| previous.value.len() + SMALL_GROWTH);
    !deleted && before.is_none_or(|before| object.value.len() > before)
}

/// The event that a write makes of what it finds, or what it finds when that is not what it expects.
fn decide(
    key: Arc<str>,
    expect: Expect,
    value: Option<Bytes>,
    seen: Option<Object>,
    revision: Revision,
) -> Result<Event, Option<Object>> {
    match (expect, seen, value) {
        (Expect::Absent, None, Some(value)) => {
            let object = Object { key, value, created: revision, modified: revision };
            Ok(Event { object, deleted: false, previous: None, derived: Derived::default() })
        }
        (Expect::Modified(expected), Some(seen), value) if seen.modified == expected => {
            let deleted = value.is_none();
            let value = value.unwrap_or_else(|| seen.value.clone());
            let object = Object { key, value, created: seen.created, modified: revision };
            Ok(Event { object, deleted, previous: Some(seen), derived: Derived::default() })
        }
        (_, seen, _) => Err(seen),
    }
}
