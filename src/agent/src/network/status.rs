//! What is reported: this host's entry in the Network's status, and which Ports a guest may use. Said of a fresh look
//! only, never of what was just done.

use std::collections::BTreeMap;

use nubium_api::{LONGEST_HOST_MESSAGE, NetworkHost, at_most};

use super::{
    apply::Outcome,
    desired::{Desired, Invalid},
    observe::{LookError, Seen},
    plan::{Plan, Step},
    refusal::Refusal,
};

/// The result of one pass.
#[derive(Debug)]
pub struct Report {
    /// This host's entry in `status.hosts`; `None`: this host has nothing of the Network and nothing of it is to be here.
    pub entry: Option<NetworkHost>,
    /// By Port name: whether a guest that is resumed now can talk as it should: the filter lets it, and DHCP (if
    /// requested) has its lease.
    pub ports: BTreeMap<String, bool>,
    /// What was found broken and mended: the text of Events.
    pub mended: Vec<String>,
    /// What was done, in order.
    pub done: Vec<Step>,
    /// What could not be done, and why; it is to be tried again.
    pub failed: Option<String>,
    /// What is left to do, or cannot be done; `None`: nothing is known.
    pub left: Option<Plan>,
    /// Whether this very input had been made here before, at least in part.
    pub was_made: bool,
    /// Whether to come back soon, unasked.
    pub again: bool,
}

/// What can keep a pass from having looked at all.
#[derive(Debug, thiserror::Error)]
pub enum Blind {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Look(#[from] LookError),
}

impl Report {
    /// Nothing is known of this host: it says so, and of no Port that it is ready.
    pub fn blind(host: &str, generation: Option<i64>, why: &Blind) -> Self {
        let reason = match why {
            Blind::Invalid(_) => "Invalid",
            Blind::Look(_) => "CannotLook",
        };
        let entry = entry(host, generation, false, reason, chain(why));
        let again = matches!(why, Blind::Look(_));
        Report {
            entry: Some(entry),
            ports: BTreeMap::new(),
            mended: Vec::new(),
            done: Vec::new(),
            failed: None,
            left: None,
            was_made: false,
            again,
        }
    }
}

/// `before` and `after` are looks around the outcome; when nothing was done they are the same one.
pub fn status(host: &str, want: &Desired, before: &Seen, outcome: Outcome, after: &Seen) -> Report {
    let rest = Plan::new(want, after);
    let Outcome { done, failed, skipped: _ } = outcome;
    let failed = failed.map(|(step, error)| format!("cannot {step}: {}", chain(&error)));
    let generation = Some(want.owner.generation);
    let entry = if want.present {
        present(host, want, after, &rest, failed.as_deref())
    } else {
        Some(absent(host, generation, &rest, failed.as_deref()))
    };
    let again = failed.is_some() || !rest.steps.is_empty() || !rest.refusals.is_empty();
    let (ports, was_made) = (ports(want, after, &rest), was_made(want, before));
    let mended = if was_made { done.iter().filter_map(Step::mends).collect() } else { Vec::new() };
    Report { entry, ports, mended, done, failed, left: Some(rest), was_made, again }
}

fn present(host: &str, want: &Desired, after: &Seen, rest: &Plan, failed: Option<&str>) -> Option<NetworkHost> {
    if after.network.is_none() && want.guests.is_empty() && want.waiting.is_empty() && failed.is_none() {
        return None;
    }
    let generation = Some(want.owner.generation);
    let said = |ready, reason: &str, message| Some(entry(host, generation, ready, reason, message));
    if let Some(failed) = failed {
        return said(false, "Failed", failed.to_owned());
    }
    if let Some(first) = rest.refusals.first() {
        return said(false, first.reason(), joined(&rest.refusals));
    }
    if let Some(step) = rest.steps.first() {
        return said(false, "Progressing", format!("still to do: {step}"));
    }
    said(true, "Ready", "namespace, rules, uplink and DHCP are in place".into())
}

fn absent(host: &str, generation: Option<i64>, rest: &Plan, failed: Option<&str>) -> NetworkHost {
    let mut said = match (failed, rest.refusals.first(), rest.steps.first()) {
        (Some(failed), _, _) => entry(host, generation, false, "Failed", failed.to_owned()),
        (None, Some(refusal), _) => entry(host, generation, false, refusal.reason(), refusal.to_string()),
        (None, None, Some(step)) => entry(host, generation, false, "Progressing", format!("still to do: {step}")),
        (None, None, None) => entry(host, generation, false, "Released", "nothing of it is left on this host".into()),
    };
    said.released = Some(failed.is_none() && rest.steps.is_empty() && rest.refusals.is_empty());
    said
}

fn ports(want: &Desired, after: &Seen, rest: &Plan) -> BTreeMap<String, bool> {
    let mut ports: BTreeMap<String, bool> = want.waiting.keys().map(|port| (port.clone(), false)).collect();
    for (tap, wanted) in &want.guests {
        ports.insert(wanted.port.clone(), want.present && port_ready(want, tap, after, rest));
    }
    ports
}

/// A Port waits for its own namespace, rules and lease; not for the host's route or firewall, which guests that talk
/// among themselves do not need.
fn port_ready(want: &Desired, tap: &str, after: &Seen, rest: &Plan) -> bool {
    let Some(network) = &after.network else { return false };
    let Some(wanted) = want.guests.get(tap) else { return false };
    if rest.refusals.iter().any(|r| matches!(r, Refusal::HeldByStranger { .. } | Refusal::OlderGeneration { .. })) {
        return false;
    }
    let filtered =
        network.rules.as_ref().is_some_and(|rules| rules.intact) && network.guests.get(tap) == Some(&wanted.guest);
    let bridged = network.bridge.as_ref().is_some_and(|bridge| bridge.up && bridge.mtu == want.mtu);
    let address = wanted.addresses.first();
    let leased = !want.dhcp
        || (after.dhcp.running
            && after.dhcp.serving == Some(network.inode)
            && after
                .dhcp
                .configured
                .iter()
                .flat_map(|n| &n.leases)
                .any(|lease| lease.mac.0 == wanted.mac.0 && Some(&lease.address) == address));
    filtered && bridged && leased
}

/// Whether what is found missing was there once.
fn was_made(want: &Desired, before: &Seen) -> bool {
    // Where the bridge, which carries the owner, is itself gone, that DHCP knew the Network says as much.
    want.present
        && match before.network.as_ref().and_then(|n| n.owner.as_ref()) {
            Some(owner) => *owner == want.owner,
            None => before.dhcp.configured.is_some(),
        }
}

fn entry(host: &str, generation: Option<i64>, ready: bool, reason: &str, message: String) -> NetworkHost {
    NetworkHost {
        name: host.to_string(),
        observed_generation: generation,
        ready: Some(ready),
        reason: Some(reason.to_string()),
        message: Some(at_most(LONGEST_HOST_MESSAGE, message)),
        released: None,
    }
}

fn joined(refusals: &[Refusal]) -> String {
    refusals.iter().map(Refusal::to_string).collect::<Vec<_>>().join("; ")
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
