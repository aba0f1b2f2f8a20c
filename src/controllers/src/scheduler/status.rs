//! What the scheduler says: the binding, its size and whether it may run; or why there is none.

use nubium_api::{Condition, ConditionStatus, Server, ServerResources, ServerStatus, condition, contract};

use super::{
    admission::Verdict,
    plan::{Request, Unplaced},
};
use crate::users::host_of;

pub(super) fn bound(server: &Server, host: &str, request: &Request) -> ServerStatus {
    let generation = server.metadata.generation;
    let message = format!("placed on host {host}");
    let scheduled = Condition::new(contract::SCHEDULED, ConditionStatus::True, generation, "Scheduled", message);
    let verdict = if request.runs { Verdict::Admitted } else { Verdict::Stopped };
    on_host(host, &request.resources, vec![scheduled, admitted(generation, host, &request.resources, verdict)])
}

/// What is decided about the room of a Server that is on its host. The rest stays as it is.
pub(super) fn admission(server: &Server, host: &str, size: &ServerResources, verdict: Verdict) -> ServerStatus {
    let before = server.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let mut conditions: Vec<Condition> = condition(before, contract::SCHEDULED).cloned().into_iter().collect();
    conditions.push(admitted(server.metadata.generation, host, size, verdict));
    on_host(host, size, conditions)
}

/// That a pass failed, beside what was decided before: of a Server on a host, about its room there.
pub(super) fn failed(server: &Server, verdict: &crate::verdict::Verdict) -> Vec<Condition> {
    let before = server.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let generation = server.metadata.generation;
    let say = |type_, truth| vec![Condition::new(type_, truth, generation, &verdict.reason, &verdict.message)];
    match host_of(server) {
        None => say(contract::SCHEDULED, ConditionStatus::False),
        // Without the condition it has its room, and keeps it.
        Some(_) => condition(before, contract::ADMITTED).map_or(Vec::new(), |it| say(contract::ADMITTED, it.status)),
    }
}

fn on_host(host: &str, size: &ServerResources, conditions: Vec<Condition>) -> ServerStatus {
    ServerStatus { host: Some(host.to_owned()), resources: Some(size.clone()), conditions, ..ServerStatus::default() }
}

fn admitted(generation: Option<i64>, host: &str, size: &ServerResources, verdict: Verdict) -> Condition {
    let truth = if verdict == Verdict::Admitted { ConditionStatus::True } else { ConditionStatus::False };
    Condition::new(contract::ADMITTED, truth, generation, verdict.reason(), verdict.message(host, size))
}

pub(super) fn unbound(server: &Server, why: &Unplaced) -> ServerStatus {
    let generation = server.metadata.generation;
    ServerStatus {
        conditions: vec![Condition::new(
            contract::SCHEDULED,
            ConditionStatus::False,
            generation,
            why.reason(),
            why.to_string(),
        )],
        ..ServerStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use nubium_api::PowerState;
    use serde_json::json;

    use super::*;
    use crate::verdict::Verdict as Summary;

    #[test]
    fn a_failed_pass_is_said_and_takes_back_no_decision() {
        let fact = |type_: &str, status: &str| {
            json!({"type": type_, "status": status, "reason": "x", "message": "", "observedGeneration": 1,
                   "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let server = |host: Option<&str>, conditions: serde_json::Value| -> Server {
            serde_json::from_value(json!({
                "apiVersion": "nubium.dev/v1alpha1", "kind": "Server",
                "metadata": {"name": "web", "namespace": "shop", "generation": 2},
                "spec": {"flavor": "small", "powerState": PowerState::Running, "disks": [{"name": "root", "image": "i"}]},
                "status": {"host": host, "conditions": conditions},
            }))
            .unwrap()
        };
        let verdict = Summary::working("StepFailed", "trying again: no");
        let said = |server: &Server| -> Vec<_> {
            let facts = failed(server, &verdict).into_iter();
            facts.map(|fact| (fact.type_, fact.status, fact.reason, fact.observed_generation)).collect()
        };
        let step = |type_: &str, status| (type_.to_owned(), status, "StepFailed".to_owned(), Some(2));
        let (yes, no) = (ConditionStatus::True, ConditionStatus::False);
        assert_eq!(said(&server(None, json!([]))), [step("Scheduled", no)]);
        assert_eq!(said(&server(Some("a"), json!([fact("Admitted", "False")]))), [step("Admitted", no)]);
        assert_eq!(said(&server(Some("a"), json!([fact("Admitted", "True")]))), [step("Admitted", yes)]);
        assert_eq!(said(&server(Some("a"), json!([]))), []);
    }
}
