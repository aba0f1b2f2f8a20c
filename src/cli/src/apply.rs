//! `nubium apply`: server-side apply of every document, in the order given.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use http::Request;
use serde_json::Value;

use crate::Connection;
use crate::failure::printable;
use crate::manifest;
use crate::resources::{Resource, of_object, served};

/// What to apply.
#[derive(Debug, Args)]
pub struct Apply {
    /// Files or folders of YAML or JSON, or - for standard input
    #[arg(long = "filename", short = 'f', required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// Take over fields that another tool applied before
    #[arg(long)]
    force_conflicts: bool,
}

pub async fn run(connection: &Connection, apply: Apply) -> anyhow::Result<()> {
    let mut objects = Vec::new();
    for file in &apply.files {
        manifest::read(file, &mut objects)?;
    }
    if objects.is_empty() {
        bail!("there is no object in what was given");
    }
    let mut served = served(&connection.client).await.context("cannot ask the cloud what it serves")?;
    let mut failed = 0;
    for object in &objects {
        if of_object(&served, object).is_err() {
            // A CRD may have come just before.
            served = crate::resources::served(&connection.client).await?;
        }
        match apply_one(connection, &served, object, apply.force_conflicts).await {
            Ok(line) => println!("{line}"),
            Err(error) => {
                failed += 1;
                eprintln!("error: {}: {:#}", title(object), printable(error, connection.cloud()));
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} objects could not be applied", objects.len());
    }
    Ok(())
}

async fn apply_one(
    connection: &Connection,
    served: &[Resource],
    object: &Value,
    force: bool,
) -> anyhow::Result<String> {
    let resource = of_object(served, object)?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or(&connection.namespace);
    let path = resource.path(Some(namespace), Some(name));
    let before = match connection.client.request::<Value>(Request::get(&path).body(Vec::new())?).await {
        Ok(object) => Some(text(&object["metadata"]["resourceVersion"])),
        Err(kube::Error::Api(status)) if status.is_not_found() => None,
        Err(error) => return Err(error.into()),
    };
    let request = Request::patch(format!("{path}?fieldManager=nubium&fieldValidation=Strict&force={force}"))
        .header("Content-Type", "application/apply-patch+yaml")
        .body(serde_json::to_vec(object)?)?;
    let after: Value = connection.client.request(request).await?;
    let version = text(&after["metadata"]["resourceVersion"]);
    let verb = match before {
        None => "created",
        Some(before) if before == version => "unchanged",
        Some(_) => "configured",
    };
    let going = match after["metadata"]["deletionTimestamp"].is_null() {
        true => "",
        false => ", but it is being deleted: apply it again once it is gone",
    };
    Ok(format!("{}/{name} {verb}{going}", resource.title()))
}

fn title(object: &Value) -> String {
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
