//! `nubium apply`: server-side apply of every document, in the order given.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use http::Request;
use serde_json::Value;

use crate::Connection;
use crate::resources::{Resource, served};

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
        read(file, &mut objects)?;
    }
    if objects.is_empty() {
        bail!("there is no object in what was given");
    }
    let mut served = served(&connection.client).await.context("cannot ask the cloud what it serves")?;
    let mut failed = 0;
    for object in &objects {
        if find(&served, object).is_none() {
            // A CRD may have come just before.
            served = crate::resources::served(&connection.client).await?;
        }
        match apply_one(connection, &served, object, apply.force_conflicts).await {
            Ok(line) => println!("{line}"),
            Err(error) => {
                failed += 1;
                eprintln!("error: {}: {error:#}", title(object));
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
    let resource = find(served, object).with_context(|| {
        format!("the cloud does not serve {} {}", text(&object["apiVersion"]), text(&object["kind"]))
    })?;
    let name = object["metadata"]["name"].as_str().context("metadata.name is missing")?;
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
    let after: Value = connection.client.request(request).await.map_err(|error| match error {
        kube::Error::Api(status) => anyhow::anyhow!("{}", status.message),
        other => other.into(),
    })?;
    let version = text(&after["metadata"]["resourceVersion"]);
    let verb = match before {
        None => "created",
        Some(before) if before == version => "unchanged",
        Some(_) => "configured",
    };
    Ok(format!("{}/{name} {verb}", resource.title()))
}

fn find<'a>(served: &'a [Resource], object: &Value) -> Option<&'a Resource> {
    let api_version = object["apiVersion"].as_str()?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let kind = object["kind"].as_str()?;
    served.iter().find(|r| r.group == group && r.version == version && r.api.kind == kind)
}

/// Reads every document of a file, of the files of a folder (by name), or of standard input; Lists are taken apart.
fn read(path: &Path, objects: &mut Vec<Value>) -> anyhow::Result<()> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return parse(&text, "standard input", objects);
    }
    if path.is_dir() {
        let mut files: Vec<PathBuf> = std::fs::read_dir(path)
            .with_context(|| format!("cannot list {}", path.display()))?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|file| file.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json"))
            .collect();
        files.sort();
        return files.iter().try_for_each(|file| read(file, objects));
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text, &path.display().to_string(), objects)
}

fn parse(text: &str, origin: &str, objects: &mut Vec<Value>) -> anyhow::Result<()> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).with_context(|| format!("{origin} is not YAML"))?;
    for document in documents {
        match document {
            Value::Null => {}
            Value::Object(mut map) if map.get("kind").and_then(Value::as_str).is_some_and(|k| k.ends_with("List")) => {
                if let Some(Value::Array(items)) = map.remove("items") {
                    objects.extend(items);
                }
            }
            Value::Object(map) => objects.push(Value::Object(map)),
            _ => bail!("{origin} has a document that is not an object"),
        }
    }
    Ok(())
}

fn title(object: &Value) -> String {
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_one_by_one_and_lists_are_taken_apart() {
        let mut objects = Vec::new();
        parse(
            "---\nkind: A\nmetadata: {name: x}\n---\n---\nkind: BList\nitems: [{kind: B}, {kind: B}]\n",
            "test",
            &mut objects,
        )
        .unwrap();
        let kinds: Vec<_> = objects.iter().map(|object| text(&object["kind"])).collect();
        assert_eq!(kinds, ["A", "B", "B"]);
    }

    #[test]
    fn what_is_not_an_object_is_refused_by_name() {
        let error = parse("- 1\n", "a.yaml", &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("a.yaml"), "{error}");
    }
}
