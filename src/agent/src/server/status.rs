//! The status of a Server: this agent's own conditions, from a fresh look only, never from what was just done.
//!
//! | condition | True | otherwise |
//! |---|---|---|
//! | `VolumesReady` | every disk's file was seen | which Volume is waited for |
//! | `NetworkReady` | every NIC's Network knows it, and its tap works while the guest runs | what is missing |
//! | `Running` | the guest runs | why not: its reason says whether that is as desired |
//! | `RestartRequired` | the next restart changes something, and what; absent otherwise | – |
//! | `Released` | nothing is left here; reported only of a Server that is being deleted | what is left |

use std::time::Duration;

use nubium_api::{Condition, ConditionStatus, Device, contract};
use nubium_host::libvirt::{DomainSeen, DomainState, Off, Pause, Stop};
use nubium_runtime::Chain;
use uuid::Uuid;

use super::apply::Outcome;
use super::desired::{Desired, Invalid, Presence, Settings};
use super::observe::{LookError, Seen};
use super::plan::{self, Plan, Refusal, Step};
use super::power::Power;
use super::slots;

/// The result of one pass. `lastTransitionTime` of its conditions means nothing.
#[derive(Debug)]
pub struct Report {
    pub conditions: Vec<Condition>,
    /// The slots in force, for the Server's status; `None`: nothing is known, leave what is there.
    pub devices: Option<Vec<Device>>,
    /// The Volumes that the running guest was seen to have.
    pub attached: Vec<Uuid>,
    /// Reason and text of Events: what happened that nobody asked for.
    pub news: Vec<(&'static str, String)>,
    /// What was done, in order.
    pub done: Vec<Step>,
    /// What could not be done, and why; it is to be tried again.
    pub failed: Option<String>,
    /// It does not run, and waits for what others make or decide: most such waits last a few milliseconds.
    pub waits: bool,
    /// Come back after this time, unasked.
    pub again: Option<Duration>,
}

/// What can keep a pass from having looked at all.
#[derive(Debug, thiserror::Error)]
pub enum Blind {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Look(#[from] LookError),
}

const SOON: Duration = Duration::from_secs(2);

impl Report {
    /// Nothing is known of the guest: it says so.
    #[must_use]
    pub fn blind(generation: Option<i64>, why: &Blind) -> Self {
        let (reason, again) = match why {
            Blind::Invalid(_) => ("Invalid", None),
            Blind::Look(_) => ("CannotLook", Some(SOON)),
        };
        let unknown = |type_: &str| Said::new(type_, ConditionStatus::Unknown, reason, Chain(why).to_string());
        let conditions = [contract::VOLUMES_READY, contract::NETWORK_READY, contract::RUNNING]
            .map(|type_| unknown(type_).at(generation))
            .into();
        Self {
            conditions,
            devices: None,
            attached: Vec::new(),
            news: Vec::new(),
            done: Vec::new(),
            failed: None,
            waits: false,
            again,
        }
    }
}

/// One condition without its bookkeeping.
struct Said {
    type_: String,
    status: ConditionStatus,
    reason: String,
    message: String,
}

impl Said {
    fn new(type_: &str, status: ConditionStatus, reason: &str, message: impl Into<String>) -> Self {
        Self { type_: type_.to_owned(), status, reason: reason.to_owned(), message: message.into() }
    }

    fn truth(type_: &str, truth: bool, reason: &str, message: impl Into<String>) -> Self {
        Self::new(type_, if truth { ConditionStatus::True } else { ConditionStatus::False }, reason, message)
    }

    fn at(self, observed_generation: Option<i64>) -> Condition {
        let Self { type_, status, reason, message } = self;
        Condition::new(&type_, status, observed_generation, reason, message)
    }
}

/// `after` is the look after the outcome; where nothing was done, the only one.
#[must_use]
pub fn status(want: &Desired, settings: &Settings, outcome: Outcome, after: &Seen) -> Report {
    let rest = Plan::new(want, after, settings);
    let Outcome { done, failed, skipped: _ } = outcome;
    let failed = failed.map(|(step, error)| format!("cannot {step}: {}", sentence(&Chain(&error).to_string())));
    let said = match want.presence {
        Presence::Present => present(want, settings, after, &rest, failed.as_deref()),
        Presence::Absent(_) => vec![released(after, &rest, failed.as_deref())],
    };
    let unfinished = failed.is_some() || !rest.steps.is_empty();
    let live = after.domain.as_ref().and_then(|domain| domain.live.as_ref());
    let uid = |alias: &str| alias.strip_prefix("ua-").and_then(|uid| uid.parse().ok());
    Report {
        conditions: said.into_iter().map(|said| said.at(Some(want.generation))).collect(),
        devices: Some(slots::devices(want, &slots::assign(want, after.domain.as_ref()), live)),
        attached: live.iter().flat_map(|live| &live.disks).filter_map(|disk| uid(&disk.alias)).collect(),
        news: done.iter().filter_map(Step::news).collect(),
        waits: match rest.refusal {
            Some(Refusal::Waiting { .. }) => after.domain.is_none(),
            Some(Refusal::NotAdmitted) => true,
            _ => false,
        },
        done,
        failed,
        again: rest.again.map(Duration::from_secs).or_else(|| unfinished.then_some(SOON)),
    }
}

fn present(want: &Desired, settings: &Settings, after: &Seen, rest: &Plan, failed: Option<&str>) -> Vec<Said> {
    let mut said = vec![volumes(want, after), network(want, after), running(want, after, rest, failed)];
    let changes = changes(want, settings, after);
    if !changes.is_empty() {
        let message =
            format!("counts from the next restart on: {}; set spec.restartedAt to restart", changes.join(", "));
        said.push(Said::truth(contract::RESTART_REQUIRED, true, "ChangedWhileRunning", message));
    } else if after.domain.as_ref().is_some_and(|domain| domain.console_lost) && want.running {
        let message =
            "its console is no longer logged: the virtlogd that read it has ended; set spec.restartedAt to restart";
        said.push(Said::truth(contract::RESTART_REQUIRED, true, "ConsoleNotLogged", message));
    }
    said
}

fn volumes(want: &Desired, after: &Seen) -> Said {
    let lacking = want.disks.iter().filter_map(|disk| plan::disk_lacks(disk, after));
    let lacking: Vec<String> = want.waiting_disks.values().cloned().chain(lacking).collect();
    if lacking.is_empty() {
        return Said::truth(contract::VOLUMES_READY, true, "VolumesReady", "every disk was seen on this host");
    }
    Said::truth(contract::VOLUMES_READY, false, "WaitingForVolumes", lacking.join("; "))
}

fn network(want: &Desired, after: &Seen) -> Said {
    let lacking = want.nics.iter().filter_map(|nic| plan::nic_lacks(nic, after));
    let lacking: Vec<String> = want.waiting_nics.values().cloned().chain(lacking).collect();
    if !lacking.is_empty() {
        return Said::truth(contract::NETWORK_READY, false, "WaitingForNetwork", lacking.join("; "));
    }
    let lost = lost_taps(want, after);
    if !lost.is_empty() {
        return Said::truth(contract::NETWORK_READY, false, "TapLost", lost.join("; "));
    }
    Said::truth(contract::NETWORK_READY, true, "NetworkReady", "every NIC is connected to its Network")
}

/// NICs of a running guest whose tap is gone or does not work. A tap cannot be made again under a running QEMU.
fn lost_taps(want: &Desired, after: &Seen) -> Vec<String> {
    let Some(live) = after.domain.as_ref().filter(|domain| domain.state == DomainState::Running) else {
        return Vec::new();
    };
    let has = |tap: &str| live.live.as_ref().is_some_and(|facts| facts.nics.iter().any(|nic| nic.tap == tap));
    let tap = |netns, tap: &str| after.networks.get(netns).and_then(|network| network.taps.get(tap)).cloned();
    let lost = want.nics.iter().filter(|nic| has(&nic.tap)).filter_map(|nic| match tap(&nic.netns, &nic.tap) {
        None => {
            Some(format!("the tap of NIC {} was deleted on this host: restart the Server to get it back", nic.name))
        }
        Some(tap) if !tap.works(nic.mtu) => Some(format!("the tap of NIC {} is not up on its bridge", nic.name)),
        Some(_) => None,
    });
    lost.collect()
}

fn changes(want: &Desired, settings: &Settings, after: &Seen) -> Vec<String> {
    let Some(domain) = after.domain.as_ref() else { return Vec::new() };
    let (Some(live), true) = (&domain.live, want.running) else { return Vec::new() };
    // What is not known to be unwanted is no difference.
    let unknown = !want.waiting_disks.is_empty()
        || want.waiting_nics.keys().any(|name| want.nics.iter().all(|nic| nic.name != *name));
    if unknown || want.disks.iter().any(|disk| !after.volumes.contains_key(&disk.name)) {
        return Vec::new();
    }
    let slots = slots::assign(want, Some(domain));
    let mut changes = live.differences(&plan::spec(want, after, settings, &slots));
    let missing = |nic: &&super::desired::WantedNic| {
        live.nics.iter().any(|seen| seen.tap == nic.tap)
            && after.networks.get(&nic.netns).is_none_or(|network| !network.taps.contains_key(&nic.tap))
    };
    changes.extend(want.nics.iter().filter(missing).map(|nic| format!("NIC {} has lost its tap", nic.name)));
    changes
}

/// On one line, and the same each time: QEMU begins its last words with the moment of its death.
fn sentence(text: &str) -> String {
    let moment = |word: &&str| {
        word.strip_suffix('Z').and_then(|word| word.split_once('T')).is_some_and(|(date, time)| {
            date.len() == 10 && time.len() >= 8 && word.starts_with(|first: char| first.is_ascii_digit())
        })
    };
    let words: Vec<&str> = text.split_whitespace().filter(|word| !moment(word)).collect();
    words.join(" ")
}

fn running(want: &Desired, after: &Seen, rest: &Plan, failed: Option<&str>) -> Said {
    if let Some(failed) = failed {
        return Said::truth(contract::RUNNING, is_running(after), "StepFailed", failed);
    }
    let said = |reason, message: &str| Said::truth(contract::RUNNING, false, reason, message);
    if let Some(refusal @ (Refusal::NotOurs | Refusal::HeldByStranger { .. } | Refusal::OlderGeneration { .. })) =
        &rest.refusal
    {
        return said(refusal.reason(), &refusal.to_string());
    }
    let Some(DomainSeen { state, owner, .. }) = &after.domain else {
        return match &rest.refusal {
            Some(refusal) => said(refusal.reason(), &refusal.to_string()),
            None if want.running => said("Starting", "it is being started"),
            None => said("Stopped", "it is stopped, as requested"),
        };
    };
    let stop = owner.as_ref().and_then(|owner| owner.stop.as_ref());
    let is_to_go_down = owner.as_ref().is_some_and(|owner| plan::desired_power(want, owner) != Power::Running);
    match (state, stop) {
        (DomainState::Running, Some(Stop::Asked { .. })) if is_to_go_down => {
            Said::truth(contract::RUNNING, true, "Stopping", "the guest was asked to power off")
        }
        (DomainState::Running | DomainState::Stopping, _) if !want.running => {
            Said::truth(contract::RUNNING, true, "Stopping", "the guest is on its way down")
        }
        (DomainState::Running, _) => Said::truth(contract::RUNNING, true, "Running", "the guest runs"),
        (DomainState::Stopping, _) => said("Stopping", "the guest is on its way down"),
        (DomainState::Paused(Pause::IoError), _) => said("PausedByFullPool", &full(after)),
        (DomainState::Paused(Pause::Asked), _) => said("Starting", "QEMU was started, and the guest does not run yet"),
        (DomainState::Paused(Pause::Other), _) => said("Paused", "libvirt or the guest itself keeps it paused"),
        (DomainState::Crashed, _) => said("Crashed", "the guest's kernel gave up"),
        (DomainState::Off(_), _) if !want.running => said("Stopped", "it is stopped, as requested"),
        (DomainState::Off(_), Some(Stop::Guest)) | (DomainState::Off(Off::Guest), None) => said(
            "GuestPoweredOff",
            "the guest powered itself off and stays off; set spec.restartedAt to start it again",
        ),
        (DomainState::Off(_), _) => match &rest.refusal {
            Some(refusal) => said(refusal.reason(), &refusal.to_string()),
            None => said("Starting", "it is being started"),
        },
    }
}

fn full(after: &Seen) -> String {
    let pools: Vec<&str> = after.full_pools.iter().map(String::as_str).collect();
    let pools = match pools.as_slice() {
        [] => "and there is room again: it goes on in a moment".to_owned(),
        [pool] => format!("StoragePool {pool} is full on this host: make room, and it goes on by itself"),
        pools => {
            format!("StoragePools {} are full on this host: make room, and it goes on by itself", pools.join(", "))
        }
    };
    format!("the guest is paused because a disk could not be written, {pools}")
}

fn is_running(after: &Seen) -> bool {
    after.domain.as_ref().is_some_and(|domain| domain.state == DomainState::Running)
}

fn released(after: &Seen, rest: &Plan, failed: Option<&str>) -> Said {
    let said = |reason, message| Said::truth(contract::RELEASED, false, reason, message);
    match (failed, &rest.refusal, rest.steps.first()) {
        (Some(failed), _, _) => said("StepFailed", failed.to_owned()),
        // Another's domain is not ours to remove, and nothing of ours is left with it.
        (None, Some(_), _) => Said::truth(contract::RELEASED, true, "Released", "nothing of it is on this host"),
        (None, None, Some(step)) => said("Releasing", format!("still to do: {step}")),
        (None, None, None) if after.domain.is_some() || after.folder => {
            said("Releasing", "it is on its way down".into())
        }
        (None, None, None) => Said::truth(contract::RELEASED, true, "Released", "nothing of it is left on this host"),
    }
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn what_qemu_said_last_is_one_sentence_and_the_same_each_time() {
        let said = "could not start the domain: process exited: 2026-11-27T00:37:32.202538Z qemu-system-x86_64: -blockdev {}: Failed to get \"write\" lock\nIs another process using the image [/a.qcow2]?";
        assert_eq!(
            sentence(said),
            "could not start the domain: process exited: qemu-system-x86_64: -blockdev {}: Failed to get \"write\" lock Is another process using the image [/a.qcow2]?"
        );
        assert_eq!(sentence("TZ 10TZ the Z of THz"), "TZ 10TZ the Z of THz");
    }
}
