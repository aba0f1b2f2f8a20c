//! Calls on objects with their owners.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
};

use nubium_schema::ownership::{
    fieldpath::Filter,
    merge::{Conflict, Conflicts, Managers, Owned, Refusal, Updater},
    typed::{Duplicates, Typed},
};
use serde_json::Value;

use super::{
    call::{Call, path, same, set},
    converters::Made,
    fields::patterns,
    schemas::Schemas,
};

/// A manager's name, quoted in messages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Manager(String);

impl Display for Manager {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

pub fn answer(call: &Call, schemas: &Schemas) -> Result<(), String> {
    if call.op == "message" {
        return same(conflicts(call).to_string(), call.text("out").to_owned());
    }
    let kinds = schemas.of(call);
    let typed = |name, duplicates| {
        Typed::borrowed(call.get(name), &kinds.root, duplicates).map_err(|violations| violations.to_string())
    };
    let filters = call.get("filters").as_object().unwrap().iter();
    let filters: BTreeMap<_, _> = filters.map(|(version, filter)| (version.clone(), read_filter(filter))).collect();
    let converter = Made { call, kinds: &kinds };
    let updater = Updater { converter: &converter, filters: &filters };
    let live = typed("live", Duplicates::Allowed)?;
    let (version, manager) = (call.text("version"), Manager(call.text("manager").to_owned()));
    let before = managers(call.get("managers"));
    match call.op.as_str() {
        "update" => {
            let new = typed("object", Duplicates::Allowed)?;
            match updater.update(&live, &new, version, before, manager) {
                Ok(after) => same(print(&after), print(&managers(call.get("owners")))),
                Err(_) if call.error().is_some() => Ok(()),
                Err(error) => Err(format!("failed: {error:?}")),
            }
        }
        "apply" => {
            let config = typed("object", Duplicates::Refused)?;
            match updater.apply(&live, &config, version, before, manager, call.flag("force")) {
                Err(Refusal::Conflicts(got)) => same(got.to_string(), conflicts(call).to_string()),
                Err(_) if call.error().is_some() => Ok(()),
                Err(error) => Err(format!("failed: {error:?}")),
                Ok(_) if call.error().is_some() => Err(format!("is accepted: {:?}", call.error())),
                Ok((object, after)) => {
                    same(print(&after), print(&managers(call.get("owners"))))?;
                    let want = if call.flag("changed") { call.get("out") } else { call.get("live") };
                    same(object.as_ref().map_or(call.get("live"), Typed::value), want)?;
                    same(object.is_some() || call.flag("noop"), call.flag("changed"))
                }
            }
        }
        op => Err(format!("unknown operation {op}")),
    }
}

fn read_filter(filter: &Value) -> Filter {
    match filter.get("without") {
        Some(excluded) => Filter::Without(set(excluded)),
        None => Filter::Only(patterns(&filter["only"])),
    }
}

fn managers(managers: &Value) -> Managers<Manager> {
    let managers = managers.as_object().unwrap().iter().map(|(name, owned)| {
        let (version, applied) = (owned["version"].as_str().unwrap().to_owned(), owned["applied"] == true);
        (Manager(name.clone()), Owned { set: set(&owned["set"]), version, applied })
    });
    managers.collect()
}

fn print(managers: &Managers<Manager>) -> String {
    let lines = managers.iter().map(|(name, Owned { set, version, applied })| {
        format!("\n    {name} {} {version}: {}", if *applied { "applied" } else { "updated" }, set.to_json())
    });
    lines.collect()
}

fn conflicts(call: &Call) -> Conflicts<Manager> {
    let conflicts = call.get("conflicts").as_array().into_iter().flatten().map(|conflict| {
        let manager = Manager(conflict["manager"].as_str().unwrap().to_owned());
        Conflict { manager, path: path(&conflict["path"]) }
    });
    let mut conflicts: Vec<_> = conflicts.collect();
    conflicts.sort_by(|left, right| left.manager.cmp(&right.manager));
    Conflicts(conflicts)
}
