//! What the scheduler says: the binding and its size, or why there is none.

use nubium_api::{ConditionStatus, Server, ServerResources, ServerStatus, contract};

use super::plan::Unplaced;
use crate::verdict::fact;

pub(super) fn bound(server: &Server, host: &str, resources: &ServerResources) -> ServerStatus {
    let message = format!("placed on host {host}");
    ServerStatus {
        host: Some(host.to_owned()),
        resources: Some(resources.clone()),
        conditions: vec![fact(
            contract::SCHEDULED,
            ConditionStatus::True,
            server.metadata.generation,
            "Scheduled",
            &message,
        )],
        ..ServerStatus::default()
    }
}

pub(super) fn unbound(server: &Server, why: &Unplaced) -> ServerStatus {
    let generation = server.metadata.generation;
    ServerStatus {
        conditions: vec![fact(contract::SCHEDULED, ConditionStatus::False, generation, why.reason(), &why.to_string())],
        ..ServerStatus::default()
    }
}
