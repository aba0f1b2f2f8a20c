//! JSON → CEL values, typed by the schema: timestamps, durations, bytes, doubles.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use kube_cel::cel::Value as Cel;
use kube_cel::cel::objects::{Key, Map};
use serde_json::Value;

use crate::structural::{NodeId, Structural, Types};

/// Names that CEL reserves; as fields they are written `__name__`.
const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// The value as rules see it. `id` is its schema node, if it has one.
pub(super) fn to_cel(schema: &Structural, id: Option<NodeId>, value: &Value) -> Cel {
    let node = id.map(|id| schema.node(id));
    match value {
        Value::Null => Cel::Null,
        Value::Bool(b) => Cel::Bool(*b),
        Value::Number(number) => {
            let is_double = node.is_some_and(|n| n.types.has(Types::NUMBER) && !n.types.has(Types::INTEGER));
            let is_integer = node.is_some_and(|n| n.types.has(Types::INTEGER));
            match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) if !is_double => Cel::Int(whole),
                (_, Some(float)) if is_integer && float.fract() == 0.0 => Cel::Int(float as i64),
                (_, float) => Cel::Float(float.unwrap_or_default()),
            }
        }
        Value::String(text) => string(node.map_or("", |n| n.format.as_str()), text),
        Value::Array(items) => {
            let id = node.and_then(|n| n.items);
            Cel::List(Arc::new(items.iter().map(|item| to_cel(schema, id, item)).collect()))
        }
        Value::Object(map) => {
            let mut out = HashMap::with_capacity(map.len());
            for (name, value) in map {
                let named = node.and_then(|n| n.properties.get(name));
                // to a rule, a declared field that is null is not there
                if named.is_some() && value.is_null() {
                    continue;
                }
                let child = named.or_else(|| node.and_then(|n| schema.child(n, name)));
                // keys of a map are data, only declared fields are escaped
                let key = if named.is_some() { escape(name) } else { name.clone() };
                out.insert(Key::String(Arc::new(key)), to_cel(schema, child, value));
            }
            Cel::Map(Map { map: Arc::new(out) })
        }
    }
}

/// What rules at the root of a resource see: everything, but of the metadata only the names.
pub(super) fn resource_to_cel(schema: &Structural, id: NodeId, value: &Value) -> Cel {
    let Value::Object(map) = value else { return to_cel(schema, Some(id), value) };
    let mut seen = map.clone();
    if let Some(Value::Object(metadata)) = map.get("metadata") {
        let names = metadata.iter().filter(|(k, _)| matches!(k.as_str(), "name" | "generateName"));
        seen.insert("metadata".to_owned(), Value::Object(names.map(|(k, v)| (k.clone(), v.clone())).collect()));
    }
    to_cel(schema, Some(id), &Value::Object(seen))
}

/// The name of a declared field in an expression.
pub(super) fn escape(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    if !name.contains(['.', '-', '/']) && !name.contains("__") {
        return name.to_owned();
    }
    name.replace("__", "__underscores__").replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__")
}

fn string(format: &str, text: &str) -> Cel {
    let plain = || Cel::String(Arc::new(text.to_owned()));
    match format {
        "date-time" | "datetime" => chrono::DateTime::parse_from_rfc3339(text).map_or_else(|_| plain(), Cel::Timestamp),
        "date" => match format!("{text}T00:00:00Z").parse::<chrono::DateTime<chrono::FixedOffset>>() {
            Ok(midnight) => Cel::Timestamp(midnight),
            Err(_) => plain(),
        },
        "duration" => go_duration(text).map_or_else(plain, Cel::Duration),
        "byte" => match base64::engine::general_purpose::STANDARD.decode(text) {
            Ok(bytes) => Cel::Bytes(Arc::new(bytes)),
            Err(_) => plain(),
        },
        _ => plain(),
    }
}

/// `1h30m` in nanoseconds; other spellings stay text.
fn go_duration(text: &str) -> Option<chrono::Duration> {
    let (mut rest, sign) = match text.strip_prefix('-') {
        Some(rest) => (rest, -1.0),
        None => (text, 1.0),
    };
    if rest == "0" {
        return Some(chrono::Duration::zero());
    }
    let mut nanoseconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, scale) =
            [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)]
                .into_iter()
                .find(|(unit, _)| rest.starts_with(unit))?;
        nanoseconds += number * scale;
        rest = &rest[unit.len()..];
    }
    (!text.is_empty()).then(|| chrono::Duration::nanoseconds((nanoseconds * sign) as i64))
}
