//! `nubium get`: the API server's own table, or whole objects.

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use http::Request;
use serde_json::Value;

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
    let titles = chosen.len() > 1;
    let mut shown = 0;
    for resource in chosen {
        let answer = fetch(connection, resource, &get).await?;
        match get.output {
            Output::Table | Output::Wide => {
                let text = table(&answer, get.output == Output::Wide, get.all_namespaces && resource.api.namespaced);
                if let Some(text) = text {
                    if titles {
                        println!("{}{}:", if shown > 0 { "\n" } else { "" }, resource.api.kind);
                    }
                    print!("{text}");
                    shown += 1;
                }
            }
            Output::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
            Output::Yaml => print!("---\n{}", serde_saphyr::to_string(&answer)?),
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

async fn fetch(connection: &Connection, resource: &Resource, get: &Get) -> anyhow::Result<Value> {
    let namespace = (!get.all_namespaces).then_some(connection.namespace.as_str());
    let mut path = resource.path(namespace, get.name.as_deref());
    if let Some(selector) = &get.selector {
        let escaped: String = selector.bytes().map(|byte| format!("%{byte:02X}")).collect();
        path.push_str(&format!("?labelSelector={escaped}"));
    }
    let accept = match get.output {
        Output::Table | Output::Wide => TABLE,
        Output::Yaml | Output::Json => "application/json",
    };
    let request = Request::get(path).header("Accept", accept).body(Vec::new())?;
    Ok(connection.client.request(request).await?)
}

/// The rows under their columns; None when there are none.
fn table(answer: &Value, wide: bool, namespaced: bool) -> Option<String> {
    let columns = answer["columnDefinitions"].as_array()?;
    let shown: Vec<usize> =
        (0..columns.len()).filter(|&i| wide || columns[i]["priority"].as_i64().unwrap_or(0) == 0).collect();
    let mut lines = vec![shown.iter().map(|&i| text(&columns[i]["name"]).to_uppercase()).collect::<Vec<_>>()];
    if namespaced {
        lines[0].insert(0, "NAMESPACE".into());
    }
    for row in answer["rows"].as_array()? {
        let mut line: Vec<String> = shown.iter().map(|&i| text(&row["cells"][i])).collect();
        if namespaced {
            line.insert(0, text(&row["object"]["metadata"]["namespace"]));
        }
        lines.push(line);
    }
    if lines.len() == 1 {
        return None;
    }
    let widths: Vec<usize> =
        (0..lines[0].len()).map(|i| lines.iter().map(|l| l[i].chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for line in lines {
        let padded: Vec<String> = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        out.push_str(padded.join("   ").trim_end());
        out.push('\n');
    }
    Some(out)
}

fn text(cell: &Value) -> String {
    match cell {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_aligned_and_wide_columns_wait_to_be_asked_for() {
        let answer = json!({
            "columnDefinitions": [{"name": "Name"}, {"name": "Ready"}, {"name": "VNI", "priority": 1}],
            "rows": [
                {"cells": ["blue", "True", 7], "object": {"metadata": {"namespace": "shop"}}},
                {"cells": ["a-longer-name", null, 8], "object": {"metadata": {"namespace": "shop"}}}
            ]
        });
        assert_eq!(
            table(&answer, false, false).unwrap(),
            "NAME            READY\nblue            True\na-longer-name\n"
        );
        assert_eq!(
            table(&answer, true, true).unwrap(),
            "NAMESPACE   NAME            READY   VNI\nshop        blue            True    7\nshop        a-longer-name           8\n"
        );
    }

    #[test]
    fn no_rows_are_no_table() {
        assert_eq!(table(&json!({"columnDefinitions": [{"name": "Name"}], "rows": []}), false, false), None);
    }
}
