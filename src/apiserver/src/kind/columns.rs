//! `kubectl get`: the columns of a kind and the cells of an object.
//!
//! A CustomResourceDefinition says its columns by JSON paths. Those of the built-in kinds need a little more (counts, the
//! first of several times), which `data/kinds.json` says in the words of [`Cell`].

use jiff::Timestamp;
use nubium_schema::structural::OBJECT_META;
use nubium_schema::table::{Columns as CustomColumns, human_since};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::components::components;
use crate::object::meta;

/// The columns of a kind.
#[derive(Debug)]
pub(crate) enum Columns {
    BuiltIn(Vec<Column>),
    Custom(CustomColumns),
}

/// A column of a built-in kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Column {
    name: String,
    #[serde(rename = "type", default = "string")]
    kind: String,
    #[serde(default)]
    format: String,
    /// A text, or `<component>#<field>` for the description published there.
    description: String,
    #[serde(default)]
    priority: i64,
    cell: Cell,
}

/// What a cell shows.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase", untagged)]
enum Cell {
    /// A value, or `or` where there is none.
    Path { path: String, or: Option<Value> },
    /// How many entries these maps have together.
    Count { count: Vec<String> },
    /// How long ago the first of these times was.
    Ago { ago: Vec<String> },
    /// The kind and name of a reference: `server/web-1`.
    Object { object: String },
}

fn string() -> String {
    "string".to_owned()
}

impl Column {
    /// Every table's first column.
    pub fn name() -> Self {
        let description = format!("{OBJECT_META}#name");
        let cell = Cell::Path { path: "metadata.name".to_owned(), or: None };
        Self { name: "Name".to_owned(), kind: string(), format: "name".to_owned(), description, priority: 0, cell }
    }

    /// The last column of most tables.
    pub fn age() -> Self {
        let description = format!("{OBJECT_META}#creationTimestamp");
        let cell = Cell::Ago { ago: vec!["metadata.creationTimestamp".to_owned()] };
        Self { name: "Age".to_owned(), kind: string(), format: String::new(), description, priority: 0, cell }
    }

    fn definition(&self) -> Value {
        let Self { name, kind, format, description, priority, cell: _ } = self;
        let published = description
            .split_once('#')
            .and_then(|(component, field)| components().get(component)?["properties"][field]["description"].as_str());
        let description = published.unwrap_or(description);
        json!({"name": name, "type": kind, "format": format, "description": description, "priority": priority})
    }
}

impl Cell {
    fn show(&self, object: &Value, now: Timestamp) -> Value {
        match self {
            Self::Path { path, or } => match (meta::at(object, path), or) {
                (Value::Null, None) => "".into(),
                (Value::Null, Some(or)) => or.clone(),
                (value, _) => value.clone(),
            },
            Self::Count { count } => {
                let maps = count.iter().filter_map(|path| meta::at(object, path).as_object());
                maps.map(Map::len).sum::<usize>().into()
            }
            Self::Ago { ago } => {
                let time = ago.iter().map(|path| meta::at(object, path)).find(|time| time.is_string());
                let then = time.and_then(Value::as_str).and_then(|text| text.parse::<Timestamp>().ok());
                then.map_or_else(|| "<unknown>".to_owned(), |then| human_since(then, now)).into()
            }
            Self::Object { object: path } => {
                let reference = meta::at(object, path);
                let text = |field: &str| reference[field].as_str().unwrap_or_default();
                match text("kind") {
                    "" => text("name").into(),
                    kind => format!("{}/{}", kind.to_lowercase(), text("name")).into(),
                }
            }
        }
    }
}

impl Columns {
    /// A table's `columnDefinitions`.
    pub fn definitions(&self) -> Value {
        match self {
            Self::BuiltIn(columns) => columns.iter().map(Column::definition).collect(),
            Self::Custom(columns) => columns.definitions(),
        }
    }

    /// A row's cells.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        match self {
            Self::BuiltIn(columns) => columns.iter().map(|column| column.cell.show(object, now)).collect(),
            Self::Custom(columns) => columns.cells(object, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_built_in_kinds() {
        let column = |cell: Value| {
            let column = json!({"name": "X", "description": "", "cell": cell});
            serde_json::from_value::<Column>(column).unwrap()
        };
        let object = json!({
            "metadata": {"name": "a"}, "data": {"x": 1, "y": 2}, "lastTimestamp": null,
            "eventTime": "2026-01-01T00:00:00Z", "involvedObject": {"kind": "Server", "name": "web-1"},
        });
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        for (cell, want) in [
            (json!({"path": "metadata.name"}), json!("a")),
            (json!({"path": "count", "or": 1}), json!(1)),
            (json!({"path": "gone"}), json!("")),
            (json!({"count": ["data", "binaryData"]}), json!(2)),
            (json!({"ago": ["lastTimestamp", "eventTime"]}), json!("60s")),
            (json!({"object": "involvedObject"}), json!("server/web-1")),
        ] {
            assert_eq!(column(cell.clone()).cell.show(&object, now), want, "{cell}");
        }
    }
}
