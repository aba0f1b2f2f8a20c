//! The judge: what kube-apiserver 1.35's own code pruned, defaulted and found, for random schemas and objects.
//!
//! `tests/data/kubernetes.json` holds the cases with its answers (made once by a Go program that calls
//! apiextensions-apiserver; see the case format below). Here the same has to come out: the pruned and the defaulted
//! object, the unknown fields, and every error text of creates and updates, whatever their order.
//! `NUBIUM_KUBERNETES_CASES` names another file of cases.

use std::collections::BTreeSet;

use nubium_schema::Structural;
use serde_json::{Map, Value, json};

fn cases() -> Vec<Value> {
    let text = match std::env::var("NUBIUM_KUBERNETES_CASES") {
        Ok(path) => std::fs::read_to_string(path).expect("the file of cases can be read"),
        Err(_) => include_str!("data/kubernetes.json").to_owned(),
    };
    serde_json::from_str(&text).expect("cases are JSON")
}

fn components() -> Map<String, Value> {
    let meta = json!({"type": "object", "properties": {"name": {"type": "string"}}});
    Map::from_iter([(nubium_schema::structural::OBJECT_META.to_owned(), meta)])
}

/// Go writes the float 2.0 as 2.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(n) if n.is_f64() => match n.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < 1e15 => (float as i64).into(),
            _ => value.clone(),
        },
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
        other => other.clone(),
    }
}

fn texts(errors: &[nubium_schema::FieldError]) -> BTreeSet<String> {
    errors.iter().map(ToString::to_string).collect()
}

fn wanted(texts: &Value) -> BTreeSet<String> {
    texts.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// One line for every difference.
fn compare(what: &str, found: &BTreeSet<String>, wanted: &BTreeSet<String>, failures: &mut Vec<String>) {
    for extra in found.difference(wanted) {
        failures.push(format!("{what}: only we say  {extra}"));
    }
    for missing in wanted.difference(found) {
        failures.push(format!("{what}: only they say {missing}"));
    }
}

#[test]
fn objects_come_out_as_from_a_real_api_server() {
    let mut failures = Vec::new();
    let mut judged = 0;
    for case in cases().iter().filter(|c| c["refused"].as_array().is_none_or(Vec::is_empty)) {
        let name = case["name"].as_str().unwrap_or_default();
        let schema = match Structural::from_crd(&case["schema"], &components(), "schema") {
            Ok(schema) => schema,
            Err(errors) => {
                failures.push(format!("{name}: only we refuse the schema: {:?}", texts(&errors)));
                continue;
            }
        };
        for (i, (object, wants)) in
            case["objects"].as_array().unwrap().iter().zip(case["wanted"].as_array().unwrap()).enumerate()
        {
            judged += 1;
            let what = format!("{name} object {i}");
            let mut object = object.clone();
            let unknown: BTreeSet<String> = schema.prune(&mut object).into_iter().collect();
            compare(&format!("{what} unknown"), &unknown, &wanted(&wants["unknown"]), &mut failures);
            if plain(&object) != plain(&wants["pruned"]) {
                failures.push(format!("{what}: pruned to\n  {object}\n  not\n  {}", wants["pruned"]));
                continue;
            }
            schema.default(&mut object);
            if plain(&object) != plain(&wants["filled"]) {
                failures.push(format!("{what}: filled to\n  {object}\n  not\n  {}", wants["filled"]));
                continue;
            }
            compare(&what, &texts(&schema.check(&object, None)), &wanted(&wants["errors"]), &mut failures);
        }
        for (i, (update, wants)) in
            case["updates"].as_array().unwrap().iter().zip(case["updateErrors"].as_array().unwrap()).enumerate()
        {
            judged += 1;
            let (mut old, mut new) = (update[0].clone(), update[1].clone());
            for object in [&mut old, &mut new] {
                schema.prune(object);
                schema.default(object);
            }
            let found = texts(&schema.check(&new, Some(&old)));
            compare(&format!("{name} update {i}"), &found, &wanted(wants), &mut failures);
        }
    }
    assert!(judged > 50, "{judged} objects were judged");
    assert!(failures.is_empty(), "{} differences in {judged}:\n{}", failures.len(), failures.join("\n"));
}

/// A refused schema is refused here too, though not for every one of the reasons: costs of rules are not estimated.
#[test]
fn schemas_that_kubernetes_refuses_are_refused() {
    let mut failures = Vec::new();
    for case in cases() {
        let reasons = wanted(&case["refused"]);
        let other = |r: &&String| !r.contains("cost");
        if reasons.iter().filter(other).count() == 0 {
            continue;
        }
        if Structural::from_crd(&case["schema"], &components(), "schema").is_ok() {
            failures.push(format!("{}: {reasons:?}", case["name"]));
        }
    }
    assert!(failures.is_empty(), "{} schemas are only refused by Kubernetes:\n{}", failures.len(), failures.join("\n"));
}
