//! Calls on places and sets of them.

use std::cmp::Ordering;

use nubium_schema::ownership::{
    PathElement, Set,
    fieldpath::{Filter, compare, equal},
};
use serde_json::Value;

use super::{
    call::{Call, element, path, same},
    schemas::Schemas,
};

pub fn order_of_values(call: &Call) -> Result<(), String> {
    let (left, right) = (call.get("left"), call.get("right"));
    match call.op.as_str() {
        "order" => same_order(compare(left, right), call.get("out")),
        "equal" => same(equal(left, right), call.flag("out")),
        op => Err(format!("unknown operation {op}")),
    }
}

fn same_order(got: Ordering, want: &Value) -> Result<(), String> {
    same(got as i64, want.as_i64().unwrap())
}

pub fn answer(call: &Call, schemas: &Schemas) -> Result<(), String> {
    let pair = |operation: fn(&Set, &Set) -> Set| {
        same(operation(&call.set("set"), &call.set("other")).to_json(), call.text("out").to_owned())
    };
    match call.op.as_str() {
        "union" => pair(Set::union),
        "intersection" => pair(Set::intersection),
        "difference" => pair(Set::difference),
        "recursive_difference" => pair(Set::recursive_difference),
        "leaves" => same(call.set("set").leaves().to_json(), call.text("out").to_owned()),
        "declared_parents" => {
            let set = call.set("set").with_declared_parents(&schemas.of(call).root);
            same(set.to_json(), call.text("out").to_owned())
        }
        "filter" => {
            let set = Filter::Only(patterns(call.get("patterns"))).filter(&call.set("set"));
            same(set.to_json(), call.text("out").to_owned())
        }
        "order" => same_order(element(call.get("left")).cmp(&element(call.get("right"))), call.get("out")),
        "path" => same(path(call.get("path")).to_string(), call.text("out").to_owned()),
        "element" => match (PathElement::from_key(call.text("text")), call.error()) {
            (Ok(Some(element)), None) => {
                same(element.to_key(), call.text("out").to_owned())?;
                call.get("readable").as_str().map_or(Ok(()), |readable| same(element.to_string(), readable.to_owned()))
            }
            (Ok(None), Some("unknown path element type")) | (Err(_), Some(_)) => Ok(()),
            (got, want) => Err(format!("{} gave {got:?}, not {want:?}", call.text("text"))),
        },
        "from_json" => {
            let set = serde_json::from_str(call.text("text")).ok().and_then(|fields| Set::from_fields(&fields).ok());
            match (set, call.error()) {
                (Some(set), None) => {
                    same(set.to_json(), call.text("out").to_owned())?;
                    same(set.to_string(), call.text("places").to_owned())
                }
                (None, Some(_)) => Ok(()),
                (got, want) => Err(format!("gave {got:?}, not {want:?}")),
            }
        }
        op => Err(format!("unknown operation {op}")),
    }
}

pub fn patterns(patterns: &Value) -> Vec<Vec<Option<PathElement>>> {
    let step = |key: &Value| (key != "*").then(|| element(key));
    patterns.as_array().unwrap().iter().map(|steps| steps.as_array().unwrap().iter().map(step).collect()).collect()
}
