//! One recorded call.

use nubium_schema::ownership::{Path, PathElement, Set};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
pub struct Call {
    pub op: String,
    /// The test that made it.
    #[serde(rename = "where", default)]
    pub place: String,
    #[serde(flatten)]
    pub with: Map<String, Value>,
}

impl Call {
    pub fn get(&self, name: &str) -> &Value {
        self.with.get(name).unwrap_or(&Value::Null)
    }

    pub fn text(&self, name: &str) -> &str {
        self.get(name).as_str().unwrap_or_default()
    }

    pub fn flag(&self, name: &str) -> bool {
        self.get(name).as_bool().unwrap_or_default()
    }

    /// The error that the call gave, if it gave one.
    pub fn error(&self) -> Option<&str> {
        self.get("error").as_str()
    }

    pub fn set(&self, name: &str) -> Set {
        set(self.get(name))
    }
}

pub fn set(text: &Value) -> Set {
    Set::from_fields(&serde_json::from_str(text.as_str().unwrap()).unwrap()).unwrap()
}

pub fn element(key: &Value) -> PathElement {
    PathElement::from_key(key.as_str().unwrap()).unwrap().unwrap()
}

pub fn path(keys: &Value) -> Path {
    Path(keys.as_array().unwrap().iter().map(element).collect())
}

/// Whether two values are the same, as the answer of a call.
pub fn same<T: PartialEq + std::fmt::Display>(got: T, want: T) -> Result<(), String> {
    if got == want { Ok(()) } else { Err(format!("\n  got  {got}\n  want {want}")) }
}
