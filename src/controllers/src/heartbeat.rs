//! When a heartbeat was heard, and what its silence means, or that its agent gave the Lease up.

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kube::ResourceExt;
use nubium_api::{Condition, ConditionStatus};
use nubium_runtime::Shared;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::verdict::Verdict;

/// A host that was silent for longer is Unknown: four heartbeats of ten seconds.
pub(crate) const SILENCE_LIMIT: Duration = Duration::from_secs(40);

/// A heartbeat as it was heard here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Beat {
    /// What the Lease said: only whether it changes matters.
    pub renewed: Timestamp,
    /// When that was first seen here.
    pub heard: Instant,
    /// How old it already was then; known only for the first one, by comparing clocks.
    pub before: Duration,
}

/// Takes note of what the Lease says now.
fn hear(last: Option<Beat>, renewed: Timestamp, now: Instant, clock: Timestamp) -> Beat {
    match last {
        Some(last) if last.renewed == renewed => last,
        Some(_) => Beat { renewed, heard: now, before: Duration::ZERO },
        // We just started: a Lease that was left behind by a dead host must not pass for a heartbeat.
        None => {
            let age = Duration::try_from(clock.duration_since(renewed)).unwrap_or(Duration::ZERO);
            Beat { renewed, heard: now, before: age }
        }
    }
}

/// The last heartbeat of every host, as it was heard here: other machines' clocks do not matter.
#[derive(Clone, Default)]
pub(crate) struct Beats(Arc<Mutex<HashMap<String, Beat>>>);

impl Beats {
    /// Notes every heartbeat from now on.
    pub fn follow(&self, leases: &Shared<Lease>) {
        let beats = self.clone();
        leases.on_change(move |old, new| match (old, new) {
            (_, Some(lease)) => beats.note(lease),
            (Some(lease), None) => drop(beats.0.lock().remove(&lease.name_any())),
            (None, None) => {}
        });
    }

    fn note(&self, lease: &Lease) {
        let Some(renewed) = renewed(lease).filter(|_| !given_up(lease)) else { return };
        let mut beats = self.0.lock();
        let name = lease.name_any();
        let beat = hear(beats.get(&name).copied(), renewed, Instant::now(), Timestamp::now());
        beats.insert(name, beat);
    }

    /// For how long no heartbeat was heard; None when there never was one.
    pub fn silence(&self, host: &str) -> Option<Duration> {
        self.0.lock().get(host).map(|beat| beat.heard.elapsed() + beat.before)
    }

    /// Whether it was heard of a moment ago.
    pub fn is_alive(&self, host: &str) -> bool {
        self.silence(host).is_some_and(|silence| silence < SILENCE_LIMIT)
    }
}

/// When the Lease was renewed last.
fn renewed(lease: &Lease) -> Option<Timestamp> {
    lease.spec.as_ref()?.renew_time.as_ref().map(|time| time.0)
}

/// Whether nobody holds the Lease: the agent gave it up, and takes it again when it has reported all that runs there.
pub(crate) fn given_up(lease: &Lease) -> bool {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()).is_none_or(String::is_empty)
}

/// How a host stands whose Lease was given up: when it was heard of last does not matter.
pub(crate) fn begun_anew() -> Verdict {
    Verdict::unknown("StartedAnew", "its agent was started anew and has not reported yet what runs on it")
}

/// How a host stands whose Lease is held. `silence` is the time since its last heartbeat, None when there never was one.
pub(crate) fn verdict(silence: Option<Duration>, agent: Option<&Condition>) -> Verdict {
    match silence {
        None => Verdict::unknown("NoHeartbeat", "its agent has not been heard of yet"),
        Some(silence) if silence >= SILENCE_LIMIT => {
            let seconds = SILENCE_LIMIT.as_secs();
            Verdict::unknown("HostSilent", format!("its agent has not been heard of for more than {seconds} s"))
        }
        Some(_) => match agent.filter(|fact| fact.status != ConditionStatus::True) {
            Some(fact) => Verdict::working(&fact.reason, &fact.message),
            None => Verdict::ready("Ready", "its agent answers"),
        },
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::LeaseSpec;

    use super::*;
    use crate::verdict::State;

    #[tokio::test(start_paused = true)]
    async fn only_a_lease_that_changes_is_a_heartbeat() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let start = Instant::now();
        // Left behind an hour ago.
        let old = hear(None, at(0), start, at(3600));
        assert_eq!(old.before, Duration::from_secs(3600));
        // The same again, later: still old. A clock that is ahead of ours does no harm.
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(hear(Some(old), at(0), Instant::now(), at(3605)), old);
        let fresh = hear(Some(old), at(9999), Instant::now(), at(3605));
        assert_eq!((fresh.before, fresh.heard), (Duration::ZERO, Instant::now()));
        assert_eq!(hear(None, at(9999), start, at(3605)).before, Duration::ZERO);
    }

    #[test]
    fn a_lease_is_given_up_when_nobody_holds_it() {
        let held_by = |holder: Option<&str>| {
            let holder_identity = holder.map(str::to_owned);
            let spec = Some(LeaseSpec { holder_identity, ..LeaseSpec::default() });
            Lease { spec, ..Lease::default() }
        };
        assert!(given_up(&held_by(None)) && given_up(&held_by(Some(""))) && given_up(&Lease::default()));
        assert!(!given_up(&held_by(Some("host-a"))));
        assert_eq!(begun_anew().state, State::Unknown);
    }

    #[test]
    fn silence_is_unknown_and_a_failure_that_the_agent_reports_is_not_ready() {
        assert_eq!(verdict(None, None).state, State::Unknown);
        assert_eq!(verdict(Some(SILENCE_LIMIT), None).reason, "HostSilent");
        assert_eq!(verdict(Some(Duration::from_secs(39)), None).state, State::Ready);
        let failure =
            Condition::new("AgentReady", ConditionStatus::False, Some(1), "LibvirtDown", "libvirt does not answer");
        let verdict = verdict(Some(Duration::ZERO), Some(&failure));
        assert_eq!((verdict.state, verdict.reason.as_str()), (State::Working, "LibvirtDown"));
    }

    fn lease(renewed: Timestamp) -> Lease {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "host-a"}, "spec": {"holderIdentity": "host-a", "renewTime": renewed.to_string()},
        }))
        .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_is_alive_as_long_as_its_lease_is_renewed() {
        let beats = Beats::default();
        assert!(!beats.is_alive("host-a"), "never heard of");
        let now = Timestamp::now();
        let later = now + Duration::from_secs(20);
        beats.note(&lease(now - Duration::from_secs(3600)));
        assert!(!beats.is_alive("host-a"), "left behind by a host that is no more");
        beats.note(&lease(now));
        tokio::time::advance(SILENCE_LIMIT / 2).await;
        assert!(beats.is_alive("host-a") && !beats.is_alive("host-b"));
        beats.note(&lease(later));
        tokio::time::advance(SILENCE_LIMIT / 2).await;
        assert!(beats.is_alive("host-a"), "renewed meanwhile");
        beats.note(&lease(later));
        tokio::time::advance(SILENCE_LIMIT / 2).await;
        assert!(!beats.is_alive("host-a"), "the same Lease again is no heartbeat");
    }
}
