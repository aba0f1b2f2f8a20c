//! The judge for patches and selectors: what the Go libraries behind kube-apiserver made of random ones.
//!
//! `tests/data/patches.json` was written by `kubernetes-judge/patches`. `NUBIUM_PATCH_CASES` names another file.

use nubium_schema::patch::{apply_json_patch, apply_merge_patch, apply_strategic_merge_patch};
use nubium_schema::{LabelSelector, Structural};
use serde_json::{Map, Value, json};

fn cases() -> Value {
    let text = match std::env::var("NUBIUM_PATCH_CASES") {
        Ok(path) => std::fs::read_to_string(path).expect("the file of cases can be read"),
        Err(_) => include_str!("data/patches.json").to_owned(),
    };
    serde_json::from_str(&text).expect("cases are JSON")
}

/// The kind that the judge patches.
fn thing() -> Structural {
    let text = json!({"type": "string"});
    let schema = json!({"type": "object", "properties": {
        "data": {"type": "object", "additionalProperties": text},
        "finalizers": {"type": "array", "items": text, "x-kubernetes-patch-strategy": "merge"},
        "args": {"type": "array", "items": text},
        "strategy": {"type": "object", "x-kubernetes-patch-strategy": "retainKeys", "properties": {
            "type": text, "rolling": {"type": "object", "properties": {"max": text}}}},
        "whole": {"type": "object", "x-kubernetes-patch-strategy": "replace", "properties": {"a": text, "b": text}},
        "items": {"type": "array", "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name",
            "items": {"type": "object", "properties": {"name": text, "value": text,
                "ports": {"type": "array", "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "port",
                    "items": {"type": "object", "properties": {"port": {"type": "integer"}, "proto": text}}}}}}
    }});
    Structural::from_components("Thing", &Map::from_iter([("Thing".to_owned(), schema)])).expect("a good schema")
}

fn judge(kind: &str, apply: impl Fn(&mut Value, &Value) -> Result<(), nubium_schema::PatchError>) {
    let cases = cases();
    let list = cases[kind].as_array().expect("a list of cases");
    let mut failures = Vec::new();
    for case in list {
        let mut target = case["target"].clone();
        let found = apply(&mut target, &case["patch"]).map(|()| target).map_err(|e| e.to_string());
        let wanted = match case["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(case["result"].clone()),
        };
        if found != wanted {
            failures.push(format!("{} {}\n  to {found:?}\n not {wanted:?}", case["target"], case["patch"]));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} {kind} patches differ:\n{}",
        failures.len(),
        list.len(),
        failures.join("\n")
    );
    assert!(list.len() > 50, "{} {kind} patches were judged", list.len());
}

#[test]
fn strategic_merge_patches() {
    let schema = thing();
    judge("strategic", |target, patch| apply_strategic_merge_patch(&schema, target, patch));
}

#[test]
fn json_patches() {
    judge("json", apply_json_patch);
}

#[test]
fn merge_patches() {
    judge("merge", apply_merge_patch);
}

#[test]
fn label_selectors() {
    let cases = cases();
    let labels = cases["labels"].as_array().expect("label sets");
    let mut failures = Vec::new();
    for case in cases["selectors"].as_array().expect("selectors") {
        let text = case["text"].as_str().unwrap_or_default();
        let found = LabelSelector::parse(text).map_err(|e| e.to_string());
        let (found, wanted) = match case["error"].as_str() {
            Some(error) => (found.map(|s| json!(s.to_string())), Err(error.to_owned())),
            None => {
                let matches = |s: LabelSelector| {
                    let printed = s.to_string();
                    json!([
                        printed,
                        labels
                            .iter()
                            .map(|l| s.matches_with(|key| l.get(key).and_then(Value::as_str)))
                            .collect::<Vec<_>>()
                    ])
                };
                (found.map(matches), Ok(json!([case["printed"], case["matches"]])))
            }
        };
        if found != wanted {
            failures.push(format!("{text:?} is {found:?}\n  not {wanted:?}"));
        }
    }
    assert!(failures.is_empty(), "{} selectors differ:\n{}", failures.len(), failures.join("\n"));
}
