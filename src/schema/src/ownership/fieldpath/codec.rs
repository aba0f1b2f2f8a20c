//! Sets as the JSON of `fieldsV1`.
//!
//! An object per place; each key is a step: `f:name` a field, `k:{"name":"root"}` a list item by key, `v:"a"` a set
//! item, `i:3` a position. `"."` in an object says that the place itself is in the set besides something below it; an
//! empty object says it of a place with nothing below. Steps of a kind we do not know are dropped with what is below.

use std::fmt::{self, Display, Formatter};

use serde_json::{Map, Value};

use super::number::write_number;
use super::{Node, PathElement, Set};

/// Why `fieldsV1` could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FieldsError {
    #[error("fields must be an object")]
    NotAnObject,
    #[error("the key {0:?} has no kind before a colon")]
    NoKind(String),
    #[error("the key {key:?} does not hold JSON")]
    Json { key: String, source: serde_json::Error },
    #[error("the key {0:?} does not hold an object of key fields")]
    NotKeyFields(String),
    #[error("the key {0:?} does not hold a position")]
    NotAPosition(String),
}

impl Set {
    /// Reads the value of `fieldsV1`.
    pub fn from_fields(fields: &Value) -> Result<Self, FieldsError> {
        let Value::Object(fields) = fields else { return Err(FieldsError::NotAnObject) };
        Ok(read(fields)?.1)
    }

    /// The value of `fieldsV1`.
    pub fn to_fields(&self) -> Value {
        Value::Object(write(self, false))
    }

    /// The text of `fieldsV1` as Kubernetes writes it: `.` first, then fields, keys, values, positions.
    pub fn to_json(&self) -> String {
        struct Json<'s>(&'s Set, bool);
        impl Display for Json<'_> {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("{")?;
                let mut comma = "";
                if self.1 && !self.0.is_empty() {
                    f.write_str("\".\":{}")?;
                    comma = ",";
                }
                for node in self.0.nodes() {
                    let key = node.element.to_key();
                    let key = Text { text: &key, html: false };
                    write!(f, "{comma}{key}:{}", Json(&node.children, node.member))?;
                    comma = ",";
                }
                f.write_str("}")
            }
        }
        Json(self, false).to_string()
    }
}

/// Whether the place itself is in the set, and what is below it.
fn read(fields: &Map<String, Value>) -> Result<(bool, Set), FieldsError> {
    let mut nodes = Vec::with_capacity(fields.len());
    let mut member = false;
    for (key, below) in fields {
        if key == "." {
            member = true;
        } else if let Some(element) = PathElement::from_key(key)? {
            let (member, children) = match below {
                Value::Object(below) => read(below)?,
                Value::Null => (true, Set::new()),
                _ => return Err(FieldsError::NotAnObject),
            };
            nodes.push(Node { element, member, children });
        }
    }
    let set = Set::from_nodes(nodes);
    Ok((member || set.is_empty(), set))
}

fn write(set: &Set, member: bool) -> Map<String, Value> {
    let mut fields = Map::new();
    if member && !set.is_empty() {
        fields.insert(".".to_owned(), Value::Object(Map::new()));
    }
    for node in set.nodes() {
        fields.insert(node.element.to_key(), Value::Object(write(&node.children, node.member)));
    }
    fields
}

impl PathElement {
    /// Reads one key of `fieldsV1`; `None` for a kind of step that we do not know.
    pub fn from_key(key: &str) -> Result<Option<Self>, FieldsError> {
        let json =
            |text: &str| serde_json::from_str(text).map_err(|source| FieldsError::Json { key: key.to_owned(), source });
        let (kind, content) = match key.as_bytes() {
            [kind, b':', ..] => (*kind, &key[2..]),
            _ => return Err(FieldsError::NoKind(key.to_owned())),
        };
        Ok(Some(match kind {
            b'f' => Self::field(content),
            b'v' => Self::value(json(content)?),
            b'k' => {
                let Value::Object(fields) = json(content)? else {
                    return Err(FieldsError::NotKeyFields(key.to_owned()));
                };
                Self::key(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
            }
            b'i' => Self::Index(content.parse().map_err(|_| FieldsError::NotAPosition(key.to_owned()))?),
            _ => return Ok(None),
        }))
    }

    /// The key of `fieldsV1` for this step.
    pub fn to_key(&self) -> String {
        match self {
            Self::Field(name) => ["f:", name].concat(),
            Self::Key(keys) => {
                let mut key = String::from("k:{");
                for (index, (name, value)) in keys.iter().enumerate() {
                    key.push_str(if index > 0 { "," } else { "" });
                    key.push_str(&format!("{}:{}", Text { text: name, html: false }, Compact(value)));
                }
                key + "}"
            }
            Self::Value(value) => format!("v:{}", Compact(value)),
            Self::Index(index) => format!("i:{index}"),
        }
    }
}

/// JSON as Kubernetes writes it inside keys: maps sorted, whole floats without a point, and what HTML minds escaped.
struct Compact<'v>(&'v Value);

impl Display for Compact<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Number(number) => write_number(f, number),
            Value::String(text) => Text { text, html: true }.fmt(f),
            Value::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(f, "{comma}{}", Compact(item))?;
                }
                f.write_str("]")
            }
            Value::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_unstable_by_key(|field| field.0);
                f.write_str("{")?;
                for (index, (name, value)) in fields.into_iter().enumerate() {
                    f.write_str(if index > 0 { "," } else { "" })?;
                    write!(f, "{}:{}", Text { text: name, html: true }, Compact(value))?;
                }
                f.write_str("}")
            }
            Value::Null | Value::Bool(_) => self.0.fmt(f),
        }
    }
}

/// A string as JSON.
struct Text<'t> {
    text: &'t str,
    /// Whether what HTML minds is escaped.
    html: bool,
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        let mut plain = 0;
        for (index, character) in self.text.char_indices() {
            let escape = match character {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '\u{0}'..='\u{1f}' => "",
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if self.html => "",
                _ => continue,
            };
            f.write_str(&self.text[plain..index])?;
            plain = index + character.len_utf8();
            match escape {
                "" => write!(f, "\\u{:04x}", u32::from(character))?,
                escape => f.write_str(escape)?,
            }
        }
        f.write_str(&self.text[plain..])?;
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_place_above_others_is_marked_by_a_dot() {
        let fields = json!({"f:spec": {"f:disks": {"k:{\"name\":\"root\"}": {".": {}, "f:size": {}}}}});
        let set = Set::from_fields(&fields).unwrap();
        assert_eq!(set.to_string(), ".spec.disks[name=\"root\"]\n.spec.disks[name=\"root\"].size");
        assert_eq!(set.to_fields(), fields);
        assert_eq!(set.to_json(), r#"{"f:spec":{"f:disks":{"k:{\"name\":\"root\"}":{".":{},"f:size":{}}}}}"#);
    }

    #[test]
    fn numbers_in_keys_have_one_form() {
        let set = Set::from_fields(&json!({"k:{\"port\":80.0}": {}, "v:1.5": {}, "v:1e22": {}, "v:1e-7": {}})).unwrap();
        assert_eq!(set.to_json(), r#"{"k:{\"port\":80}":{},"v:1e-07":{},"v:1.5":{},"v:1e+22":{}}"#);
    }

    #[test]
    fn strings_in_keys_are_escaped_twice() {
        let element = PathElement::key(vec![("a\"b".into(), json!("<\n\u{1}é>"))]);
        let key = r#"k:{"a\"b":"\u003c\n\u0001é\u003e"}"#;
        assert_eq!(element.to_key(), key);
        assert_eq!(PathElement::from_key(key).unwrap(), Some(element.clone()));
        let set: Set = [crate::ownership::Path(vec![element])].into_iter().collect();
        assert_eq!(set.to_json(), r#"{"k:{\"a\\\"b\":\"\\u003c\\n\\u0001é\\u003e\"}":{}}"#);
    }

    #[test]
    fn unknown_steps_are_dropped_and_broken_ones_refused() {
        assert_eq!(Set::from_fields(&json!({"f:a": {}, "r:b": {"f:c": {}}})).unwrap().to_json(), r#"{"f:a":{}}"#);
        for broken in ["", "no-colon", "i:1.23", "v:", "k:[]", "k:{\"name\":x}"] {
            assert!(Set::from_fields(&json!({broken: {}})).is_err(), "{broken:?} was accepted");
        }
        assert!(Set::from_fields(&json!([])).is_err());
    }
}
