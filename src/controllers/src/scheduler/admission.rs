//! Which Servers hold cpu and memory of the host that they are on, and when that changes. Pure.
//!
//! ```text
//!  placed to run ─▶ Admitted ◀──(there is room)── HostFull ◀──(there is none)─┐
//!                      └─(to be off, and seen off)─▶ Stopped ─(to run)────────┘
//! ```
//! A Server is admitted before its agent starts it, and gives its room back only when its agent saw it off at the very
//! generation that says Stopped. Both are compare-and-swap writes of that version of the Server, so whoever reads a later
//! spec reads the decision with it. A Server without the condition was placed before there was any, and holds its room.

use nubium_api::{ConditionStatus, PowerState, Server, ServerResources, condition, contract};

use super::plan::{Candidate, has_room};
use crate::verdict::current;

/// What is to be decided about a Server that is on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// It is to run, and holds no room yet.
    Room,
    /// It runs without having been admitted: what it uses is used.
    Runs,
    /// It is off, and is to be.
    Release,
}

/// What is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Admitted,
    Stopped,
    HostFull,
    /// Nobody knows the room of its host yet.
    Unreported,
}

impl Verdict {
    pub fn reason(self) -> &'static str {
        match self {
            Self::Admitted => "Admitted",
            Self::Stopped => "Stopped",
            Self::HostFull => "HostFull",
            Self::Unreported => "WaitingForHosts",
        }
    }

    pub fn message(self, host: &str, size: &ServerResources) -> String {
        let ServerResources { cpu, memory, flavor: _ } = size;
        let cpu = &cpu.0;
        match self {
            Self::Admitted => format!("host {host} keeps {cpu} cpu and {memory} of memory for it"),
            Self::Stopped => format!("it is stopped, and holds no cpu and no memory of host {host}"),
            Self::HostFull => format!(
                "host {host} has no room for it beside the Servers that run there: it needs {cpu} cpu and {memory} of \
                 memory, and starts when they are free; stop or delete another one"
            ),
            Self::Unreported => format!("waits for host {host} to report what runs there"),
        }
    }
}

/// Whether a Server of that size can start on its host; none: there is no such host now.
pub(super) fn verdict(host: Option<&Candidate>, size: &ServerResources) -> Verdict {
    let (Ok(cpu), Ok(memory)) = (size.cpu.count(), size.memory.bytes()) else { return Verdict::HostFull };
    match host.filter(|host| host.reported) {
        None => Verdict::Unreported,
        Some(host) if has_room(host, u64::from(cpu), memory) => Verdict::Admitted,
        Some(_) => Verdict::HostFull,
    }
}

/// Whether the Server holds its size of the host that it is on.
pub(super) fn holds(server: &Server) -> bool {
    is_admitted(server) || guest_runs(server)
}

pub(super) fn due(server: &Server) -> Option<Due> {
    match (server.spec.power_state, is_admitted(server)) {
        (PowerState::Running, true) | (PowerState::Stopped, false) => None,
        (PowerState::Running, false) if guest_runs(server) => Some(Due::Runs),
        (PowerState::Running, false) => Some(Due::Room),
        (PowerState::Stopped, true) => seen_off(server).then_some(Due::Release),
    }
}

fn is_admitted(server: &Server) -> bool {
    let conditions = server.status.as_ref().map_or(&[][..], |status| &status.conditions);
    condition(conditions, contract::ADMITTED).is_none_or(|admitted| admitted.status == ConditionStatus::True)
}

fn guest_runs(server: &Server) -> bool {
    let conditions = server.status.as_ref().map_or(&[][..], |status| &status.conditions);
    condition(conditions, contract::RUNNING).is_some_and(|running| running.status == ConditionStatus::True)
}

/// Its agent looked at this generation, and the guest was off.
fn seen_off(server: &Server) -> bool {
    let conditions = server.status.as_ref().map_or(&[][..], |status| &status.conditions);
    current(conditions, contract::RUNNING, server.metadata.generation)
        .is_some_and(|running| running.status == ConditionStatus::False && running.reason == "Stopped")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn server(power: &str, admitted: Option<&str>, running: Option<(&str, &str, i64)>) -> Server {
        let fact = |type_: &str, status: &str, reason: &str, generation: i64| {
            json!({"type": type_, "status": status, "reason": reason, "message": "", "observedGeneration": generation,
                   "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let admitted = admitted.map(|status| fact(contract::ADMITTED, status, "x", 1));
        let running = running.map(|(status, reason, generation)| fact(contract::RUNNING, status, reason, generation));
        let conditions: Vec<Value> = admitted.into_iter().chain(running).collect();
        serde_json::from_value(json!({
            "apiVersion": "nubium.dev/v1alpha1", "kind": "Server",
            "metadata": {"name": "web", "namespace": "shop", "generation": 2},
            "spec": {"flavor": "small", "powerState": power, "disks": [{"name": "root", "image": "i"}]},
            "status": {"host": "a", "conditions": conditions},
        }))
        .unwrap()
    }

    const SEEN: [Option<(&str, &str, i64)>; 8] = [
        None,
        Some(("True", "Running", 2)),
        Some(("True", "Stopping", 2)),
        Some(("True", "Running", 1)),
        Some(("False", "Stopped", 2)),
        Some(("False", "Stopped", 1)),
        Some(("False", "GuestPoweredOff", 2)),
        Some(("Unknown", "CannotLook", 2)),
    ];

    #[test]
    fn room_is_given_back_only_by_a_server_that_was_seen_off_as_its_spec_says() {
        for power in ["Running", "Stopped"] {
            for admitted in [None, Some("True"), Some("False"), Some("Unknown")] {
                for seen in SEEN {
                    let server = server(power, admitted, seen);
                    let released = due(&server) == Some(Due::Release);
                    let off = power == "Stopped" && seen == Some(("False", "Stopped", 2));
                    assert_eq!(
                        released,
                        off && matches!(admitted, None | Some("True")),
                        "{power} {admitted:?} {seen:?}"
                    );
                    let may_run = matches!(admitted, None | Some("True"));
                    let runs = seen.is_some_and(|(status, ..)| status == "True");
                    assert_eq!(holds(&server), may_run || runs, "{power} {admitted:?} {seen:?}");
                }
            }
        }
    }

    #[test]
    fn a_server_that_is_to_run_asks_for_room_unless_it_has_it_or_runs_already() {
        for seen in SEEN {
            assert_eq!(due(&server("Running", Some("True"), seen)), None, "{seen:?}");
            assert_eq!(due(&server("Running", None, seen)), None, "{seen:?}");
            let runs = seen.is_some_and(|(status, ..)| status == "True");
            let asks = if runs { Due::Runs } else { Due::Room };
            assert_eq!(due(&server("Running", Some("False"), seen)), Some(asks), "{seen:?}");
        }
    }
}
