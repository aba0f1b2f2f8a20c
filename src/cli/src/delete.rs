//! `nubium delete`: asks for the end of an object, and waits for it.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::{ArgAction, Args};
use http::Request;
use serde_json::{Value, json};

use crate::Connection;
use crate::resources::{select, served};
use crate::wait::Progress;

/// What to delete.
#[derive(Debug, Args)]
pub struct Delete {
    /// Kind, such as server or srv
    kind: String,
    /// Name of the object
    name: String,
    /// Wait until it is gone
    #[arg(long, action = ArgAction::Set, default_value_t = true)]
    wait: bool,
}

pub async fn run(connection: &Connection, delete: Delete) -> anyhow::Result<()> {
    let Delete { kind, name, wait } = delete;
    let served = served(&connection.client).await.context("cannot ask the cloud what it serves")?;
    let [resource] = select(&served, &kind)?[..] else { bail!("{kind} names several kinds: say one") };
    let path = resource.path(Some(&connection.namespace), Some(&name));
    let body = serde_json::to_vec(&json!({"propagationPolicy": "Background"}))?;
    let request = Request::delete(&path).header("Content-Type", "application/json").body(body)?;
    let uid = match connection.client.request::<Value>(request).await? {
        // A Status when it is gone already, else the object.
        gone if gone["kind"] == "Status" => gone["details"]["uid"].clone(),
        marked => marked["metadata"]["uid"].clone(),
    };
    println!("{}/{name} deleted", resource.title());
    if !wait {
        return Ok(());
    }
    let mut progress = Progress::default();
    loop {
        let object = match connection.client.request::<Value>(Request::get(&path).body(Vec::new())?).await {
            Ok(object) if object["metadata"]["uid"] == uid => object,
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        if let Some(ready) = conditions.iter().find(|condition| condition["type"] == "Ready") {
            progress.say(format!("waiting for its end ({})", ready["message"].as_str().unwrap_or_default()));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
