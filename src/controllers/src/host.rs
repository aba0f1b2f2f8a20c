//! Host: Ready while its heartbeat comes. The agent renews a Lease in `nubium-hosts`; when that stops, or when the agent
//! gives the Lease up because its machine was started anew, `Ready` turns Unknown, and that of its Servers with it.
//! Nothing is done to them: silence is not death.

use std::sync::Arc;

use kube::{Api, Resource};
use nubium_api::{ConditionStatus, HOSTS_NAMESPACE, Host, HostStatus, Kind as _, condition, contract};
use nubium_runtime::{Key, Loop, Next, Note, NoteKind, Queue, StatusWriter, apply_status};

use crate::{
    error::{Error, calling},
    heartbeat::{self, SILENCE_LIMIT},
    pass,
    verdict::writer,
    world::{Controlled, World},
};

const OWNER: StatusWriter<'_> = writer(&Host::CONTROLLER);

impl Controlled for Host {
    async fn run(world: Arc<World>) {
        let queue = Queue::new();
        world.hosts.feed_own(&queue);
        world.leases.feed(&queue, |lease| lease.metadata.name.iter().map(Key::cluster).collect());
        let settings = Loop { name: "host", workers: 4, resync: None };
        pass::run::<Self, _, _>(world.clone(), settings, queue, move |key| reconcile(world.clone(), key)).await;
    }
}

async fn reconcile(world: Arc<World>, key: Key) -> Result<Next, Error> {
    let Some(host) = world.hosts.get(&key) else {
        return Ok(Next::Gone);
    };
    let lease = world.leases.get(&Key::new(HOSTS_NAMESPACE, key.name.clone()));
    let silence = world.beats.silence(&key.name);
    let given_up = lease.as_deref().is_some_and(heartbeat::given_up);
    let generation = host.metadata.generation;
    let seen = host.status.clone().unwrap_or_default();
    let verdict = match given_up {
        true => heartbeat::begun_anew(),
        false => heartbeat::verdict(silence, condition(&seen.conditions, contract::AGENT_READY)),
    };
    let conditions = verdict.conditions(generation);
    let before = condition(&seen.conditions, contract::READY).map(|ready| ready.status);
    let now = conditions.first().map(|ready| ready.status);
    let status = HostStatus { observed_generation: generation, conditions, ..HostStatus::default() };
    let api: Api<Host> = Api::all(world.client.clone());
    apply_status(&api, &host, &OWNER, &status).await.map_err(calling::<Host>("write the status of", &key))?;
    if before.is_some() && before != now {
        let kind = if now == Some(ConditionStatus::True) { NoteKind::Normal } else { NoteKind::Warning };
        let (reason, text) = (verdict.reason.clone(), verdict.message.clone());
        world.recorder.note(Note { regarding: host.object_ref(&()), kind, reason, action: "Watch".into(), text });
    }
    // The next heartbeat wakes this; the clock is for the one that does not come.
    let rest = silence.filter(|_| !given_up).and_then(|silence| SILENCE_LIMIT.checked_sub(silence));
    Ok(rest.filter(|rest| !rest.is_zero()).map_or(Next::Settled, Next::After))
}
