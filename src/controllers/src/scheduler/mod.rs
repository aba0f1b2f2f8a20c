//! Scheduler: chooses the Host of every Server that has none, once, and admits it there each time it is to run.
//!
//! ```text
//!  unbound Server ─ gather: hosts, what is bound to them ─▶ plan (pure): filters, then weights ─▶ claim
//! ```
//! The write of `status.host` is the claim: compare-and-swap on the Server's version, so a Server that was deleted or
//! bound meanwhile is not bound again. How much of a host is used is counted from the Servers bound to it, never
//! stored; what this process gave and does not see in its cache yet is counted too. A stopped Server holds no cpu and
//! memory: see `admission`.

mod admission;
mod gather;
mod plan;
mod status;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use kube::{Resource, ResourceExt};
use nubium_api::{
    Server, ServerResources,
    contract::{self, SERVER_FINALIZER},
};
use nubium_runtime::{Key, Loop, Next, Note, NoteKind, Queue, StatusWriter, apply_status, claim_status, has_finalizer};
use parking_lot::Mutex;

use admission::{Due, Verdict};

use crate::{
    claims::{host_of, terminating},
    error::{Error, calling},
    pass,
    verdict::writer,
    world::{World, by},
};

const OWNER: StatusWriter<'_> = writer(&contract::SCHEDULER);

/// Room given here that the cache may not show yet: by Server UID, the host and the size.
type Assumed = Mutex<HashMap<String, (String, ServerResources)>>;

/// Runs passes for Servers for ever.
pub(crate) async fn run(world: Arc<World>) {
    let queue = Queue::new();
    let assumed = Arc::new(Assumed::default());
    wake(&world, &queue, &assumed);
    let settings = Loop { name: "scheduler", workers: 16, resync: None };
    let (all, kind) = (world.clone(), world.servers.clone());
    let part = (&contract::SCHEDULER, status::failed as fn(&Server, &_) -> _);
    pass::run_with(all, kind, part, settings, queue, move |key| schedule(world.clone(), assumed.clone(), key)).await;
}

async fn schedule(world: Arc<World>, assumed: Arc<Assumed>, key: Key) -> Result<Next, Error> {
    let Some(server) = world.servers.get(&key) else { return Ok(Next::Gone) };
    // Going; or not yet held, so that it could vanish with its guest left behind.
    if terminating(server.as_ref()) || !has_finalizer(server.as_ref(), SERVER_FINALIZER) {
        return Ok(Next::Settled);
    }
    match host_of(&server) {
        Some(host) => admit(&world, &assumed, &key, &server, host).await,
        None => bind(&world, &assumed, &key, &server).await,
    }
}

async fn bind(world: &World, assumed: &Assumed, key: &Key, server: &Server) -> Result<Next, Error> {
    let uid = server.uid().unwrap_or_default();
    let (request, placed) = {
        // Looking and assuming are one step: no other pass sees the room that this one takes.
        let mut assumed = assumed.lock();
        if assumed.contains_key(&uid) {
            return Ok(Next::Settled);
        }
        let request = gather::request(world, server);
        let placed = request
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|request| plan::place(request, &gather::hosts(world, &assumed)));
        if let (Ok(request), Ok(host)) = (&request, &placed)
            && request.runs
        {
            assumed.insert(uid.clone(), (host.clone(), request.resources.clone()));
        }
        (request, placed)
    };
    let api = world.api::<Server>(key);
    match (request, placed) {
        (Ok(request), Ok(host)) => {
            let status = status::bound(server, &host, &request);
            if let Err(error) = claim_status(&api, server, &OWNER, &status).await {
                assumed.lock().remove(&uid);
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
        (Ok(_), Err(reason)) | (Err(reason), _) => {
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
async fn admit(world: &World, assumed: &Assumed, key: &Key, server: &Server, host: &str) -> Result<Next, Error> {
    let Some((due, size)) = admission::due(server).zip(gather::size(server)) else { return Ok(Next::Settled) };
    let uid = server.uid().unwrap_or_default();
    let verdict = match due {
        Due::Release => Verdict::Stopped,
        Due::Runs => Verdict::Admitted,
        Due::Room => {
            let mut assumed = assumed.lock();
            if assumed.contains_key(&uid) {
                return Ok(Next::Settled);
            }
            let verdict = admission::verdict(gather::host(world, host, &assumed).as_ref(), &size);
            if verdict == Verdict::Admitted {
                assumed.insert(uid.clone(), (host.to_owned(), size.clone()));
            }
            verdict
        }
    };
    let status = status::admission(server, host, &size, verdict);
    match claim_status(&world.api::<Server>(key), server, &OWNER, &status).await {
        Ok(wrote) => {
            if wrote && let Verdict::HostFull | Verdict::Unreported = verdict {
                world.recorder.note(Note {
                    regarding: server.object_ref(&()),
                    kind: NoteKind::Warning,
                    reason: verdict.reason().into(),
                    action: "Admit".into(),
                    text: verdict.message(host, &size),
                });
            }
            Ok(Next::Settled)
        }
        Err(error) => {
            assumed.lock().remove(&uid);
            Err(calling::<Server>("admit", key)(error))
        }
    }
}

/// A Server's own changes, and whatever may make room or lift a reason for waiting.
fn wake(world: &Arc<World>, queue: &Queue<Key>, assumed: &Arc<Assumed>) {
    let (own, others, assumed, all) = (queue.clone(), queue.clone(), assumed.clone(), world.servers.clone());
    world.servers.on_change(move |old, new| {
        if let Some(server) = new.or(old) {
            own.add(Key::of(server.as_ref()));
            if new.is_none_or(|server| gather::takes(server).is_some()) {
                assumed.lock().remove(&server.uid().unwrap_or_default());
            }
        }
        let room = |server: Option<&Arc<Server>>| server.map(|server| gather::takes(server));
        if old.is_some() && room(old) != room(new) {
            waiting(&all, &others);
        }
    });
    let (all, hosts) = (world.servers.clone(), queue.clone());
    world.hosts.on_change(move |old, new| {
        let state = |host: Option<&Arc<nubium_api::Host>>| host.map(|host| gather::relevant(host));
        if state(old) != state(new) {
            waiting(&all, &hosts);
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

/// Those that wait for a host, or for room on theirs.
fn waiting(servers: &nubium_runtime::Shared<Server>, queue: &Queue<Key>) {
    let waits = |server: &Server| host_of(server).is_none() || admission::due(server) == Some(Due::Room);
    let waiting = servers.list().into_iter().filter(|server| waits(server));
    waiting.for_each(|server| queue.add(Key::of(server.as_ref())));
}
