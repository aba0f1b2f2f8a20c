//! `kubectl get`: the columns of a kind and the cells of an object.
//!
//! A CustomResourceDefinition says its columns by JSON paths. Those of the built-in kinds need a little more (counts, the
//! first of several times), which `data/kinds.json` says in the words of [`Cell`].

use jiff::Timestamp;
use nubium_schema::structural::OBJECT_META;
use nubium_schema::table::{Columns as CustomColumns, human_since};
use nubium_store::Object;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::components::components;
use crate::object::meta;
use crate::object::projection::Projection;

/// The columns of a kind.
#[derive(Debug)]
pub(crate) struct Columns {
    cells: Cells,
    /// What they look at.
    projection: Projection,
}

#[derive(Debug)]
enum Cells {
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

fn fields(path: &str) -> Vec<&str> {
    path.split('.').collect()
}

impl Cell {
    fn look_at(&self, projection: &mut Projection) {
        match self {
            Self::Path { path, .. } | Self::Object { object: path } => projection.add(&fields(path)),
            Self::Count { count } => count.iter().for_each(|path| projection.add_names(&fields(path))),
            Self::Ago { ago } => ago.iter().for_each(|path| projection.add(&fields(path))),
        }
    }

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
    pub fn built_in(columns: Vec<Column>) -> Self {
        let mut projection = Projection::new();
        columns.iter().for_each(|column| column.cell.look_at(&mut projection));
        Self { cells: Cells::BuiltIn(columns), projection }
    }

    pub fn custom(columns: CustomColumns) -> Self {
        let mut projection = Projection::new();
        projection.add(&["metadata", "name"]);
        columns.paths().for_each(|path| projection.add(&path.first_fields()));
        Self { cells: Cells::Custom(columns), projection }
    }

    /// A table's `columnDefinitions`.
    pub fn definitions(&self) -> Value {
        match &self.cells {
            Cells::BuiltIn(columns) => columns.iter().map(Column::definition).collect(),
            Cells::Custom(columns) => columns.definitions(),
        }
    }

    /// A row's cells.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        match &self.cells {
            Cells::BuiltIn(columns) => columns.iter().map(|column| column.cell.show(object, now)).collect(),
            Cells::Custom(columns) => columns.cells(object, now),
        }
    }

    /// The cells of an object that is stored as it is served. Only what the columns look at is read of it.
    ///
    /// # Errors
    /// When the stored bytes are no JSON.
    pub fn cells_of_stored(&self, object: &Object, now: Timestamp) -> Result<Vec<Value>, serde_json::Error> {
        Ok(self.cells(&self.projection.read(object)?, now))
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

    #[test]
    fn cells_of_stored_bytes_are_those_of_the_tree() {
        let types = ["string", "integer", "number", "boolean", "date"];
        let paths = [
            ".metadata.name",
            ".metadata.resourceVersion",
            ".metadata",
            ".spec.value",
            ".spec['value']",
            ".spec.list[0]",
            ".spec.list[*].a",
            ".spec.list[?(@.a==\"x\")].b",
            "..value",
            ".spec",
            ".spec.value.deeper",
            ".none.at.all",
            ".",
        ];
        let said =
            types.iter().flat_map(|kind| paths.map(|path| json!({"name": path, "type": kind, "jsonPath": path})));
        let columns = Columns::custom(CustomColumns::new(&said.collect(), components()).unwrap());
        let values = [
            "null",
            "true",
            "0",
            "-0",
            "1.5",
            "1e3",
            "1E-7",
            "9007199254740993",
            "-9223372036854775808",
            "18446744073709551615",
            "1e400",
            "123456789012345678901234567890",
            "\"\"",
            "\"2026-01-01T00:00:00Z\"",
            "\"2026-01-01T01:00:00.5+01:00\"",
            "\"9999-12-31T23:59:59Z\"",
            "\"no date\"",
            r#""a\"b\\ \u00e9 \ud83d\ude00 \n""#,
            "{}",
            "[]",
            r#"{"deeper": 1, "value": {"value": [2]}}"#,
            r#"[[1, "x"]]"#,
        ];
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let mut objects =
            vec!["{}".to_owned(), r#"{"metadata": {}}"#.to_owned(), r#"{"spec": null, "metadata": null}"#.to_owned()];
        objects.extend(values.iter().map(|value| {
            format!(
                r#"{{"apiVersion": "v1", "kind": "K", "metadata": {{"name": "a", "labels": {{"x": "y"}}}}, "other": [1],
                "spec": {{"value": {value}, "list": [{value}, {{"a": "x", "b": {value}}}], "more": {{"value": 1}}}}}}"#
            )
        }));
        for text in objects {
            let object = Object { key: "/k".into(), value: text.clone().into(), created: 1, modified: 77 };
            match crate::object::decode(&object) {
                Ok(tree) => {
                    assert_eq!(columns.cells_of_stored(&object, now).unwrap(), columns.cells(&tree, now), "{text}")
                }
                Err(_) => assert!(columns.cells_of_stored(&object, now).is_err(), "{text}"),
            }
        }
    }

    #[test]
    fn cells_of_stored_bytes_of_built_in_kinds_are_those_of_the_tree() {
        let objects = [
            json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"}, "data": {"x": "1", "y": "2"}}),
            json!({"metadata": {"name": "a"}, "data": null, "binaryData": {"z": ""}, "type": 5, "status": "odd"}),
            json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Server", "name": "web-1", "uid": "u"}, "count": 3,
                "lastTimestamp": null, "eventTime": "2026-01-01T00:00:00.000001Z", "source": {"component": "c"},
                "series": {"lastObservedTime": 5}, "message": "a\"b"}),
            json!({"metadata": {"name": "n"}, "status": {"phase": "Active"}, "spec": {"holderIdentity": null}}),
            json!({}),
        ];
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let registry = crate::kind::registry();
        for (kind, object) in
            registry.snapshot().kinds().flat_map(|kind| objects.iter().map(move |object| (kind, object)))
        {
            let stored = Object { key: "/k".into(), value: object.to_string().into(), created: 1, modified: 77 };
            let tree = crate::object::decode(&stored).unwrap();
            let cells = kind.columns.cells_of_stored(&stored, now).unwrap();
            assert_eq!(cells, kind.columns.cells(&tree, now), "{} {object}", kind.kind);
        }
    }
}
