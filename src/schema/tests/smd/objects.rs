//! Calls on objects with their kind.

use nubium_schema::ownership::{
    TypeRef,
    typed::{Duplicates, Typed, Violations},
};
use serde_json::Value;

use super::{
    call::{Call, same},
    schemas::Schemas,
};

pub fn answer(call: &Call, schemas: &Schemas) -> Result<(), String> {
    let ty = schemas.of(call).root;
    if call.op == "validate" {
        let duplicates = if call.flag("duplicates") { Duplicates::Allowed } else { Duplicates::Refused };
        return same_error(Typed::borrowed(call.get("value"), &ty, duplicates).map(drop), call);
    }
    let value = typed(call.get("value"), &ty)?;
    match call.op.as_str() {
        "merge" => match value.merge(&typed(call.get("config"), &ty)?) {
            Ok(merged) => same(merged.value(), call.get("out")).and(same_error(Ok(()), call)),
            Err(violations) => same_error(Err(violations), call),
        },
        "compare" => match value.compare(&typed(call.get("new"), &ty)?) {
            Ok(changes) => {
                let got = [changes.removed.to_json(), changes.modified.to_json(), changes.added.to_json()];
                same(got.join(" "), ["removed", "modified", "added"].map(|part| call.text(part)).join(" "))
            }
            Err(violations) => same_error(Err(violations), call),
        },
        "field_set" => same(value.to_field_set().to_json(), call.text("out").to_owned()),
        "remove" => same(value.remove_items(&call.set("set")).value(), call.get("out")),
        "extract" if call.flag("keys") => {
            same(value.extract_items_with_keys(&call.set("set")).value(), call.get("out"))
        }
        "extract" => same(value.extract_items(&call.set("set")).value(), call.get("out")),
        "reconcile" => match (value.reconcile(&call.set("set")), call.get("out")) {
            (Ok(Some(set)), Value::String(want)) => same(&set.to_json(), want),
            (Ok(None), Value::Null) if call.error().is_none() => Ok(()),
            (Err(_), _) if call.error().is_some() => Ok(()),
            (got, want) => Err(format!("gave {got:?}, not {want}")),
        },
        op => Err(format!("unknown operation {op}")),
    }
}

fn typed<'v>(value: &'v Value, ty: &TypeRef) -> Result<Typed<'v>, String> {
    Typed::borrowed(value, ty, Duplicates::Allowed).map_err(|violations| format!("{value} is refused: {violations}"))
}

/// The texts of errors are compared when there is a single one (maps have no order there) and it is about the value, not the
/// schema. Maps that come from YAML have another type there.
fn same_error(got: Result<(), Violations>, call: &Call) -> Result<(), String> {
    match (got, call.error()) {
        (Ok(()), None) => Ok(()),
        (Err(got), Some(want)) if got.0.len() == 1 && !want.contains('\n') && !want.contains("schema error") => {
            same(got.to_string(), want.replace("map[interface {}]", "map[string]"))
        }
        (Err(_), Some(_)) => Ok(()),
        (Ok(()), Some(want)) => Err(format!("is accepted, not refused: {want}")),
        (Err(got), None) => Err(format!("is refused: {got}")),
    }
}
