//! The one thread that writes: it compares, groups, commits, and only then lets anyone know.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::log::Log;
use crate::{Error, Event, Expect, Object, Outcome, Revision};

/// How many log rows one step of a compaction looks at, between two commits.
const COMPACT_STEP: usize = 512;

/// Work for the committer.
pub(super) enum Command {
    Write { key: Arc<str>, expect: Expect, value: Option<Bytes>, answer: Answer<Outcome> },
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
    log: Log,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    compaction: Option<Compaction>,
}

impl Committer {
    pub fn new(log: Log, shared: Arc<Shared>, commands: mpsc::Receiver<Command>) -> Self {
        Self { log, shared, commands, compaction: None }
    }

    /// Works until every sender is gone.
    pub fn run(mut self) {
        let mut waiting = Vec::new();
        loop {
            if self.compaction.is_some() {
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
            while waiting.len() < self.shared.options.group {
                match self.commands.try_recv() {
                    Ok(command) => waiting.push(command),
                    Err(_) => break,
                }
            }
            self.work_off(&mut waiting);
            self.compact_step();
        }
    }

    /// Decides every waiting write, keeps the good ones in one commit, publishes and answers.
    fn work_off(&mut self, waiting: &mut Vec<Command>) {
        let mut events: Vec<Arc<Event>> = Vec::new();
        let mut answers = Vec::new();
        {
            let memory = self.shared.memory.read();
            let mut current = memory.current();
            // What this batch did so far; it is not in memory before it is durable.
            let mut pending: HashMap<Arc<str>, Option<Object>> = HashMap::new();
            for command in waiting.drain(..) {
                let (key, expect, value, answer) = match command {
                    Command::Write { key, expect, value, answer } => (key, expect, value, answer),
                    Command::Compact { revision, answer } => {
                        begin(&mut self.compaction, revision, current, &self.shared, &mut self.log, answer);
                        continue;
                    }
                };
                let seen = pending.get(&key).cloned().unwrap_or_else(|| memory.get(&key).cloned());
                match decide(key, expect, value, seen, current + 1) {
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
        }
        if !events.is_empty() {
            if let Err(error) = self.log.append(&events) {
                tracing::error!(%error, writes = events.len(), "the store could not keep a group of writes");
                for (answer, _) in answers {
                    let _ = answer.send(Err(Error::NotKept { reason: error.to_string() }));
                }
                return;
            }
            self.publish(events);
        }
        for (answer, outcome) in answers {
            let _ = answer.send(Ok(outcome));
        }
    }

    fn publish(&self, events: Vec<Arc<Event>>) {
        let mut memory = self.shared.memory.write();
        for event in events {
            memory.publish(event);
        }
        let current = memory.current();
        drop(memory);
        self.shared.moved.send_replace(current);
    }

    fn compact_step(&mut self) {
        let Some(mut compaction) = self.compaction.take() else { return };
        match self.log.compact_some(compaction.from, compaction.revision, COMPACT_STEP) {
            Ok(Some(from)) => {
                compaction.from = from;
                self.compaction = Some(compaction);
            }
            Ok(None) => drop(compaction.answer.send(Ok(()))),
            Err(error) => drop(compaction.answer.send(Err(error))),
        }
    }
}

/// Takes up a compaction: from now on nothing before `revision` is promised, then the rows go step by step.
fn begin(
    slot: &mut Option<Compaction>,
    revision: Revision,
    current: Revision,
    shared: &Shared,
    log: &mut Log,
    answer: Answer<()>,
) {
    if revision > current {
        drop(answer.send(Err(Error::Future { requested: revision, current })));
        return;
    }
    if revision <= shared.compacted() {
        drop(answer.send(Ok(())));
        return;
    }
    if let Err(error) = log.mark_compacted(revision) {
        drop(answer.send(Err(error)));
        return;
    }
    shared.compacted.store(revision, Ordering::Release);
    // A newer compaction covers what an older one had left.
    if let Some(older) = slot.replace(Compaction { from: 0, revision, answer }) {
        drop(older.answer.send(Ok(())));
    }
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
            Ok(Event { object, deleted: false, previous: None })
        }
        (Expect::Modified(expected), Some(seen), value) if seen.modified == expected => {
            let deleted = value.is_none();
            let value = value.unwrap_or_else(|| seen.value.clone());
            let object = Object { key, value, created: seen.created, modified: revision };
            Ok(Event { object, deleted, previous: Some(seen) })
        }
        (_, seen, _) => Err(seen),
    }
}
