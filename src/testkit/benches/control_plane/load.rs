//! Applies Servers at a steady rate, and times each until a watch says that it runs.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{StreamExt, TryStreamExt};
use kube::api::{WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use nubium_api::{ConditionStatus, Server, condition};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout};

/// No Server takes longer, or the bench fails.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The names of that many Servers.
pub fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number:03}")).collect()
}

/// Applies `count` Servers on Network `blue` and waits until all of them run; how long each took, in the order they were
/// applied.
pub async fn run(client: &Client, prefix: &str, count: usize, per_second: u32) -> Result<Vec<Duration>> {
    run_on(client, prefix, count, per_second, |_| "blue".to_owned()).await
}

/// The same, each on the Network that its number says.
pub async fn run_on(
    client: &Client,
    prefix: &str,
    count: usize,
    per_second: u32,
    network: impl Fn(usize) -> String,
) -> Result<Vec<Duration>> {
    let api: Api<Server> = Api::namespaced(client.clone(), "default");
    let version = api.list(&Default::default()).await?.metadata.resource_version.context("a list has a version")?;
    let watch = api.watch(&WatchParams::default(), &version).await.context("watch the Servers")?.boxed();
    let names = names(prefix, count);
    let first = Instant::now();
    let at = |number: usize| first + Duration::from_secs(1) / per_second * u32::try_from(number).unwrap_or(u32::MAX);

    let mut applies = tokio::task::JoinSet::new();
    for (number, name) in names.iter().enumerate() {
        let (client, object, when) = (client.clone(), server(name, &network(number)), at(number));
        applies.spawn(async move {
            sleep_until(when).await;
            crate::cloud::apply(&client, &object).await.map(drop)
        });
    }
    let heard = timeout(TIMEOUT + (at(count) - first), running(watch, &names)).await;
    let ended = heard.context("not every Server runs")??;
    while let Some(applied) = applies.join_next().await {
        applied??;
    }
    names.iter().enumerate().map(|(number, name)| Ok(*ended.get(name).context("it runs")? - at(number))).collect()
}

/// When each of these Servers was first said to run, once all were.
async fn running(
    watch: impl futures::Stream<Item = kube::Result<WatchEvent<Server>>>,
    names: &[String],
) -> Result<HashMap<String, Instant>> {
    let mut watch = pin!(watch);
    let mut ended = HashMap::new();
    while ended.len() < names.len() {
        let event = watch.try_next().await?.context("the watch ended")?;
        let WatchEvent::Modified(server) = event else { continue };
        let conditions = server.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        let runs = condition(conditions, "Running").is_some_and(|running| running.status == ConditionStatus::True);
        if runs && names.contains(&server.name_any()) {
            ended.entry(server.name_any()).or_insert_with(Instant::now);
        }
    }
    Ok(ended)
}

fn server(name: &str, network: &str) -> Value {
    json!({
        "apiVersion": "nubium.dev/v1alpha1",
        "kind": "Server",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "flavor": "nano",
            "disks": [{"name": "root", "image": "tiny"}],
            "nics": [{"name": "eth0", "network": network}],
            "cloudInit": {"sshAuthorizedKeysFrom": [{"name": "ssh-keys"}]},
        },
    })
}
