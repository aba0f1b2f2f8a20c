//! Histories of writes, judged by what Kubernetes' own field manager makes of them.
//!
//! `data/managed_fields` is made by `smd-extract/chain`. Every step starts from the object that Kubernetes has at that
//! point, so that each is judged by itself: the whole object with its managedFields and their times, or the error's text.

#![allow(clippy::unwrap_used, reason = "a test, helpers included")]

use nubium_schema::ownership::{Request, Set, TypeRef, after_update, apply};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct History {
    name: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    verb: String,
    manager: String,
    version: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    force: bool,
    now: String,
    object: Value,
    /// What Kubernetes says, if it refuses.
    #[serde(default)]
    error: String,
    /// What it has afterwards, if it does not.
    #[serde(default)]
    out: Value,
}

fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/data/managed_fields/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn histories_go_as_in_kubernetes() {
    let schema: Value = serde_json::from_str(&read("machine.json")).unwrap();
    let kind = TypeRef::of_custom_resource(&schema).unwrap();
    let (mut steps, mut wrong) = (0, Vec::new());
    for line in read("histories.jsonl").lines() {
        let history: History = serde_json::from_str(line).unwrap();
        let mut live = None;
        for (number, step) in history.steps.into_iter().enumerate() {
            steps += 1;
            let got = write(live.clone(), &step, &kind);
            let want = if step.error.is_empty() { Ok(step.out.clone()) } else { Err(step.error.clone()) };
            if got != want {
                let show = |answer: &Result<Value, String>| match answer {
                    Ok(object) => object.to_string(),
                    Err(error) => error.clone(),
                };
                let (got, want) = (show(&got), show(&want));
                wrong.push(format!("{}, step {number}:\n  got  {got}\n  want {want}", history.name));
            }
            if step.error.is_empty() {
                live = Some(step.out);
            }
        }
    }
    println!("{} of {steps} steps agree", steps - wrong.len());
    assert!(steps > 300, "the histories are lost");
    assert!(wrong.is_empty(), "{} of {steps}:\n{}", wrong.len(), wrong.join("\n"));
}

/// What is stored after a step, or why nothing is.
fn write(mut live: Option<Value>, step: &Step, kind: &TypeRef) -> Result<Value, String> {
    let api_version = format!("example.dev/{}", step.version);
    if let Some(live) = &mut live {
        live["apiVersion"] = json!(api_version);
    }
    let reset = Set::of_fields([if step.subresource.is_empty() { "status" } else { "spec" }]);
    let convert = |object: &Value, version: &str| {
        let mut object = object.clone();
        object["apiVersion"] = json!(version);
        ["example.dev/v1", "example.dev/v2"].contains(&version).then(|| (object, kind.clone()))
    };
    let request = Request {
        manager: &step.manager,
        api_version: &api_version,
        kind: "Machine",
        subresource: &step.subresource,
        force: step.force,
        now: &step.now,
        reset_fields: Some(&reset),
        empty: None,
        conversion: Some(&convert),
    };
    let mut stored = match step.verb.as_str() {
        "apply" => apply(live.as_ref(), &step.object, kind, &request).map_err(|error| error.to_string())?,
        _ => {
            let mut new = step.object.clone();
            after_update(live.as_ref(), &mut new, kind, &request).map_err(|error| error.to_string())?;
            new
        }
    };
    if stored["metadata"]["uid"].is_null() {
        stored["metadata"]["uid"] = json!("a1b2");
    }
    Ok(stored)
}
