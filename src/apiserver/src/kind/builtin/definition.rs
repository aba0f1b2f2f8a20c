//! CustomResourceDefinitions: names, versions, schemas, and whether they are served.

use nubium_schema::FieldError;
use nubium_schema::names::{dns1035_label, dns1123_subdomain};
use serde_json::{Value, json};

use crate::kind::Snapshot;
use crate::kind::checks::check_definition;
use crate::kind::custom::{Acceptance, from_definition};
use crate::kind::rules::{Builtin, Context};
use crate::object::meta::{self, CLEANUP};

#[derive(Debug)]
pub(super) struct Definition;

impl Builtin for Definition {
    fn default(&self, object: &mut Value) {
        default_names(object);
    }

    /// Says in the status whether the definition is accepted, and in which versions objects are stored.
    fn prepare(&self, context: &Context<'_>, object: &mut Value, old: Option<&Value>) {
        accept_names(context.snapshot, context.now, object, old);
    }

    fn validate(
        &self,
        context: &Context<'_>,
        object: &Value,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Vec<FieldError> {
        check(context.snapshot, object, old, warnings)
    }

    /// Its objects go first.
    fn on_delete(&self, object: &mut Value) {
        let mut finalizers: Vec<String> = meta::finalizers(object).into_iter().map(str::to_owned).collect();
        if !finalizers.iter().any(|held| held == CLEANUP) {
            finalizers.push(CLEANUP.to_owned());
        }
        meta::set_finalizers(object, finalizers);
    }

    fn defines_kinds(&self) -> bool {
        true
    }
}

/// Fills in the names that follow from others.
fn default_names(object: &mut Value) {
    let spec = &mut object["spec"];
    let kind = spec["names"]["kind"].as_str().unwrap_or_default().to_owned();
    if spec["names"].is_object() && !kind.is_empty() {
        let names = &mut spec["names"];
        if names["singular"].as_str().is_none_or(str::is_empty) {
            names["singular"] = kind.to_lowercase().into();
        }
        if names["listKind"].as_str().is_none_or(str::is_empty) {
            names["listKind"] = format!("{kind}List").into();
        }
    }
    if spec.is_object() && spec["conversion"].is_null() {
        spec["conversion"] = json!({"strategy": "None"});
    }
}

/// The status that follows from the spec and from what else is established.
pub(crate) fn accept_names(snapshot: &Snapshot, now: &str, object: &mut Value, live: Option<&Value>) {
    let mut status = live.map(|live| live["status"].clone()).filter(Value::is_object).unwrap_or_else(|| json!({}));
    if let Some(said) = object.get("status").filter(|said| said.is_object()) {
        status = said.clone();
    }
    let accepted = Acceptance::of(object, &status["acceptedNames"], snapshot);
    status["acceptedNames"] = accepted.names;
    let was_established = condition(&status, "Established").is_some_and(|found| found["status"] == "True");
    match &accepted.conflict {
        None => {
            set_condition(&mut status, now, "NamesAccepted", true, "NoConflicts", "no conflicts found");
            let message = "the initial names have been accepted";
            set_condition(&mut status, now, "Established", true, "InitialNamesAccepted", message);
        }
        Some((reason, message)) => {
            set_condition(&mut status, now, "NamesAccepted", false, reason, message);
            if !was_established {
                let message = "not all names are accepted";
                set_condition(&mut status, now, "Established", false, "NotAccepted", message);
            }
        }
    }
    let versions = object["spec"]["versions"].as_array().into_iter().flatten();
    let stored = versions.into_iter().find(|version| version["storage"] == true).map(|version| version["name"].clone());
    if !status["storedVersions"].is_array() {
        status["storedVersions"] = json!([]);
    }
    if let (Some(stored), Some(versions)) = (stored, status["storedVersions"].as_array_mut())
        && !versions.contains(&stored)
    {
        versions.push(stored);
    }
    object["status"] = status;
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Sets a condition; its time changes only with its status.
pub(crate) fn set_condition(status: &mut Value, now: &str, kind: &str, holds: bool, reason: &str, message: &str) {
    let truth = if holds { "True" } else { "False" };
    let since = condition(status, kind).filter(|found| found["status"] == truth);
    let since = since.map_or_else(|| now.into(), |found| found["lastTransitionTime"].clone());
    let next = json!({
        "type": kind, "status": truth, "reason": reason, "message": message, "lastTransitionTime": since,
    });
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else { return };
    match conditions.iter_mut().find(|condition| condition["type"] == kind) {
        Some(found) => *found = next,
        None => conditions.push(next),
    }
}

/// Everything wrong with a definition, its schemas included.
fn check(snapshot: &Snapshot, object: &Value, live: Option<&Value>, warnings: &mut Vec<String>) -> Vec<FieldError> {
    let (spec, names) = (&object["spec"], &object["spec"]["names"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, plural) = (text(&spec["group"]), text(&names["plural"]));
    let mut errors = Vec::new();
    let name = meta::text(object, "name");
    if live.is_none() && name != format!("{plural}.{group}") {
        let why = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid("metadata.name", name, why));
    }
    for why in dns1123_subdomain(&group) {
        errors.push(FieldError::invalid("spec.group", group.as_str(), why));
    }
    if !group.is_empty() && !group.contains('.') {
        errors.push(FieldError::invalid("spec.group", group.as_str(), "should be a domain with at least one dot"));
    }
    if !matches!(spec["scope"].as_str(), Some("Cluster" | "Namespaced")) {
        errors.push(FieldError::not_supported("spec.scope", spec["scope"].clone(), &["Cluster", "Namespaced"]));
    }
    let built_in = snapshot.kinds().any(|kind| kind.group == group && !kind.is_custom());
    if built_in {
        errors.push(FieldError::forbidden("spec.group", "this group belongs to the API server"));
    }
    errors.extend(check_names(names));
    errors.extend(check_versions(spec, object));
    if spec["preserveUnknownFields"] == true {
        let why = "must be false in order to use defaults in the schema";
        errors.push(FieldError::invalid("spec.preserveUnknownFields", true, why));
    }
    errors.extend(check_definition(object, live));
    let (_, schemas) = from_definition(object);
    // What was let in before does not stand in the way of another change.
    let known = live.filter(|live| live["spec"]["versions"] == spec["versions"]);
    match known {
        Some(_) if !schemas.is_empty() => warnings.extend(schemas.iter().map(ToString::to_string)),
        _ => errors.extend(schemas),
    }
    if let Some(live) = live {
        errors.extend(check_change(spec, live));
    }
    errors
}

fn check_names(names: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["plural", "singular", "kind", "listKind"] {
        let name = names[field].as_str().unwrap_or_default();
        let path = format!("spec.names.{field}");
        if name.is_empty() {
            errors.push(FieldError::required(path, ""));
            continue;
        }
        // Kinds are checked in lower case.
        let checked = if matches!(field, "kind" | "listKind") { name.to_lowercase() } else { name.to_owned() };
        for why in dns1035_label(&checked) {
            let why = if matches!(field, "kind" | "listKind") {
                format!("may have mixed case, but should otherwise match: {why}")
            } else {
                why
            };
            errors.push(FieldError::invalid(path.clone(), name, why));
        }
    }
    if names["kind"].is_string() && names["kind"] == names["listKind"] {
        errors.push(FieldError::invalid(
            "spec.names.listKind",
            names["listKind"].clone(),
            "kind and listKind may not be the same",
        ));
    }
    for (field, list) in [("shortNames", &names["shortNames"]), ("categories", &names["categories"])] {
        for (index, name) in list.as_array().into_iter().flatten().enumerate() {
            for why in dns1035_label(name.as_str().unwrap_or_default()) {
                errors.push(FieldError::invalid(format!("spec.names.{field}[{index}]"), name.clone(), why));
            }
        }
    }
    errors
}

fn check_versions(spec: &Value, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let versions = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut seen = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        let name = version["name"].as_str().unwrap_or_default();
        for why in dns1035_label(name) {
            errors.push(FieldError::invalid(format!("spec.versions[{index}].name"), name, why));
        }
        if seen.contains(&name) {
            errors.push(FieldError::invalid("spec.versions", Value::Null, "must contain unique version names"));
        }
        seen.push(name);
    }
    if versions.iter().filter(|version| version["storage"] == true).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", Value::Null, why));
    }
    if object["status"]["storedVersions"].as_array().is_none_or(Vec::is_empty) {
        let why = "must have at least one stored version";
        errors.push(FieldError::invalid("status.storedVersions", Value::Null, why));
    }
    for (index, stored) in object["status"]["storedVersions"].as_array().into_iter().flatten().enumerate() {
        if !seen.contains(&stored.as_str().unwrap_or_default()) {
            let why = "missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in it and removes it from status.storedVersions";
            let why = why.replacen("v1", stored.as_str().unwrap_or_default(), 1);
            errors.push(FieldError::invalid(format!("status.storedVersions[{index}]"), stored.clone(), why));
        }
    }
    errors
}

/// What an established definition may not change.
fn check_change(spec: &Value, live: &Value) -> Vec<FieldError> {
    let established = condition(&live["status"], "Established").is_some_and(|found| found["status"] == "True");
    let mut errors = Vec::new();
    let fixed: &[&str] =
        if established { &["group", "scope", "names.kind", "names.plural"] } else { &["group", "names.plural"] };
    for path in fixed {
        let (new, old) = (meta::at(spec, path), meta::at(&live["spec"], path));
        if new != old {
            errors.push(FieldError::invalid(format!("spec.{path}"), new.clone(), "field is immutable"));
        }
    }
    errors
}
