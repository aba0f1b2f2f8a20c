//! The same requests to a real kube-apiserver and to ours; every difference is a failure.
//!
//! The scenarios are data (`tests/parity/*.json`): requests in order, with values captured from earlier answers. What
//! differs by nature (uids, revisions, times) is made equal before comparing; what differs on purpose stands in
//! `waived.json` with its reason. Run with `NUBIUM_KUBE_APISERVER=<folder with kube-apiserver and etcd>`; without it
//! the test says aloud that it is skipped.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is a failure")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use support::{Answer, Caller, Ours, peer};

/// One request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// `POST /api/v1/namespaces?dryRun=All`
    request: String,
    /// Media type of the body.
    #[serde(rename = "type")]
    media: Option<String>,
    accept: Option<String>,
    body: Option<Value>,
    /// Values to keep from the answer: name → JSON pointer. Used as `{name}` later.
    #[serde(default)]
    save: BTreeMap<String, String>,
    /// Repeat until the answer has this code, at most for a few seconds; for what happens in the background.
    until: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Waiver {
    /// The request, as the scenario has it.
    request: String,
    file: String,
    /// JSON pointers that are not compared; `""` is the whole answer.
    ignore: Vec<String>,
    reason: String,
}

fn read<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The families of requests, in the order they run: verbs, and HTTP as such. Each begins with what it needs.
const FAMILIES: [&str; 10] =
    ["definitions", "create", "get", "list", "watch", "update", "patch", "apply", "delete", "http"];

#[tokio::test(flavor = "multi_thread")]
async fn answers_as_kube_apiserver_does() {
    let Some(binaries) = peer::folder() else {
        eprintln!("SKIPPED: set NUBIUM_KUBE_APISERVER to a folder with kube-apiserver and etcd to compare with them");
        return;
    };
    let waivers: Vec<Waiver> = read("waived.json");
    let (theirs, ours) = (peer::Peer::start(&binaries).await, Ours::start().await);
    let mut differences = Vec::new();
    for family in FAMILIES {
        let only = std::env::var("NUBIUM_PARITY_ONLY").ok();
        if only.is_some_and(|only| only != family && family != "definitions") {
            continue;
        }
        let file = format!("{family}.json");
        let steps: Vec<Step> = read(&file);
        println!("{family}: {} requests", steps.len());
        assert!(steps.len() >= 20, "{family} has only {} requests", steps.len());
        let (expected, found) = (play(&theirs.admin, &steps).await, play(&ours.admin, &steps).await);
        for ((step, expected), found) in steps.iter().zip(expected).zip(found) {
            let waived: Vec<&Waiver> =
                waivers.iter().filter(|waiver| waiver.file == family && waiver.request == step.request).collect();
            let (mut expected, mut found) = (expected, found);
            for pointer in waived.iter().flat_map(|waiver| &waiver.ignore) {
                blank(&mut expected, pointer);
                blank(&mut found, pointer);
            }
            if expected != found {
                let mut text = format!("{family}: {}\n", step.request);
                compare(&expected, &found, "", &mut text);
                differences.push(text);
            }
        }
    }
    for waiver in &waivers {
        assert!(!waiver.reason.is_empty(), "{}: a waiver needs a reason", waiver.request);
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// Sends every request in order; answers what came back, made comparable.
async fn play(caller: &Caller, steps: &[Step]) -> Vec<Value> {
    let mut saved: BTreeMap<String, String> = BTreeMap::new();
    let mut answers = Vec::new();
    for step in steps {
        let fill = |text: &str| {
            saved.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
        };
        let request = fill(&step.request);
        let (method, path) = request.split_once(' ').expect("a method and a path");
        let body = step.body.as_ref().map(|body| match body {
            Value::String(text) => Value::String(fill(text)),
            body => serde_json::from_str(&fill(&body.to_string())).expect("still JSON"),
        });
        let media = step.media.as_deref().unwrap_or("application/json");
        let mut headers = vec![("accept", step.accept.as_deref().unwrap_or("application/json"))];
        if body.is_some() {
            headers.push(("content-type", media));
        }
        let mut answer = caller.send(method, path, &headers, body.as_ref()).await;
        for _ in 0..100 {
            if step.until.is_none_or(|code| code == answer.code) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            answer = caller.send(method, path, &headers, body.as_ref()).await;
        }
        let value = answer.json();
        for (name, pointer) in &step.save {
            let found = value.pointer(pointer).and_then(Value::as_str);
            let found = found.unwrap_or_else(|| panic!("{}: no {pointer} in {}", step.request, answer.text));
            saved.insert(name.clone(), found.to_owned());
        }
        answers.push(comparable(&answer, path.contains("watch=true"), &saved));
    }
    answers
}

fn comparable(answer: &Answer, is_watch: bool, saved: &BTreeMap<String, String>) -> Value {
    let mut body = if is_watch && answer.code == 200 {
        Value::Array(answer.lines())
    } else if answer.content_type.starts_with("application/json") {
        answer.json()
    } else {
        answer.text.trim().into()
    };
    normalise(&mut body, "", saved);
    let warnings: Vec<Value> = answer.warnings.iter().map(|warning| warning.as_str().into()).collect();
    let content_type = answer.content_type.split(';').next().unwrap_or_default();
    json!({"code": answer.code, "warnings": warnings, "type": content_type, "body": body})
}

/// Makes equal what differs by nature.
fn normalise(value: &mut Value, key: &str, saved: &BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            // Go writes some empty things that say nothing.
            map.retain(|key, value| !(value.is_null() && key == "creationTimestamp"));
            for (key, value) in map.iter_mut() {
                normalise(value, key, saved);
            }
            // Go walks maps in any order and looks at some things twice.
            if let Some(Value::Array(causes)) = map.get_mut("details").and_then(|details| details.get_mut("causes")) {
                causes.sort_by_key(Value::to_string);
                causes.dedup();
                if causes.len() > 1 {
                    map.insert("message".to_owned(), "<the causes>".into());
                }
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| normalise(item, key, saved));
            match key {
                // Ordered by their times, which are seconds.
                "managedFields" => items.sort_by_key(|entry| {
                    ["manager", "operation", "subresource", "apiVersion"].map(|field| entry[field].to_string())
                }),
                "resources" => items.sort_by_key(|resource| resource["name"].to_string()),
                "verbs" => items.sort_by_key(Value::to_string),
                _ => {}
            }
        }
        Value::String(text) => {
            let fixed = match key {
                "uid" if text.len() == 36 => Some("<uid>"),
                "resourceVersion" if text.parse::<u64>().is_ok_and(|number| number > 0) => Some("<revision>"),
                "continue" if !text.is_empty() => Some("<token>"),
                _ if is_time(text) => Some("<time>"),
                "cells" if is_age(text) => Some("<age>"),
                _ => None,
            };
            if let Some(fixed) = fixed {
                *text = fixed.to_owned();
            }
            if let Some(at) = text.find("drawn-").filter(|at| text.len() >= at + 11) {
                text.replace_range(at + 6..at + 11, "xxxxx");
            }
            for (name, value) in saved.iter().filter(|(_, value)| value.len() > 1) {
                *text = text.replace(value.as_str(), &format!("<{name}>"));
            }
        }
        _ => {}
    }
}

fn is_time(text: &str) -> bool {
    text.len() >= 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T' && text.as_bytes()[4] == b'-'
}

/// `5s`, `2m30s`
fn is_age(text: &str) -> bool {
    let unit = |c: char| matches!(c, 's' | 'm' | 'h' | 'd');
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(unit)
        && text.chars().all(|c| c.is_ascii_digit() || unit(c))
}

fn blank(value: &mut Value, pointer: &str) {
    if let Some(found) = value.pointer_mut(pointer) {
        *found = "<waived>".into();
    } else if let Some((parent, key)) = pointer.rsplit_once('/')
        && let Some(Value::Object(parent)) = value.pointer_mut(parent)
    {
        parent.insert(key.to_owned(), "<waived>".into());
    }
}

/// Writes down where two values differ.
fn compare(expected: &Value, found: &Value, path: &str, out: &mut String) {
    match (expected, found) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => compare(a, b, &format!("{path}/{key}"), out),
                    (Some(a), None) => out.push_str(&format!("  {path}/{key}: missing, expected {a}\n")),
                    (None, Some(b)) => out.push_str(&format!("  {path}/{key}: unexpected {b}\n")),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(a, b, &format!("{path}/{index}"), out);
            }
        }
        (a, b) if a != b => out.push_str(&format!("  {path}:\n    expected {a}\n    found    {b}\n")),
        _ => {}
    }
}
