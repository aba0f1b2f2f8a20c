//! `nubium get --watch`: what is there, and then a line for every change.

use std::io::Write;

use anyhow::{Context, bail};
use futures::{AsyncBufReadExt, TryStreamExt};
use http::Request;
use serde_json::Value;

use super::table::{Table, line};
use super::{Get, Output, escaped, leave_out_managed_fields, namespaced, path};
use crate::Connection;
use crate::resources::Resource;

/// Runs until the connection ends for good.
pub async fn run(connection: &Connection, resource: &Resource, get: &Get) -> anyhow::Result<()> {
    let list = format!("{}?{}", path(connection, resource, get, None), selectors(get));
    let request = Request::get(&list).header("Accept", get.output.accept()).body(Vec::new())?;
    let mut answer: Value = connection.client.request(request).await?;
    let mut version = answer["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let printer = Printer::first(resource, get, &mut answer)?;
    loop {
        let path = format!("{list}&watch=1&allowWatchBookmarks=true&resourceVersion={version}");
        let request = Request::get(path).header("Accept", get.output.accept()).body(Vec::new())?;
        let mut lines = std::pin::pin!(connection.client.request_stream(request).await?.lines());
        while let Some(text) = lines.try_next().await.context("the watch was cut off")? {
            let mut event: Value = serde_json::from_str(&text).context("cannot read an event")?;
            let mut object = event["object"].take();
            match event["type"].as_str() {
                Some("ADDED" | "MODIFIED" | "DELETED") => printer.change(&mut object)?,
                Some("BOOKMARK") => {}
                _ => bail!("the watch ended: {}", object["message"].as_str().unwrap_or("without a reason")),
            }
            // Of a table, the version is its row's.
            let seen = [&object["metadata"], &object["rows"][0]["object"]["metadata"]];
            if let Some(seen) = seen.into_iter().find_map(|metadata| metadata["resourceVersion"].as_str()) {
                seen.clone_into(&mut version);
            }
        }
    }
}

fn selectors(get: &Get) -> String {
    let name = get.name.iter().map(|name| format!("fieldSelector=metadata.name%3D{}", escaped(name)));
    let labels = get.selector.iter().map(|labels| format!("labelSelector={}", escaped(labels)));
    name.chain(labels).collect::<Vec<_>>().join("&")
}

/// Prints as was asked; the columns keep the widths of the first answer.
struct Printer {
    table: Option<(Table, Vec<usize>)>,
    output: Output,
}

impl Printer {
    fn first(resource: &Resource, get: &Get, answer: &mut Value) -> anyhow::Result<Self> {
        let mut printer = Self { table: None, output: get.output };
        if let Output::Table | Output::Wide = get.output {
            let (table, rows) = Table::of(answer, get.output == Output::Wide, namespaced(resource, get))?;
            print!("{}", table.whole(&rows));
            let widths = table.widths(&rows);
            printer.table = Some((table, widths));
        } else {
            answer["items"].as_array_mut().into_iter().flatten().try_for_each(|object| printer.change(object))?;
        }
        // What reads us may be a program.
        std::io::stdout().flush()?;
        Ok(printer)
    }

    fn change(&self, object: &mut Value) -> anyhow::Result<()> {
        match &self.table {
            Some((table, widths)) => table.rows(object).iter().for_each(|row| print!("{}", line(row, widths))),
            None => {
                leave_out_managed_fields(object);
                print!("{}", self.output.whole(object)?);
            }
        }
        Ok(std::io::stdout().flush()?)
    }
}
