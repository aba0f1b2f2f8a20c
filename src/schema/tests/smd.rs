//! structured-merge-diff's own tests, as data: every call that its tests make, with what it gave.
//!
//! `data/smd` is made by `smd-extract` beside this crate's manifest. A call that we mean to answer otherwise is named in
//! [`WAIVED`] with the reason; one that is named and agrees after all is a failure too.

#![allow(clippy::unwrap_used, reason = "a test, helpers included")]

#[path = "smd/call.rs"]
mod call;
#[path = "smd/converters.rs"]
mod converters;
#[path = "smd/fields.rs"]
mod fields;
#[path = "smd/objects.rs"]
mod objects;
#[path = "smd/ownership.rs"]
mod ownership;
#[path = "smd/schemas.rs"]
mod schemas;

use call::Call;
use schemas::Schemas;

/// Calls answered otherwise: the test they come from, the operation, and why.
const WAIVED: &[(&str, &str, &str)] = &[];

fn judge(file: &str, answer: impl Fn(&Call, &Schemas) -> Result<(), String>) {
    let path = format!("{}/tests/data/smd/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Call> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let schemas = Schemas::read(&lines);
    let (mut passed, mut wrong) = (0, Vec::new());
    for (number, call) in lines.iter().enumerate().filter(|(_, call)| call.op != "schema") {
        let waived = WAIVED.iter().any(|(place, op, _)| call.place == *place && call.op == *op);
        match answer(call, &schemas) {
            Ok(()) if waived => wrong.push(format!("line {}: {} of {} agrees now", number + 1, call.op, call.place)),
            Ok(()) => passed += 1,
            Err(_) if waived => {}
            Err(why) => wrong.push(format!("line {}: {} of {}: {why}", number + 1, call.op, call.place)),
        }
    }
    println!("{file}: {passed} calls agree, {} do not", wrong.len());
    assert!(passed > 100, "{path} has lost its calls");
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), passed + wrong.len(), wrong.join("\n"));
}

#[test]
fn values_have_the_same_order() {
    judge("value", |call, _| fields::order_of_values(call));
}

#[test]
fn sets_of_fields_agree() {
    judge("fieldpath", fields::answer);
}

#[test]
fn operations_on_objects_agree() {
    judge("typed", objects::answer);
}

#[test]
fn updates_and_applies_agree() {
    judge("merge", ownership::answer);
}
