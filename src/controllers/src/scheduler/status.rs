//! What the scheduler says: the binding and its size, or why there is none.

use nubium_api::{Condition, ConditionStatus, Server, ServerResources, ServerStatus, contract};

use super::plan::Unplaced;

pub(super) fn bound(server: &Server, host: &str, resources: &ServerResources) -> ServerStatus {
    let message = format!("placed on host {host}");
    ServerStatus {
        host: Some(host.to_owned()),
        resources: Some(resources.clone()),
        conditions: vec![Condition::new(
            contract::SCHEDULED,
            ConditionStatus::True,
            server.metadata.generation,
            "Scheduled",
            message,
        )],
        ..ServerStatus::default()
    }
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
