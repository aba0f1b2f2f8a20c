//! The loop that keeps the Host's status true: what the machine has, and whether what it needs works.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::{Client, ResourceExt};
use nubium_api::{Condition, ConditionStatus, HostPool, Network, Server, StoragePool, Volume, contract};
use nubium_host::acceleration::Acceleration;
use nubium_host::libvirt::{Accelerator, DomainList, Domains};
use nubium_host::network::{Netns, Networks};
use nubium_runtime::{Chain, Key, Shared, WarnOnce};
use tokio::time::Instant;

use super::facts::addresses;
use super::leftovers::{may_run, remove_taps};
use super::pressure;
use super::report::{Report, create, write};
use crate::driver::Driver;
use crate::server::{StartupReports, detach};
use crate::{Config, Start, network, volume};

const PERIOD: Duration = Duration::from_secs(5);
/// How often leftovers are looked for while nobody is known to wait for one.
const LEFTOVERS: Duration = Duration::from_secs(60);
const FIRST: Duration = Duration::from_millis(200);
/// How long the first report waits for the Servers to be looked at: most looks are over by then, and an agent that is only
/// restarted leaves the earlier report in place meanwhile.
const GRACE: Duration = Duration::from_millis(150);
const GRACE_AGAIN: Duration = Duration::from_secs(5);

/// What the loop works with.
pub struct Reporter<D> {
    pub client: Client,
    pub config: Arc<Config>,
    pub driver: Arc<D>,
    pub servers: Shared<Server>,
    pub volumes: Shared<Volume>,
    pub networks: Shared<Network>,
    pub pools: Shared<StoragePool>,
    pub start: Start,
    pub startup_reports: StartupReports,
}

impl<D: Driver> Reporter<D> {
    /// Runs until dropped.
    pub async fn run(self) {
        tokio::join!(self.servers.synced(), self.volumes.synced(), self.networks.synced(), self.pools.synced());
        let grace = match self.start {
            Start::Anew => GRACE,
            Start::Again => GRACE_AGAIN,
        };
        let _ = tokio::time::timeout(grace, self.startup_reports.none_left()).await;
        let (key, warnings) = (Key::cluster(&self.config.host), WarnOnce::default());
        let leftover_warnings = WarnOnce::default();
        let mut last_removed: Option<Instant> = None;
        loop {
            let left = self.startup_reports.left();
            let failed = self.pass(left).await.err();
            // A Network that is being deleted may wait for nothing but such a tap.
            let waits = self.networks.list().iter().any(|network| network.metadata.deletion_timestamp.is_some());
            if waits || last_removed.is_none_or(|at| at.elapsed() >= LEFTOVERS) {
                last_removed = Some(Instant::now());
                self.remove_leftovers(&leftover_warnings).await;
            }
            let pause = if failed.is_some() { FIRST } else { PERIOD };
            let failed = failed.map(|error| format!("cannot report this host: {}", Chain(&error)));
            warnings.log(&key, failed.as_deref());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.startup_reports.none_left(), if left != Some(0) => {}
            }
        }
    }

    /// `left`: how many Servers were not reported yet, where that is known.
    async fn pass(&self, left: Option<usize>) -> Result<(), kube::Error> {
        self.driver.revive().await;
        let host = create(&self.client, &self.config.host).await?;
        let generation = host.metadata.generation;
        let mut conditions = vec![self.hardware_acceleration(), self.egress().await];
        match self.driver.domains().list().await {
            Ok(domains) => {
                conditions.push(said(
                    contract::AGENT_READY,
                    ConditionStatus::True,
                    "Working",
                    "libvirt answers".into(),
                ));
                conditions.push(servers_reported(left));
                let DomainList { seen, unreadable } = domains;
                let owners = seen.iter().filter_map(|domain| domain.owner.as_ref());
                let servers = owners.filter(|owner| {
                    let known = self.servers.get(&Key::new(owner.namespace.clone(), owner.name.clone()));
                    known.and_then(|server| server.uid()).is_none_or(|uid| uid != owner.uid.to_string())
                });
                let servers = servers.map(|owner| {
                    let name = format!("{}/{}", owner.namespace, owner.name);
                    format!("Server {name} (on this host, `nubium stranger end {name}` ends it)")
                });
                let unreadable = unreadable.iter().filter(|domain| domain.ours);
                let unreadable = unreadable.map(|it| format!("domain {} ({})", it.name, Chain(&it.why)));
                let servers = servers.chain(unreadable).collect();
                conditions.push(self.strangers(servers).await);
            }
            Err(error) => {
                let message = format!("{} does not answer: {}", self.driver.facts().libvirt, Chain(&error));
                conditions.push(said(contract::AGENT_READY, ConditionStatus::False, "LibvirtDown", message));
            }
        }
        let volume::Room { pools, unavailable } =
            volume::report(&self.pools.list(), &self.volumes.list(), self.driver.pools().as_ref()).await;
        conditions.push(pool_pressure(&pools));
        for condition in &mut conditions {
            condition.observed_generation = generation;
        }
        let facts = self.driver.facts();
        let report = Report {
            capacity: facts.capacity.clone(),
            pools,
            unavailable_pools: unavailable,
            addresses: addresses().unwrap_or_default(),
            acceleration: Some(match facts.acceleration.accelerator {
                Accelerator::Kvm => nubium_api::Acceleration::Kvm,
                Accelerator::Tcg => nubium_api::Acceleration::Tcg,
            }),
            endpoint: self.config.door.as_ref().map(|door| door.advertise.clone()),
            software: Some(facts.software.clone()),
            conditions,
        };
        write(&self.client, &host, report).await.map(drop)
    }

    /// Removes what is here and in nobody's use.
    async fn remove_leftovers(&self, warnings: &WarnOnce) {
        let removed = remove_taps(self.driver.networks(), self.driver.domains()).await;
        let removed = removed.map_err(|error| format!("cannot remove unused taps: {}", Chain(&error)));
        let done = match removed {
            Ok(()) => self.detach_from_nobody().await,
            Err(error) => Err(error),
        };
        warnings.log(&Key::cluster(&self.config.host), done.err().as_deref());
    }

    /// Takes back that Volumes here are attached to Servers that are no more, and whose guest does not run.
    async fn detach_from_nobody(&self) -> Result<(), String> {
        let servers: BTreeSet<String> = self.servers.list().iter().filter_map(|server| server.uid()).collect();
        let attached = |volume: &Volume| Some(volume.status.as_ref()?.attached_to.as_ref()?.uid.clone());
        let mut volumes = self.volumes.list();
        volumes.retain(|volume| attached(volume).is_some_and(|uid| !servers.contains(&uid)));
        if volumes.is_empty() {
            return Ok(());
        }
        let domains = self.driver.domains().list().await;
        let domains = domains.map_err(|error| format!("cannot look for the users of Volumes: {}", Chain(&error)))?;
        for volume in volumes {
            if attached(&volume).is_some_and(|uid| !may_run(&domains, &uid)) {
                let written = detach(&self.client, &volume).await;
                written.map_err(|error| format!("cannot write that a Volume is not attached: {}", Chain(&error)))?;
            }
        }
        Ok(())
    }

    fn hardware_acceleration(&self) -> Condition {
        let Acceleration { accelerator, reason, message } = &self.driver.facts().acceleration;
        let status = match accelerator {
            Accelerator::Kvm => ConditionStatus::True,
            Accelerator::Tcg => ConditionStatus::False,
        };
        said(contract::HARDWARE_ACCELERATION, status, reason, message.clone())
    }

    /// Whether what Networks send can leave this host.
    async fn egress(&self) -> Condition {
        match self.driver.networks().look_host().await {
            Ok(seen) => {
                let network::Egress { ready, reason, message } = network::egress(&seen.host_firewall);
                let status = if ready { ConditionStatus::True } else { ConditionStatus::False };
                said(contract::EGRESS_READY, status, reason, message)
            }
            Err(error) => {
                let message = format!("the host's firewalls could not be looked at: {}", Chain(&error));
                said(contract::EGRESS_READY, ConditionStatus::Unknown, "CannotLook", message)
            }
        }
    }

    /// What is here and has no object: guests, and Networks' namespaces. It is left alone, and named.
    async fn strangers(&self, mut named: BTreeSet<String>) -> Condition {
        match self.driver.networks().list().await {
            Ok(spaces) => {
                let networks = self.networks.list();
                let wanted: BTreeSet<Netns> = networks
                    .iter()
                    .map(|network| Netns::new(&network.namespace().unwrap_or_default(), &network.name_any()))
                    .collect();
                named.extend(
                    spaces
                        .iter()
                        .filter(|space| !wanted.contains(space))
                        .map(|space| format!("network namespace {space}")),
                );
            }
            Err(error) => {
                let message = format!("the Networks' namespaces could not be looked at: {}", Chain(&error));
                return said(contract::STRANGERS, ConditionStatus::Unknown, "CannotLook", message);
            }
        }
        if named.is_empty() {
            return said(contract::STRANGERS, ConditionStatus::False, "None", "everything here has its object".into());
        }
        let list: Vec<String> = named.into_iter().collect();
        let message =
            format!("here without an object, and left alone: {}; `nubium down` ends all of them", list.join(", "));
        said(contract::STRANGERS, ConditionStatus::True, "Found", message)
    }
}

fn pool_pressure(pools: &[HostPool]) -> Condition {
    let (status, reason, message) = pressure::judge(pools);
    said(contract::POOL_PRESSURE, status, reason, message)
}

/// Whether what is said of the Servers here is what was seen since the agent began.
fn servers_reported(left: Option<usize>) -> Condition {
    let not_yet = |message: String| said(contract::SERVERS_REPORTED, ConditionStatus::False, "Looking", message);
    match left {
        Some(0) => {
            let message = "what runs here was looked at".to_owned();
            said(contract::SERVERS_REPORTED, ConditionStatus::True, "Reported", message)
        }
        Some(1) => not_yet("1 Server here is still to be looked at".into()),
        Some(left) => not_yet(format!("{left} Servers here are still to be looked at")),
        None => not_yet("the Servers here are being listed".into()),
    }
}

fn said(type_: &str, status: ConditionStatus, reason: &str, message: String) -> Condition {
    Condition::new(type_, status, None, reason, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_reported_when_none_is_left_to_be_told_of() {
        let says = |left| {
            let Condition { status, message, .. } = servers_reported(left);
            (status, message)
        };
        assert_eq!(says(Some(0)).0, ConditionStatus::True);
        assert_eq!(says(Some(1)), (ConditionStatus::False, "1 Server here is still to be looked at".into()));
        assert_eq!(says(Some(3)), (ConditionStatus::False, "3 Servers here are still to be looked at".into()));
        assert_eq!(says(None).0, ConditionStatus::False);
    }
}
