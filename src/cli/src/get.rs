//! `nubium get`: the API server's own table, or whole objects; with `--watch` what changes after it, line by line.

mod table;
mod watch;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use http::Request;
use serde_json::Value;

use self::table::Table;

use crate::Connection;
use crate::resources::{Resource, select, served};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io, application/json";

/// What to show.
#[derive(Debug, Args)]
pub struct Get {
    /// Kinds, such as servers, srv or nubium (all of Nubium's); several by commas
    kinds: String,
    /// Name of one object
    name: Option<String>,
    /// All namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// How to show it
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
    /// Only objects with these labels, such as app=web
    #[arg(long, short = 'l')]
    selector: Option<String>,
    /// Then go on, and print a line for every change, of one kind, until Ctrl-C
    #[arg(long, short)]
    watch: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Wide,
    Yaml,
    Json,
}

pub async fn run(connection: &Connection, get: Get) -> anyhow::Result<()> {
    if get.name.is_some() && get.all_namespaces {
        bail!("a name is looked for in one namespace: leave out --all-namespaces");
    }
    let served = served(&connection.client).await.context("cannot ask the cloud what it serves")?;
    let chosen = select(&served, &get.kinds)?;
    if get.watch {
        let [resource] = chosen[..] else { bail!("one kind at a time can be watched, not {}", get.kinds) };
        return watch::run(connection, resource, &get).await;
    }
    let titles = chosen.len() > 1;
    let mut shown = 0;
    for resource in chosen {
        let mut answer = fetch(connection, resource, &get).await?;
        match get.output {
            Output::Table | Output::Wide => {
                let (table, rows) = Table::of(&answer, get.output == Output::Wide, namespaced(resource, &get))?;
                if !rows.is_empty() {
                    if titles {
                        println!("{}{}:", if shown > 0 { "\n" } else { "" }, resource.api.kind);
                    }
                    print!("{}", table.whole(&rows));
                    shown += 1;
                }
            }
            Output::Json | Output::Yaml => {
                leave_out_managed_fields(&mut answer);
                print!("{}", get.output.whole(&answer)?);
            }
        }
    }
    if shown == 0 && matches!(get.output, Output::Table | Output::Wide) {
        match get.all_namespaces {
            true => eprintln!("none found in any namespace"),
            false => eprintln!("none found in namespace {}", connection.namespace),
        }
    }
    Ok(())
}

/// Whether rows say which namespace they are from.
fn namespaced(resource: &Resource, get: &Get) -> bool {
    get.all_namespaces && resource.api.namespaced
}

async fn fetch(connection: &Connection, resource: &Resource, get: &Get) -> anyhow::Result<Value> {
    let mut path = path(connection, resource, get, get.name.as_deref());
    if let Some(selector) = &get.selector {
        path.push_str(&format!("?labelSelector={}", escaped(selector)));
    }
    let request = Request::get(path).header("Accept", get.output.accept()).body(Vec::new())?;
    Ok(connection.client.request(request).await?)
}

fn path(connection: &Connection, resource: &Resource, get: &Get, name: Option<&str>) -> String {
    let namespace = (!get.all_namespaces).then_some(connection.namespace.as_str());
    resource.path(namespace, name)
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Who wrote which field is long, and nearly never what is looked for; kubectl does the same.
fn leave_out_managed_fields(answer: &mut Value) {
    let objects: Vec<&mut Value> = match answer["items"].is_array() {
        true => answer["items"].as_array_mut().into_iter().flatten().collect(),
        false => vec![answer],
    };
    for object in objects {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
    }
}

impl Output {
    /// Objects as text.
    fn whole(self, object: &Value) -> anyhow::Result<String> {
        Ok(match self {
            Self::Yaml => format!("---\n{}", serde_saphyr::to_string(object)?),
            Self::Table | Self::Wide | Self::Json => format!("{}\n", serde_json::to_string_pretty(object)?),
        })
    }

    fn accept(self) -> &'static str {
        match self {
            Self::Table | Self::Wide => TABLE,
            Self::Yaml | Self::Json => "application/json",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn managed_fields_are_left_out_of_one_object_and_of_many() {
        let object = || json!({"metadata": {"name": "a", "managedFields": [{}]}});
        let (mut one, mut many) = (object(), json!({"items": [object(), object()]}));
        leave_out_managed_fields(&mut one);
        leave_out_managed_fields(&mut many);
        let bare = json!({"metadata": {"name": "a"}});
        assert_eq!(one, bare);
        assert_eq!(many, json!({"items": [bare, bare]}));
    }
}
