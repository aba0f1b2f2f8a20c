//! Request bodies: JSON and YAML into a value, with every duplicate key named by its path.
//!
//! A plain `serde_json::from_slice` keeps the last of two equal keys and says nothing; `fieldValidation=Strict` has to
//! refuse them and `Warn` has to name them, so the tree is built by a visitor that checks every key. Nesting is limited
//! to [`MAX_DEPTH`] in both languages, because everything after this walks the tree recursively.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use thiserror::Error;

use crate::FieldPath;

/// How many objects and lists a document may have inside each other.
///
/// `metadata.managedFields` repeats the structure of an object some levels further down. An object of this depth has
/// to be stored and read again with them, and serde_json reads 127 levels.
pub const MAX_DEPTH: usize = 110;
/// The same for YAML, whose parser needs far more stack for each level.
const MAX_YAML_DEPTH: usize = 64;
/// As many duplicates as Kubernetes reports.
const MAX_DUPLICATES: usize = 100;

/// A parsed body.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub value: Value,
    /// Paths of keys that occur more than once, e.g. `spec.disks[0].name`, each once. The last value won.
    pub duplicates: Vec<String>,
}

/// Why a body is no document. The text is the parser's own.
#[derive(Debug, Error)]
pub enum DocumentError {
    #[error("the document is nested deeper than {max} levels")]
    TooDeep { max: usize },
    #[error("{0}")]
    Json(#[source] serde_json::Error),
    #[error("error converting YAML to JSON: yaml: {0}")]
    Yaml(#[source] Box<serde_saphyr::Error>),
}

impl Document {
    /// A JSON body.
    pub fn from_json(body: &[u8]) -> Result<Self, DocumentError> {
        let mut parse = Parse::default();
        let mut json = serde_json::Deserializer::from_slice(body);
        let value = match Node(&mut parse).deserialize(&mut json) {
            Err(_) if parse.is_too_deep() => return Err(DocumentError::TooDeep { max: MAX_DEPTH }),
            parsed => parsed.map_err(DocumentError::Json)?,
        };
        json.end().map_err(DocumentError::Json)?;
        Ok(Self { value, duplicates: parse.duplicates })
    }

    /// A YAML body, or JSON where it begins with a brace (as kubectl sends it under a YAML media type).
    pub fn from_yaml(body: &[u8]) -> Result<Self, DocumentError> {
        if body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{')
            && let Ok(document) = Self::from_json(body)
        {
            return Ok(document);
        }
        match yaml(body, serde_saphyr::DuplicateKeyPolicy::Error) {
            Ok(value) => Ok(Self { value, duplicates: Vec::new() }),
            // the YAML parser sees duplicates itself and stops at the first: take the last one and report that one
            Err(error) if is_depth_error(&error) => Err(DocumentError::TooDeep { max: MAX_YAML_DEPTH }),
            Err(first) => match yaml(body, serde_saphyr::DuplicateKeyPolicy::LastWins) {
                Ok(value) => Ok(Self { value, duplicates: vec![duplicate_key(&first)] }),
                Err(error) if is_depth_error(&error) => Err(DocumentError::TooDeep { max: MAX_YAML_DEPTH }),
                Err(error) => Err(DocumentError::Yaml(Box::new(error))),
            },
        }
    }

    /// `duplicate field "spec.foo"`, one text a duplicate: for a strict decoding error or for warnings.
    pub fn duplicate_messages(&self) -> impl Iterator<Item = String> + '_ {
        self.duplicates.iter().map(|path| format!("duplicate field {}", crate::go::quote(path)))
    }
}

/// `unknown field "spec.foo"` for every path that pruning returned.
pub fn unknown_messages(paths: &[String]) -> impl Iterator<Item = String> + '_ {
    paths.iter().map(|path| format!("unknown field {}", crate::go::quote(path)))
}

/// The text of the 400 for `fieldValidation=Strict`: `strict decoding error: unknown field "a", duplicate field "b"`.
pub fn strict_decoding_error(messages: &[String]) -> String {
    format!("strict decoding error: {}", messages.join(", "))
}

/// Whether `value` has more than `max` objects and lists inside each other; `steps` grows by what was visited. Stops at
/// the limit, so it is safe on a value of any depth.
pub(crate) fn exceeds_depth(value: &Value, max: usize, steps: &mut usize) -> bool {
    *steps += 1;
    match value {
        Value::Object(map) => max == 0 || map.values().any(|value| exceeds_depth(value, max - 1, steps)),
        Value::Array(items) => max == 0 || items.iter().any(|value| exceeds_depth(value, max - 1, steps)),
        _ => false,
    }
}

fn yaml(body: &[u8], policy: serde_saphyr::DuplicateKeyPolicy) -> Result<Value, serde_saphyr::Error> {
    let budget = serde_saphyr::budget! { max_depth: MAX_YAML_DEPTH };
    let options = serde_saphyr::options! { duplicate_keys: policy, budget: budget };
    serde_saphyr::with_deserializer_from_slice_with_options(body, options, |de| {
        Node(&mut Parse::default()).deserialize(de)
    })
}

fn is_depth_error(error: &serde_saphyr::Error) -> bool {
    use serde_saphyr::budget::BudgetBreach;
    match error.without_snippet() {
        serde_saphyr::Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => true,
        // the scanner has a limit of its own for brackets, which it reports as a text only
        other => other.to_string().contains("recursion limit exceeded"),
    }
}

fn duplicate_key(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    match line.split_once("duplicate mapping key: ") {
        Some((_, rest)) => rest.split(", set ").next().unwrap_or(rest).to_owned(),
        None => line.to_owned(),
    }
}

#[derive(Default)]
struct Parse {
    path: FieldPath,
    duplicates: Vec<String>,
    /// After an error: how deep it was found.
    depth: usize,
}

impl Parse {
    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.is_too_deep() { Err(E::custom("nested too deeply")) } else { Ok(()) }
    }

    fn is_too_deep(&self) -> bool {
        self.depth > MAX_DEPTH
    }

    fn duplicate(&mut self) {
        let path = self.path.as_str();
        if self.duplicates.len() < MAX_DUPLICATES && !self.duplicates.iter().any(|d| d == path) {
            self.duplicates.push(path.to_owned());
        }
    }
}

struct Node<'a>(&'a mut Parse);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    /// Whole numbers beyond int64 are floats in Kubernetes.
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or_else(|_| (value as f64).into(), Value::from))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or_else(|_| (value as f64).into(), Value::from))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or_else(|_| (value as f64).into(), Value::from))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let parse = self.0;
        parse.enter()?;
        let mut items = Vec::new();
        loop {
            let mark = parse.path.index(items.len());
            let item = seq.next_element_seed(Node(parse))?;
            parse.path.reset(mark);
            match item {
                Some(item) => items.push(item),
                None => break,
            }
        }
        parse.depth -= 1;
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let parse = self.0;
        parse.enter()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<Key>()? {
            let mark = parse.path.field(&key.0);
            if map.contains_key(&key.0) {
                parse.duplicate();
            }
            let value = entries.next_value_seed(Node(parse))?;
            parse.path.reset(mark);
            map.insert(key.0, value);
        }
        parse.depth -= 1;
        Ok(Value::Object(map))
    }
}

/// A key; YAML's numbers and booleans become their text.
struct Key(String);

impl<'de> serde::Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() > 1 << 20 {
            return Err(D::Error::custom("key is too long"));
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_duplicate_is_named_once_and_the_last_value_wins() {
        let body = br#"{"spec":{"a":1,"a":2,"a":3,"l":[{"n":1},{"n":1,"n":2}]},"spec2":null,"spec2":1.5}"#;
        let document = Document::from_json(body).unwrap();
        assert_eq!(document.duplicates, ["spec.a", "spec.l[1].n", "spec2"]);
        assert_eq!(document.value, json!({"spec": {"a": 3, "l": [{"n": 1}, {"n": 2}]}, "spec2": 1.5}));
        assert_eq!(document.duplicate_messages().next().unwrap(), r#"duplicate field "spec.a""#);
    }

    #[test]
    fn numbers_beyond_int64_are_floats() {
        let document = Document::from_json(b"[9223372036854775807, 9223372036854775808, -1]").unwrap();
        assert_eq!(document.value[0], json!(i64::MAX));
        assert!(document.value[1].is_f64());
        assert_eq!(document.value[2], json!(-1));
    }

    #[test]
    fn nesting_is_limited_in_both_languages() {
        for levels in [MAX_DEPTH + 1, 200, 2_000, 100_000] {
            for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
                let text = open.repeat(levels) + "1" + &close.repeat(levels);
                let json = Document::from_json(text.as_bytes()).unwrap_err().to_string();
                assert_eq!(json, "the document is nested deeper than 110 levels", "{levels}");
                let yaml = Document::from_yaml(format!("- {text}").as_bytes()).unwrap_err().to_string();
                assert_eq!(yaml, "the document is nested deeper than 64 levels", "{levels}");
                assert!(Document::from_json(open.repeat(levels).as_bytes()).is_err());
                assert!(Document::from_yaml(open.repeat(levels).as_bytes()).is_err());
            }
        }
        let deepest = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
        assert!(Document::from_json(deepest.as_bytes()).is_ok());
        let deepest = "[".repeat(MAX_YAML_DEPTH) + &"]".repeat(MAX_YAML_DEPTH);
        assert!(Document::from_yaml(deepest.as_bytes()).is_ok());
    }

    #[test]
    fn rubbish_after_the_document_is_refused() {
        assert!(Document::from_json(b"{} x").is_err());
        assert!(Document::from_json(b"").is_err());
    }

    #[test]
    fn yaml_reads_as_json_does() {
        let yaml = b"apiVersion: v1\nspec:\n  n: 3\n  s: \"3\"\n  f: 1.5\n  t: true\n  nothing:\n  l: [a, {b: c}]\n  80: web\n";
        let document = Document::from_yaml(yaml).unwrap();
        assert_eq!(
            document.value,
            json!({"apiVersion": "v1", "spec": {"n": 3, "s": "3", "f": 1.5, "t": true, "nothing": null, "l": ["a", {"b": "c"}], "80": "web"}})
        );
    }

    #[test]
    fn a_duplicate_in_yaml_is_reported_and_the_last_value_wins() {
        let document = Document::from_yaml(b"a: 1\nb: 2\na: 3\n").unwrap();
        assert_eq!(document.value, json!({"a": 3, "b": 2}));
        assert_eq!(document.duplicates, ["a"]);
    }

    #[test]
    fn json_under_a_yaml_media_type_keeps_its_duplicate_paths() {
        let document = Document::from_yaml(br#" {"spec":{"a":1,"a":2}}"#).unwrap();
        assert_eq!(document.duplicates, ["spec.a"]);
    }

    #[test]
    fn strict_errors_read_as_kubernetes_prints_them() {
        let messages: Vec<String> = unknown_messages(&["spec.x".to_owned()]).collect();
        assert_eq!(strict_decoding_error(&messages), r#"strict decoding error: unknown field "spec.x""#);
    }
}
