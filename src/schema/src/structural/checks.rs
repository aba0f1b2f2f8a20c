//! The value validations of one schema node, compiled: bounds, pattern, enumeration, and the junctors.

use std::sync::OnceLock;

use regex::Regex;
use serde_json::{Map, Number, Value};

use super::NodeId;

/// What a value of the right type has to satisfy.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Checks {
    pub(crate) required: Vec<String>,
    pub(crate) enumeration: Vec<Value>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) minimum: Option<Bound>,
    pub(crate) maximum: Option<Bound>,
    pub(crate) multiple_of: Option<Number>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
    pub(crate) unique_items: bool,
}

/// A pattern. Compiled it takes tens of kilobytes, so that is only done when a value meets it.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) source: String,
    regex: OnceLock<Regex>,
}

impl Pattern {
    /// Checks that the source compiles.
    fn new(source: &str) -> Result<Self, regex::Error> {
        crate::re2::compile(source)?;
        Ok(Self { source: source.to_owned(), regex: OnceLock::new() })
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        let compile = || crate::re2::compile(&self.source).expect("it compiled when the schema was read");
        self.regex.get_or_init(compile).is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

#[derive(Debug, PartialEq)]
pub(crate) struct Bound {
    pub(crate) value: Number,
    pub(crate) exclusive: bool,
}

/// `allOf`, `anyOf`, `oneOf`, `not`: schemas that say nothing but value validations.
#[derive(Debug, Default)]
pub(crate) struct Junctors {
    pub(crate) all_of: Vec<NodeId>,
    pub(crate) any_of: Vec<NodeId>,
    pub(crate) one_of: Vec<NodeId>,
    pub(crate) not: Option<NodeId>,
}

impl Checks {
    /// Reads the keywords of `schema`. A pattern that does not compile is left out, and its error returned too.
    pub(crate) fn read(schema: &Map<String, Value>) -> (Self, Option<regex::Error>) {
        let size = |key: &str| schema.get(key).and_then(as_size);
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or_default();
        let bound = |key: &str, exclusive: &str| {
            let value = schema.get(key)?.as_number()?.clone();
            Some(Bound { value, exclusive: flag(exclusive) })
        };
        let pattern = match schema.get("pattern").and_then(Value::as_str) {
            Some(source) if !source.is_empty() => Some(Pattern::new(source)),
            _ => None,
        };
        let (pattern, error) = match pattern.transpose() {
            Ok(pattern) => (pattern, None),
            Err(error) => (None, Some(error)),
        };
        let checks = Self {
            required: strings(schema.get("required")),
            enumeration: schema.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
            pattern,
            minimum: bound("minimum", "exclusiveMinimum"),
            maximum: bound("maximum", "exclusiveMaximum"),
            multiple_of: schema.get("multipleOf").and_then(Value::as_number).cloned(),
            min_length: size("minLength"),
            max_length: size("maxLength"),
            min_items: size("minItems"),
            max_items: size("maxItems"),
            min_properties: size("minProperties"),
            max_properties: size("maxProperties"),
            unique_items: flag("uniqueItems"),
        };
        (checks, error)
    }
}

/// Sizes may be written `5.0`.
fn as_size(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().filter(|f| *f >= 0.0).map(|f| f as u64))
}

pub(crate) fn strings(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
