//! What the scheduler says: the binding, its size and whether it may run; or why there is none.

use nubium_api::{Condition, ConditionStatus, Server, ServerResources, ServerStatus, condition, contract};

use super::{
    admission::Verdict,
    plan::{Request, Unplaced},
};

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
