//! The agent's part of the Host's status: what the machine has, what it can do, and what runs there that is nobody's.

use crate::writer::writer;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use nubium_api::{
    Acceleration, Condition, ConditionStatus, Host, HostAddress, HostCapacity, HostPool, HostSoftware, HostSpec,
    HostStatus, UnavailablePool, contract,
};
use nubium_runtime::{StatusWriter, already_exists, apply_status};

/// What an agent says of its host; the whole of its part.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub capacity: HostCapacity,
    pub pools: Vec<HostPool>,
    pub unavailable_pools: Vec<UnavailablePool>,
    pub addresses: Vec<HostAddress>,
    pub acceleration: Option<Acceleration>,
    pub endpoint: Option<String>,
    pub software: Option<HostSoftware>,
    /// Those of [`Host::AGENT`] that are known.
    pub conditions: Vec<Condition>,
}

const OWNER: StatusWriter<'static> = writer(&Host::AGENT);

/// Makes the Host object if there is none, and gives it as it is. People may have edited its spec and labels.
pub async fn create(client: &Client, name: &str) -> Result<Host, kube::Error> {
    let hosts: Api<Host> = Api::all(client.clone());
    if let Some(host) = hosts.get_opt(name).await? {
        return Ok(host);
    }
    let labels = [("nubium.dev/host".to_owned(), name.to_owned())].into();
    let metadata = ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..Default::default() };
    match hosts.create(&PostParams::default(), &Host { metadata, spec: HostSpec::default(), status: None }).await {
        Err(error) if already_exists(&error) => hosts.get(name).await,
        made => made,
    }
}

/// Says that the agent cannot work, and leaves the rest of what it said before as it is.
pub async fn not_working(client: &Client, name: &str, message: String) -> Result<(), kube::Error> {
    let host = create(client, name).await?;
    let mut status = host.status.clone().unwrap_or_default();
    status.conditions.retain(|condition| OWNER.conditions.contains(&condition.type_.as_str()));
    status.conditions.retain(|condition| condition.type_ != contract::AGENT_READY);
    let generation = host.metadata.generation;
    status.conditions.push(Condition::new(
        contract::AGENT_READY,
        ConditionStatus::False,
        generation,
        "CannotStart",
        message,
    ));
    apply_status(&Api::all(client.clone()), &host, &OWNER, &status).await.map(drop)
}

/// Writes the report, if it says something new. True when it did.
pub async fn write(client: &Client, seen: &Host, report: Report) -> Result<bool, kube::Error> {
    let Report { capacity, pools, unavailable_pools, addresses, acceleration, endpoint, software, conditions } = report;
    let status = HostStatus {
        observed_generation: None,
        conditions,
        capacity: Some(capacity),
        pools,
        unavailable_pools,
        addresses,
        acceleration,
        endpoint,
        software,
    };
    apply_status(&Api::all(client.clone()), seen, &OWNER, &status).await
}
