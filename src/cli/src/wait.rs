//! Waiting for a Server, and saying what for.

use std::time::Duration;

use anyhow::{Context, bail};
use kube::{Api, ResourceExt};
use nubium_api::{Condition, ConditionStatus, PowerState, Server, condition};

use crate::{Connection, escape};

/// A line on standard error, only when it differs from the last one.
#[derive(Default)]
pub struct Progress {
    last: String,
}

impl Progress {
    /// Says `line` if it is news.
    pub fn say(&mut self, line: String) {
        if line != self.last {
            eprintln!("{}", escape::line(&line));
            self.last = line;
        }
    }
}

/// The Server once it runs and has an address. Fails at once when its spec does not want it to run, or can never become Ready.
pub async fn running(connection: &Connection, name: &str, deadline: Duration) -> anyhow::Result<Server> {
    let api: Api<Server> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let mut progress = Progress::default();
    let end = tokio::time::Instant::now() + deadline;
    loop {
        let server = api
            .get_opt(name)
            .await
            .context("cannot ask the cloud")?
            .with_context(|| format!("there is no Server {name} in namespace {}", connection.namespace))?;
        if server.metadata.deletion_timestamp.is_some() {
            bail!("Server {name} is being deleted");
        }
        if server.spec.power_state == PowerState::Stopped {
            bail!("Server {name} is stopped: set spec.powerState to Running first");
        }
        let conditions = server.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        let current = |c: &&Condition| c.observed_generation == server.metadata.generation;
        let is = |type_: &str| {
            condition(conditions, type_).filter(current).is_some_and(|c| c.status == ConditionStatus::True)
        };
        if is("Ready") && server.status.as_ref().is_some_and(|status| !status.addresses.is_empty()) {
            return Ok(server);
        }
        let (reason, message) = match condition(conditions, "Ready") {
            Some(ready) => (ready.reason.as_str(), ready.message.as_str()),
            None => ("Pending", "nobody has looked at it yet"),
        };
        if is("Stalled") {
            bail!("Server {name} cannot become ready: {message}");
        }
        if is("Ready") {
            bail!("Server {name} has no NIC with an address");
        }
        progress.say(format!("waiting for Server {} to run ({reason}: {message})", server.name_any()));
        if tokio::time::Instant::now() > end {
            bail!("Server {name} did not run within {} s ({reason}: {message})", deadline.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
