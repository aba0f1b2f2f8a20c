//! One step of a path: a field, or an item of a list.

use std::{
    cmp::Ordering,
    fmt::{self, Display, Formatter},
    sync::Arc,
};

use serde_json::Value;

use super::json_order::{compare, equal};
use super::number::write_number;

/// The key fields of a list item and their values, sorted by name.
pub type Keys = Arc<[(Arc<str>, Value)]>;

/// One step from a container into what it holds. Cheap to clone.
#[derive(Clone, Debug)]
pub enum PathElement {
    /// A field of a struct or an entry of a map, by name: `.spec`.
    Field(Arc<str>),
    /// The item of a list of maps that has these values in its key fields: `[name="root"]`.
    Key(Keys),
    /// The item of a set that has this value: `[="a"]`.
    Value(Arc<Value>),
    /// The item of an atomic list at this position: `[3]`.
    Index(i64),
}

impl PathElement {
    /// A field by name.
    pub fn field(name: &str) -> Self {
        Self::Field(name.into())
    }

    /// A list item by its key fields, in any order.
    pub fn key(mut fields: Vec<(Arc<str>, Value)>) -> Self {
        fields.sort_by(|left, right| left.0.cmp(&right.0));
        Self::Key(fields.into())
    }

    /// A set item by value.
    pub fn value(value: Value) -> Self {
        Self::Value(Arc::new(value))
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

impl Ord for PathElement {
    fn cmp(&self, other: &Self) -> Ordering {
        crate::work::step();
        match (self, other) {
            (Self::Field(left), Self::Field(right)) => left.cmp(right),
            (Self::Key(left), Self::Key(right)) => left
                .iter()
                .zip(right.iter())
                .map(|(left, right)| left.0.cmp(&right.0).then_with(|| compare(&left.1, &right.1)))
                .find(|order| order.is_ne())
                .unwrap_or_else(|| left.len().cmp(&right.len())),
            (Self::Value(left), Self::Value(right)) => compare(left, right),
            (Self::Index(left), Self::Index(right)) => left.cmp(right),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for PathElement {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for PathElement {
    fn eq(&self, other: &Self) -> bool {
        crate::work::step();
        match (self, other) {
            (Self::Field(left), Self::Field(right)) => left == right,
            (Self::Key(left), Self::Key(right)) => {
                left.len() == right.len()
                    && left.iter().zip(right.iter()).all(|(left, right)| left.0 == right.0 && equal(&left.1, &right.1))
            }
            (Self::Value(left), Self::Value(right)) => equal(left, right),
            (Self::Index(left), Self::Index(right)) => left == right,
            _ => false,
        }
    }
}

impl Eq for PathElement {}

/// As in conflict messages: `.spec`, `[name="root",port=80]`, `[="a"]`, `[3]`.
impl Display for PathElement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                f.write_str("[")?;
                for (index, (name, value)) in keys.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(f, "{comma}{name}={}", Readable(value))?;
                }
                f.write_str("]")
            }
            Self::Value(value) => write!(f, "[={}]", Readable(value)),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A value inside a printed path: strings quoted, maps as `key=value` without separators.
struct Readable<'v>(&'v Value);

impl Display for Readable<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => value.fmt(f),
            Value::Number(number) => write_number(f, number),
            Value::String(text) => quote(f, text),
            Value::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(f, "{comma}{}", Readable(item))?;
                }
                f.write_str("]")
            }
            Value::Object(fields) => {
                fields.iter().try_for_each(|(name, value)| write!(f, "{name}={}", Readable(value)))
            }
        }
    }
}

/// A string in double quotes, with escapes for what cannot be printed.
fn quote(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for character in text.chars() {
        match character {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\u{0}'..='\u{1f}' | '\u{7f}' => write!(f, "\\x{:02x}", u32::from(character))?,
            character => write!(f, "{character}")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_print_as_in_conflict_messages() {
        let item = PathElement::key(vec![("protocol".into(), json!("TCP")), ("port".into(), json!(80))]);
        assert_eq!(item.to_string(), r#"[port=80,protocol="TCP"]"#);
        assert_eq!(PathElement::value(json!("a\"b")).to_string(), r#"[="a\"b"]"#);
        assert_eq!(PathElement::field("spec").to_string(), ".spec");
        assert_eq!(PathElement::Index(3).to_string(), "[3]");
    }

    #[test]
    fn fields_come_before_keys_before_values_before_positions() {
        let ordered = [
            PathElement::field("z"),
            PathElement::key(vec![("a".into(), json!(1))]),
            PathElement::key(vec![("a".into(), json!(1)), ("b".into(), json!(1))]),
            PathElement::value(json!(0)),
            PathElement::Index(0),
        ];
        assert!(ordered.is_sorted());
    }
}
