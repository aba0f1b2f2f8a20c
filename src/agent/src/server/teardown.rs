//! `down`: stops every guest of ours on this host, those without an object included, because an administrator said so.
//!
//! Definitions and disks stay, and each record says that we asked, so that the next `up` starts what is to run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nubium_host::libvirt::{DomainList, DomainRecord, DomainState, Domains, LibvirtError, Stop};
use nubium_runtime::Chain;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};
use uuid::Uuid;

const LOOK_EVERY: Duration = Duration::from_millis(200);
const PRESS_EVERY: Duration = Duration::from_secs(5);
/// So long after the deadline a guest that cannot be turned off is still tried.
const GIVE_UP: Duration = Duration::from_secs(10);

/// What [`stop_all`] came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stopped {
    /// Domains that powered off, by name.
    pub gracefully: Vec<String>,
    /// Domains that were turned off.
    pub hard: Vec<String>,
}

/// Presses every button at once, and turns off what still runs after `deadline`. `now` is in seconds since boot. When it
/// returns, a fresh look showed none of ours running. What fails of one guest is tried again and holds up no other one.
///
/// # Errors
/// When libvirt cannot be asked, or a guest still runs long after the deadline; nothing that could not be looked at is
/// taken for stopped.
pub async fn stop_all(domains: &impl Domains, deadline: Duration, now: i64) -> Result<Stopped, LibvirtError> {
    stop(domains, None, deadline, now).await
}

/// Like [`stop_all`], of the one guest of that UUID.
///
/// # Errors
/// When libvirt cannot be asked, or the guest still runs long after the deadline.
pub async fn stop_one(
    domains: &impl Domains,
    uuid: Uuid,
    deadline: Duration,
    now: i64,
) -> Result<Stopped, LibvirtError> {
    stop(domains, Some(uuid), deadline, now).await
}

async fn stop(
    domains: &impl Domains,
    only: Option<Uuid>,
    deadline: Duration,
    now: i64,
) -> Result<Stopped, LibvirtError> {
    let begun = Instant::now();
    // By UUID, the names of all that were found running, and of those that were turned off.
    let (mut asked, mut hard) = (BTreeMap::new(), BTreeSet::new());
    let mut pressed: Option<Instant> = None;
    loop {
        let mut left = running(domains).await?;
        left.retain(|running| only.is_none_or(|only| only == running.uuid));
        if left.is_empty() {
            let (hard, gracefully): (Vec<_>, Vec<_>) = asked.into_iter().partition(|(uuid, _)| hard.contains(uuid));
            let names = |them: Vec<(Uuid, String)>| them.into_iter().map(|(_, name)| name).collect();
            return Ok(Stopped { gracefully: names(gracefully), hard: names(hard) });
        }
        let late = begun.elapsed() >= deadline;
        let press = pressed.is_none_or(|at| at.elapsed() >= PRESS_EVERY);
        let mut failure = None;
        for Running { uuid, name, owner, deaf } in left {
            let first = asked.insert(uuid, name.clone()).is_none();
            let done = if first { remember(domains, owner, now).await } else { Ok(()) };
            let done = match done {
                // Without the record, the next `up` would take it for the guest's own power-off: it is tried again.
                Err(error) => {
                    asked.remove(&uuid);
                    if late { domains.destroy(uuid).await } else { Err(error) }
                }
                Ok(()) if late || deaf => {
                    if hard.insert(uuid) {
                        let why = if deaf { "it is paused" } else { "it did not power off" };
                        warn!(domain = name, why, "turning it off");
                    }
                    domains.destroy(uuid).await
                }
                Ok(()) if press || first => {
                    debug!(domain = name, "asking it to power off");
                    domains.shutdown(uuid).await
                }
                Ok(()) => Ok(()),
            };
            if let Err(error) = done {
                // It may have ended meanwhile; the next look tells.
                debug!(domain = name, error = %Chain(&error), "cannot stop the guest");
                failure = Some(error);
            }
        }
        if let Some(error) = failure.filter(|_| begun.elapsed() >= deadline + GIVE_UP) {
            return Err(error);
        }
        if press {
            pressed = Some(Instant::now());
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Forgets every definition of ours that is off: `down --purge`, after [`stop_all`].
///
/// # Errors
/// When libvirt cannot be asked, or refuses.
pub async fn undefine_all(domains: &impl Domains) -> Result<(), LibvirtError> {
    let DomainList { seen, unreadable } = domains.list().await?;
    let seen = seen.iter().filter(|domain| domain.owner.as_ref().is_some_and(|owner| owner.uid == domain.uuid));
    let unreadable = unreadable.iter().filter(|domain| domain.ours).map(|domain| domain.uuid);
    for uuid in seen.map(|domain| domain.uuid).chain(unreadable) {
        domains.undefine(uuid).await?;
    }
    Ok(())
}

/// A guest of ours that runs.
struct Running {
    uuid: Uuid,
    name: String,
    /// `None`: it could not be read.
    owner: Option<DomainRecord>,
    /// It hears no button.
    deaf: bool,
}

async fn remember(domains: &impl Domains, owner: Option<DomainRecord>, now: i64) -> Result<(), LibvirtError> {
    match owner {
        Some(owner) => {
            domains.set_owner(DomainRecord { stop: Some(Stop::Asked { at: now, pressed: now }), ..owner }).await
        }
        None => Ok(()),
    }
}

async fn running(domains: &impl Domains) -> Result<Vec<Running>, LibvirtError> {
    let DomainList { seen, unreadable } = domains.list().await?;
    let seen = seen.into_iter().filter_map(|domain| {
        let owner = domain.owner.filter(|owner| owner.uid == domain.uuid)?;
        let deaf = match domain.state {
            DomainState::Off(_) => return None,
            DomainState::Paused(_) | DomainState::Crashed => true,
            DomainState::Running | DomainState::Stopping => false,
        };
        Some(Running { uuid: domain.uuid, name: domain.name, owner: Some(owner), deaf })
    });
    let unreadable = unreadable.into_iter().filter(|domain| domain.ours && domain.active);
    let unreadable =
        unreadable.map(|domain| Running { uuid: domain.uuid, name: domain.name, owner: None, deaf: false });
    Ok(seen.chain(unreadable).collect())
}
