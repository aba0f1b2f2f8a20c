//! Scheduler: chooses the Host of every Server that has none, once, and admits it there each time it is to run.
//!
//! ```text
//!  Hosts, Servers on them ─ every change ─▶ index: the free room of each host
//!  unbound Server ─ gather: what it asks ───────┴─▶ filters, then weights ─▶ claim
//! ```
//! The write of `status.host` is the claim: compare-and-swap on the Server's version, so a Server that was deleted or
//! bound meanwhile is not bound again. How much of a host is used is counted from the Servers bound to it, never
//! stored; what this process gave and does not see in its cache yet is counted too. A stopped Server holds no cpu and
//! memory: see `admission`.

mod admission;
mod gather;
mod index;
mod plan;
mod status;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use kube::{Resource, ResourceExt};
use nubium_api::Server;
use nubium_runtime::{Key, Loop, Next, Note, NoteKind, Queue, StatusWriter, apply_status, claim_status, has_finalizer};
use parking_lot::Mutex;

use admission::{Due, Verdict};
pub use index::Index;
pub use plan::{Request, Unplaced};

use crate::{
    error::{Error, calling},
    pass,
    users::{host_of, terminating},
    verdict::writer,
    world::{World, by},
};

const OWNER: StatusWriter<'_> = writer(&Server::SCHEDULER);

/// What all passes share.
#[derive(Default)]
struct State {
    /// With the room that was given here and that the cache may not show yet.
    index: Index,
    /// The Servers that a pass found no room for, since something was last freed.
    waiting: BTreeSet<Key>,
}

impl State {
    fn wake(&mut self, queue: &Queue<Key>) {
        std::mem::take(&mut self.waiting).into_iter().for_each(|key| queue.add(key));
    }
}

/// What a pass works with.
struct Context {
    world: Arc<World>,
    queue: Queue<Key>,
    state: Mutex<State>,
}

impl Context {
    /// What was given to a Server could not be written: others may have it.
    fn take_back(&self, uid: &str) {
        let mut state = self.state.lock();
        if state.index.take_back(uid) {
            state.wake(&self.queue);
        }
    }
}

/// Runs passes for Servers for ever.
pub(crate) async fn run(world: Arc<World>) {
    let queue = Queue::new();
    let context = Arc::new(Context { world, queue: queue.clone(), state: Mutex::default() });
    wake(&context);
    let settings = Loop { name: "scheduler", workers: 16, resync: None };
    let all = context.world.clone();
    let part = (Server::SCHEDULER, status::failed as fn(&Server, &_) -> _);
    pass::run_with(all, part, settings, queue, move |key| schedule(context.clone(), key)).await;
}

async fn schedule(context: Arc<Context>, key: Key) -> Result<Next, Error> {
    let Some(server) = context.world.servers.get(&key) else { return Ok(Next::Gone) };
    // Going; or not yet held, so that it could vanish with its guest left behind.
    if terminating(server.as_ref()) || !has_finalizer(server.as_ref(), Server::FINALIZER) {
        return Ok(Next::Settled);
    }
    match host_of(&server) {
        Some(host) => admit(&context, &key, &server, host).await,
        None => bind(&context, &key, &server).await,
    }
}

async fn bind(context: &Context, key: &Key, server: &Server) -> Result<Next, Error> {
    let (world, uid) = (&context.world, server.uid().unwrap_or_default());
    let placed = {
        // Looking and giving are one step: no other pass sees the room that this one takes.
        let mut state = context.state.lock();
        if state.index.is_held(&uid) {
            return Ok(Next::Settled);
        }
        let placed = gather::request(world, server).and_then(|request| {
            let host = state.index.place(&request)?.to_owned();
            Ok((host, request))
        });
        match &placed {
            Ok((host, request)) if request.runs => state.index.give(uid.clone(), host, &request.resources),
            Ok(_) => {}
            Err(_) => drop(state.waiting.insert(key.clone())),
        }
        placed
    };
    let api = world.api::<Server>(key);
    match placed {
        Ok((host, request)) => {
            let status = status::bound(server, &host, &request);
            if let Err(error) = claim_status(&api, server, &OWNER, &status).await {
                context.take_back(&uid);
                return Err(calling::<Server>("bind", key)(error));
            }
            world.recorder.note(Note {
                regarding: server.object_ref(&()),
                kind: NoteKind::Normal,
                reason: "Scheduled".into(),
                action: "Schedule".into(),
                text: format!("placed on host {host}"),
            });
        }
        Err(reason) => {
            let status = status::unbound(server, &reason);
            let wrote = apply_status(&api, server, &OWNER, &status).await;
            if wrote.map_err(calling::<Server>("write the status of", key))? {
                world.recorder.note(Note {
                    regarding: server.object_ref(&()),
                    kind: NoteKind::Warning,
                    reason: reason.reason().into(),
                    action: "Schedule".into(),
                    text: reason.to_string(),
                });
            }
        }
    }
    Ok(Next::Settled)
}

/// Gives a Server that is to run its size of its host, and takes it back from one that was seen off.
async fn admit(context: &Context, key: &Key, server: &Server, host: &str) -> Result<Next, Error> {
    let Some((due, size)) = admission::due(server).zip(gather::size(server)) else { return Ok(Next::Settled) };
    let uid = server.uid().unwrap_or_default();
    let verdict = match due {
        Due::Release => Verdict::Stopped,
        Due::Runs => Verdict::Admitted,
        Due::Room => {
            let mut state = context.state.lock();
            if state.index.is_held(&uid) {
                return Ok(Next::Settled);
            }
            let verdict = admission::verdict(state.index.host(host), size);
            match verdict {
                Verdict::Admitted => state.index.give(uid.clone(), host, size),
                _ => drop(state.waiting.insert(key.clone())),
            }
            verdict
        }
    };
    let status = status::admission(server, host, size, verdict);
    match claim_status(&context.world.api::<Server>(key), server, &OWNER, &status).await {
        Ok(wrote) => {
            if wrote && let Verdict::HostFull | Verdict::Unreported = verdict {
                context.world.recorder.note(Note {
                    regarding: server.object_ref(&()),
                    kind: NoteKind::Warning,
                    reason: verdict.reason().into(),
                    action: "Admit".into(),
                    text: verdict.message(host, size),
                });
            }
            Ok(Next::Settled)
        }
        Err(error) => {
            context.take_back(&uid);
            Err(calling::<Server>("admit", key)(error))
        }
    }
}

/// A Server's own changes, and whatever may make room or lift a reason for waiting.
fn wake(context: &Arc<Context>) {
    let (world, queue) = (&context.world, &context.queue);
    let shared = Arc::downgrade(context);
    world.servers.on_change(move |old, new| {
        let Some(context) = shared.upgrade() else { return };
        if let Some(server) = new.or(old) {
            context.queue.add(Key::of(server.as_ref()));
        }
        let mut state = context.state.lock();
        if state.index.server_changed(old.map(Arc::as_ref), new.map(Arc::as_ref)) {
            state.wake(&context.queue);
        }
    });
    let shared = Arc::downgrade(context);
    world.hosts.on_change(move |old, new| {
        let Some(context) = shared.upgrade() else { return };
        let mut state = context.state.lock();
        if state.index.host_changed(old.map(Arc::as_ref), new.map(Arc::as_ref)) {
            state.wake(&context.queue);
        }
    });
    let servers = world.servers.clone();
    world.volumes.feed(queue, move |volume| {
        let users = servers.by(by::VOLUME, &Key::of(volume).to_string());
        users.iter().filter(|server| host_of(server).is_none()).map(|server| Key::of(server.as_ref())).collect()
    });
    let servers = world.servers.clone();
    world.flavors.feed(queue, move |flavor| {
        let users = servers.by(by::FLAVOR, &flavor.name_any());
        users.iter().filter(|server| host_of(server).is_none()).map(|server| Key::of(server.as_ref())).collect()
    });
}
