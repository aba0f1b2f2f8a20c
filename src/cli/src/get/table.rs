//! The API server's table as text: the rows under their columns.

use anyhow::Context;
use serde_json::Value;

use crate::escape;

/// The columns that are shown, and how wide they are.
pub struct Table {
    titles: Vec<String>,
    shown: Vec<usize>,
    namespaced: bool,
}

/// The cells of a row, as they are shown.
pub type Row = Vec<String>;

impl Table {
    /// The columns and rows of an answer; columns of a priority above 0 only when `wide`.
    pub fn of(answer: &Value, wide: bool, namespaced: bool) -> anyhow::Result<(Self, Vec<Row>)> {
        let columns = answer["columnDefinitions"].as_array().context("the cloud did not answer with a table")?;
        let shown: Vec<usize> =
            (0..columns.len()).filter(|&i| wide || columns[i]["priority"].as_i64().unwrap_or(0) == 0).collect();
        let mut titles: Vec<String> = shown.iter().map(|&i| text(&columns[i]["name"]).to_uppercase()).collect();
        if namespaced {
            titles.insert(0, "NAMESPACE".into());
        }
        let table = Self { titles, shown, namespaced };
        let rows = table.rows(answer);
        Ok((table, rows))
    }

    /// The rows of an answer that has these columns.
    pub fn rows(&self, answer: &Value) -> Vec<Row> {
        answer["rows"].as_array().into_iter().flatten().map(|row| self.row(row)).collect()
    }

    fn row(&self, row: &Value) -> Row {
        let mut cells: Row = self.shown.iter().map(|&i| text(&row["cells"][i])).collect();
        if self.namespaced {
            cells.insert(0, text(&row["object"]["metadata"]["namespace"]));
        }
        cells
    }

    /// The width of each column that has room for these rows.
    pub fn widths(&self, rows: &[Row]) -> Vec<usize> {
        let width = |i: usize| rows.iter().chain([&self.titles]).map(|row| row[i].chars().count()).max().unwrap_or(0);
        (0..self.titles.len()).map(width).collect()
    }

    /// The titles and the rows.
    pub fn whole(&self, rows: &[Row]) -> String {
        let widths = self.widths(rows);
        [&self.titles].into_iter().chain(rows).map(|row| line(row, &widths)).collect()
    }
}

/// One row; a cell that is too long for its column moves what follows.
pub fn line(row: &Row, widths: &[usize]) -> String {
    let padded: Vec<String> = row.iter().zip(widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
    format!("{}\n", padded.join("   ").trim_end())
}

fn text(cell: &Value) -> String {
    match cell {
        Value::Null => String::new(),
        Value::String(text) => escape::line(text).into_owned(),
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
        let whole = |wide, namespaced| {
            let (table, rows) = Table::of(&answer, wide, namespaced).unwrap();
            table.whole(&rows)
        };
        assert_eq!(whole(false, false), "NAME            READY\nblue            True\na-longer-name\n");
        assert_eq!(
            whole(true, true),
            "NAMESPACE   NAME            READY   VNI\nshop        blue            True    7\nshop        a-longer-name           8\n"
        );
    }

    #[test]
    fn what_is_no_table_is_said_so() {
        assert!(Table::of(&json!({"kind": "Status"}), false, false).is_err());
    }
}
