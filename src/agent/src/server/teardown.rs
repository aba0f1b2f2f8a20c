//! `down`: stops every guest of ours on this host, those without an object included, because an administrator said so.
//!
//! Definitions and disks stay, and each record says that we asked, so that the next `up` starts what is wished running.

use std::time::Duration;

use nubium_host::libvirt::{DomainRecord, DomainSeen, DomainState, Domains, LibvirtError, Stop};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

const LOOK_EVERY: Duration = Duration::from_millis(200);
const PRESS_EVERY: Duration = Duration::from_secs(5);

/// What [`stop_all`] came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stopped {
    /// Domains that powered off, by name.
    pub gracefully: Vec<String>,
    /// Domains that were turned off.
    pub hard: Vec<String>,
}

/// Presses every button at once, and turns off what still runs after `deadline`. `now` is Unix time in seconds. When it
/// returns, a fresh look showed none of ours running.
///
/// # Errors
/// When libvirt cannot be asked; nothing that could not be looked at is taken for stopped.
pub async fn stop_all(domains: &impl Domains, deadline: Duration, now: i64) -> Result<Stopped, LibvirtError> {
    let begun = Instant::now();
    let (mut asked, mut stopped): (Vec<DomainSeen>, Stopped) = (Vec::new(), Stopped::default());
    for domain in running(domains).await? {
        if let Some(owner) = &domain.owner {
            let stop = Some(Stop::Asked { at: now, pressed: now });
            domains.set_owner(DomainRecord { stop, ..owner.clone() }).await?;
            asked.push(domain);
        }
    }
    let mut pressed: Option<Instant> = None;
    loop {
        let left = running(domains).await?;
        let late = begun.elapsed() >= deadline;
        if left.is_empty() {
            let hard = &stopped.hard;
            stopped.gracefully =
                asked.into_iter().map(|domain| domain.name).filter(|name| !hard.contains(name)).collect();
            return Ok(stopped);
        }
        let press = pressed.is_none_or(|at| at.elapsed() >= PRESS_EVERY);
        for domain in left {
            if late || matches!(domain.state, DomainState::Paused(_) | DomainState::Crashed) {
                warn!(domain = domain.name, "turning it off: it did not power off");
                domains.destroy(domain.uuid).await?;
                stopped.hard.push(domain.name);
            } else if press {
                debug!(domain = domain.name, "asking it to power off");
                domains.shutdown(domain.uuid).await?;
            }
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
/// When libvirt cannot be asked.
pub async fn undefine_all(domains: &impl Domains) -> Result<(), LibvirtError> {
    for domain in ours(domains).await? {
        domains.undefine(domain.uuid).await?;
    }
    Ok(())
}

async fn ours(domains: &impl Domains) -> Result<Vec<DomainSeen>, LibvirtError> {
    let mut seen = domains.list().await?;
    seen.retain(|domain| domain.owner.as_ref().is_some_and(|owner| owner.uid == domain.uuid));
    Ok(seen)
}

async fn running(domains: &impl Domains) -> Result<Vec<DomainSeen>, LibvirtError> {
    let mut seen = ours(domains).await?;
    seen.retain(|domain| !matches!(domain.state, DomainState::Off(_)));
    Ok(seen)
}
