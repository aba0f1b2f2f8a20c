//! `kubectl get`: the cells of a `Table`, by a CRD's `additionalPrinterColumns`.

mod age;
mod jsonpath;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::structural::OBJECT_META;

pub use age::{human_duration, human_since};
pub use jsonpath::{JsonPath, JsonPathError};

/// A column's path cannot be read.
#[derive(Debug, Error)]
#[error("unrecognized column definition {0:?}")]
pub struct ColumnError(pub String);

/// The compiled columns of one version of a kind.
#[derive(Debug, Clone)]
pub struct Columns {
    columns: Vec<Column>,
    /// What the first column, the name, is.
    name: String,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    kind: Kind,
    kind_text: String,
    format: String,
    description: String,
    priority: i64,
    path: JsonPath,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Number,
    Boolean,
    Date,
    Other,
}

impl Columns {
    /// From a CRD version's `additionalPrinterColumns` (null or empty: the age alone). `components` holds the published
    /// ObjectMeta, whose words describe name and age.
    pub fn new(columns: &Value, components: &Map<String, Value>) -> Result<Self, ColumnError> {
        let described = |field: &str| {
            let meta = components.get(OBJECT_META).and_then(|m| m.get("properties"));
            meta.and_then(|p| p.get(field)?.get("description")?.as_str()).unwrap_or_default().to_owned()
        };
        let created = described("creationTimestamp");
        let age =
            json!([{"name": "Age", "type": "date", "description": created, "jsonPath": ".metadata.creationTimestamp"}]);
        let said =
            columns.as_array().filter(|c| !c.is_empty()).or(age.as_array()).map(Vec::as_slice).unwrap_or_default();
        let columns = said.iter().map(Column::new).collect::<Result<_, _>>()?;
        Ok(Self { columns, name: described("name") })
    }

    /// The table's `columnDefinitions`: the name, then the columns.
    pub fn definitions(&self) -> Value {
        let name = json!({"name": "Name", "type": "string", "format": "name", "description": self.name, "priority": 0});
        let rest = self.columns.iter().map(|c| {
            json!({"name": c.name, "type": c.kind_text, "format": c.format, "description": c.description, "priority": c.priority})
        });
        std::iter::once(name).chain(rest).collect()
    }

    /// What the columns look at.
    pub fn paths(&self) -> impl Iterator<Item = &JsonPath> {
        self.columns.iter().map(|column| &column.path)
    }

    /// The cells of one object, its name first. `now` is what dates are counted back from.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let name = object.pointer("/metadata/name").cloned().unwrap_or_else(|| "".into());
        std::iter::once(name).chain(self.columns.iter().map(|c| c.cell(object, now))).collect()
    }
}

impl Column {
    fn new(column: &Value) -> Result<Self, ColumnError> {
        let text = |key: &str| column.get(key).and_then(Value::as_str).unwrap_or_default();
        let path = text("jsonPath");
        let description = match text("description") {
            "" => format!("Custom resource definition column (in JSONPath format): {path}"),
            said => said.to_owned(),
        };
        Ok(Self {
            name: text("name").to_owned(),
            kind: match text("type") {
                "string" => Kind::Text,
                "integer" => Kind::Integer,
                "number" => Kind::Number,
                "boolean" => Kind::Boolean,
                "date" => Kind::Date,
                _ => Kind::Other,
            },
            kind_text: text("type").to_owned(),
            format: text("format").to_owned(),
            description,
            priority: column.get("priority").and_then(Value::as_i64).unwrap_or_default(),
            path: JsonPath::parse(path).map_err(|_| ColumnError(path.to_owned()))?,
        })
    }

    /// Null where there is nothing, or something of another type.
    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let Some(found) = self.path.first(object) else { return Value::Null };
        match (self.kind, found) {
            (Kind::Text, found) => as_text(found).into(),
            (_, Value::Null) => Value::Null,
            (Kind::Integer, Value::Number(n)) => {
                n.as_i64().or_else(|| n.as_f64().map(|f| f as i64)).map_or(Value::Null, Value::from)
            }
            (Kind::Number, Value::Number(n)) => n.as_f64().map_or(Value::Null, whole_or_float),
            (Kind::Boolean, Value::Bool(b)) => Value::Bool(*b),
            (Kind::Date, Value::String(text)) => match text.parse::<Timestamp>() {
                Ok(then) => human_since(then, now).into(),
                Err(_) => "<invalid>".into(),
            },
            _ => Value::Null,
        }
    }
}

/// As Go prints a value, objects and lists as JSON.
fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => crate::go::print_number(n),
        other => crate::go::to_json(other),
    }
}

/// Go writes a whole float64 without a point.
fn whole_or_float(float: f64) -> Value {
    if float.fract() == 0.0 && float.abs() < 1e15 { (float as i64).into() } else { float.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_by_type() {
        let columns = Columns::new(
            &json!([
                {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
                {"name": "CPU", "type": "integer", "jsonPath": ".spec.cpu"},
                {"name": "Load", "type": "number", "jsonPath": ".status.load", "priority": 1},
                {"name": "On", "type": "boolean", "jsonPath": ".spec.on"},
                {"name": "Any", "type": "string", "jsonPath": ".spec.list", "description": "a list"},
                {"name": "None", "type": "string", "jsonPath": ".spec.none"},
                {"name": "Wrong", "type": "integer", "jsonPath": ".metadata.name"},
                {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
            ]),
            &Map::new(),
        )
        .unwrap();
        let object = json!({"metadata": {"name": "web-1", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"cpu": 2, "on": true, "list": [1, "a"]},
            "status": {"load": 0.5, "conditions": [{"type": "Other", "status": "x"}, {"type": "Ready", "status": "True"}]}});
        let now = "2026-01-01T00:05:10Z".parse().unwrap();
        assert_eq!(
            columns.cells(&object, now),
            [
                json!("web-1"),
                json!("True"),
                json!(2),
                json!(0.5),
                json!(true),
                json!("[1,\"a\"]"),
                Value::Null,
                Value::Null,
                json!("5m10s")
            ]
        );
        let definitions = columns.definitions();
        assert_eq!(definitions[0]["format"], "name");
        assert_eq!(
            definitions[1]["description"],
            "Custom resource definition column (in JSONPath format): .status.conditions[?(@.type==\"Ready\")].status"
        );
        assert_eq!(definitions[3]["priority"], 1);
        assert_eq!(definitions[5]["description"], "a list");
    }

    #[test]
    fn without_columns_there_is_the_age() {
        let mut components = crate::structural::testing::components();
        components[OBJECT_META]["properties"]["name"]["description"] = "What it is called.".into();
        let columns = Columns::new(&Value::Null, &components).unwrap();
        let now = "2026-01-03T00:00:00Z".parse().unwrap();
        let object = json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"}});
        assert_eq!(columns.cells(&object, now), [json!("a"), json!("2d")]);
        assert_eq!(columns.definitions()[1]["name"], "Age");
        assert_eq!(columns.definitions()[0]["description"], "What it is called.");
        assert_eq!(
            Columns::new(&json!([{"name": "x", "type": "string", "jsonPath": ".a[?("}]), &components)
                .unwrap_err()
                .to_string(),
            "unrecognized column definition \".a[?(\""
        );
    }
}
