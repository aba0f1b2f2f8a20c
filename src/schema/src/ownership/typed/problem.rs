//! What can be wrong with a value of a kind.
//!
//! The texts are Kubernetes' own, down to how it prints values, as clients see them.

use std::fmt::{self, Display, Formatter};

use serde_json::Value;

use crate::ownership::{PathElement, kind::Scalar};

/// One thing that is wrong, and where. The path is empty for the root.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    pub path: String,
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    #[error("field not declared in schema")]
    NotDeclared,
    #[error("{}", expected(*.wanted, .found))]
    NotTheScalar { wanted: Scalar, found: Value },
    #[error("expected list, got &{{{}}}", Plain(.0))]
    NotAList(Value),
    #[error("expected map, got &{{{}}}", Plain(.0))]
    NotAMap(Value),
    #[error("element {index}: {source}")]
    Item { index: usize, source: ItemError },
    #[error("duplicate entries for key {0}")]
    Duplicate(PathElement),
    #[error("schema error: invalid atom: inlined")]
    NoType,
}

/// Why a list item cannot be distinguished from others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    #[error("associative list with keys may not have a null element")]
    NullAmongMaps,
    #[error("associative list with keys may not have non-map elements")]
    NotAMap,
    #[error(
        "associative list with keys has an element that omits all key fields {} \
         (and doesn't have default values for any key fields)", quoted(.0)
    )]
    NoKeys(Vec<String>),
    #[error("associative list without keys has an element that's a map type")]
    MapInSet,
    #[error("not supported: associative list with lists as elements")]
    ListInSet,
    #[error("associative list without keys has an element that's an explicit null")]
    NullInSet,
}

/// Everything that is wrong with a value; never empty when returned as an error.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Violations(pub Vec<Violation>);

impl std::error::Error for Violations {}

impl Display for Violation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let colon = if self.path.is_empty() { "" } else { ": " };
        write!(f, "{}{colon}{}", self.path, self.problem)
    }
}

impl Display for Violations {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [only] => only.fmt(f),
            several => {
                f.write_str("errors:")?;
                several.iter().try_for_each(|violation| write!(f, "\n  {violation}"))
            }
        }
    }
}

fn expected(wanted: Scalar, found: &Value) -> String {
    match wanted {
        Scalar::Numeric => format!("expected numeric (int or float), got {}", type_name(found)),
        Scalar::String => format!("expected string, got &value.valueUnstructured{{Value:{}}}", Exact(found)),
        Scalar::Boolean => format!("expected boolean, got &{{{}}}", Plain(found)),
        Scalar::Untyped => format!("expected any scalar, got &{{{}}}", Plain(found)),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    format!("[{}]", names.join(" "))
}

/// A value as it is printed bare: strings without quotes, `map[a:1 b:2]`, `[1 2]`.
struct Plain<'v>(&'v Value);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("<nil>"),
            Value::String(text) => f.write_str(text),
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| Plain(item).to_string()).collect();
                write!(f, "[{}]", items.join(" "))
            }
            Value::Object(fields) => {
                let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}:{}", Plain(value))).collect();
                write!(f, "map[{}]", fields.join(" "))
            }
            scalar => scalar.fmt(f),
        }
    }
}

/// A value as it is printed with its type.
struct Exact<'v>(&'v Value);

impl Display for Exact<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("interface {}(nil)"),
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| Exact(item).to_string()).collect();
                write!(f, "[]interface {{}}{{{}}}", items.join(", "))
            }
            Value::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| format!("{name:?}:{}", Exact(value)));
                write!(f, "map[string]interface {{}}{{{}}}", fields.collect::<Vec<_>>().join(", "))
            }
            scalar => scalar.fmt(f),
        }
    }
}
