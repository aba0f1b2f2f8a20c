//! Field numbers, out of the `.proto` files that Kubernetes generates from its Go types.
//!
//! These files are regular: one message or field a line, names equal to those in JSON. What they do not say is whether a
//! field is a pointer in Go, that is whether a zero on the wire was meant; the few numbers that are get named here.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::Result;

/// Numeric fields where a zero is a value. In all others the sender writes zero for "not said".
const ZERO_IS_A_VALUE: [(&str, &str); 3] = [
    ("k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta", "deletionGracePeriodSeconds"),
    ("k8s.io.api.coordination.v1.LeaseSpec", "leaseDurationSeconds"),
    ("k8s.io.api.coordination.v1.LeaseSpec", "leaseTransitions"),
];

/// The messages below `roots`: name → field number → `{name, type, repeated?, map?, zero?}`.
pub fn reduce(files: &[PathBuf], roots: &[String]) -> Result<Value> {
    let mut all: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for file in files {
        read(&fs::read_to_string(file)?, &mut all);
    }
    let mut reduced = Map::new();
    let mut open = roots.to_vec();
    while let Some(name) = open.pop() {
        if reduced.contains_key(&name) {
            continue;
        }
        let fields = all.get(&name).ok_or_else(|| format!("no message {name}"))?;
        let types = fields.values().filter_map(|field| field["type"].as_str());
        open.extend(types.filter(|name| name.contains('.')).map(str::to_owned));
        reduced.insert(name, Value::Object(fields.clone()));
    }
    Ok(Value::Object(reduced))
}

fn read(text: &str, all: &mut BTreeMap<String, Map<String, Value>>) {
    let mut package = String::new();
    let mut message = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("package ") {
            package = name.trim_end_matches(';').to_owned();
        } else if let Some(name) = line.strip_prefix("message ") {
            message = format!("{package}.{}", name.trim_end_matches('{').trim());
            all.insert(message.clone(), Map::new());
        } else if let Some((number, field)) = field(line, &package, &message) {
            all.entry(message.clone()).or_default().insert(number, field);
        }
    }
}

fn field(line: &str, package: &str, message: &str) -> Option<(String, Value)> {
    if line.starts_with("//") {
        return None;
    }
    let (left, right) = line.strip_suffix(';')?.split_once(" = ")?;
    let number = right.split_whitespace().next()?.to_owned();
    number.parse::<u32>().ok()?;
    let mut field = Map::new();
    let (kind, name) = if let Some(map) = left.strip_prefix("map<") {
        let (types, name) = map.split_once("> ")?;
        field.insert("map".to_owned(), true.into());
        (types.split_once(", ")?.1, name)
    } else {
        let (label, rest) = left.split_once(' ')?;
        if label == "repeated" {
            field.insert("repeated".to_owned(), true.into());
        }
        rest.split_once(' ')?
    };
    let kind = match kind.strip_prefix('.') {
        Some(full) => full.to_owned(),
        None if kind.contains('.') || kind.starts_with(char::is_lowercase) => kind.to_owned(),
        None => format!("{package}.{kind}"),
    };
    if ZERO_IS_A_VALUE.contains(&(message, name)) {
        field.insert("zero".to_owned(), true.into());
    }
    field.insert("name".to_owned(), json!(name));
    field.insert("type".to_owned(), json!(kind));
    Some((number, Value::Object(field)))
}
