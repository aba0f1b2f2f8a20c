//! The built-in kinds: their description, read from `data/`, and what they do beyond their schema, one file each.

mod config_map;
mod definition;
mod event;
mod lease;
mod namespace;
mod payload;
mod qualified;
mod secret;

use std::sync::Arc;

use nubium_schema::Structural;
use nubium_schema::names::NameRule;
use nubium_schema::ownership::TypeRef;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::columns::{Column, Columns};
use super::components::components;
use super::rules::{Builtin, NoRules};
use super::{Behaviour, Kind, Storage, api_version, prefix};

pub(crate) use definition::{accept_names, set_condition};
pub(crate) use qualified::FINALIZER as NAMESPACE_FINALIZER;

/// The rules of a built-in kind.
fn rules(group: &str, plural: &str) -> &'static dyn Builtin {
    match (group, plural) {
        ("", "namespaces") => &namespace::Namespace,
        ("", "secrets") => &secret::Secret,
        ("", "configmaps") => &config_map::ConfigMap,
        ("", "events") => &event::Event { fields: &event::CORE, strict: false },
        ("events.k8s.io", "events") => &event::Event { fields: &event::NEWER, strict: true },
        ("coordination.k8s.io", "leases") => &lease::Lease,
        ("apiextensions.k8s.io", "customresourcedefinitions") => &definition::Definition,
        _ => &NoRules,
    }
}

/// An entry of `data/kinds.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    group: String,
    version: String,
    kind: String,
    plural: String,
    singular: String,
    #[serde(default)]
    short_names: Vec<String>,
    #[serde(default)]
    categories: Vec<String>,
    namespaced: bool,
    schema: String,
    protobuf: Option<String>,
    #[serde(default)]
    status: bool,
    #[serde(default)]
    finalize: bool,
    #[serde(default)]
    generation: bool,
    names: Names,
    #[serde(default)]
    unconditional_update: bool,
    #[serde(default)]
    create_on_update: bool,
    #[serde(default)]
    fields: Vec<String>,
    #[serde(default)]
    defaults: Map<String, Value>,
    stored_as: Option<StoredAs>,
    columns: Vec<Column>,
    /// Whether the table begins with the object's name.
    #[serde(default = "yes")]
    name: bool,
    /// Whether it ends with its age.
    #[serde(default = "yes")]
    age: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Names {
    Label,
    Subdomain,
}

#[derive(Deserialize)]
struct StoredAs {
    group: String,
    version: String,
    renames: Map<String, Value>,
}

fn yes() -> bool {
    true
}

/// Compiles every built-in kind.
pub(super) fn all() -> Vec<Arc<Kind>> {
    let entries: Vec<Entry> =
        serde_json::from_str(include_str!("../../../data/kinds.json")).expect("data/kinds.json is checked by a test");
    entries.into_iter().map(|entry| Arc::new(kind(entry))).collect()
}

fn kind(entry: Entry) -> Kind {
    let schema = Structural::from_components(&entry.schema, components()).expect("published components compile");
    let reference = json!({"$ref": format!("#/components/schemas/{}", entry.schema)});
    let resolve = |reference: &str| components().get(reference.rsplit('/').next()?).cloned();
    let ownership = TypeRef::from_openapi(&reference, &resolve).expect("published components have an ownership kind");
    let (group, version) = match &entry.stored_as {
        Some(stored) => (stored.group.as_str(), stored.version.as_str()),
        None => (entry.group.as_str(), entry.version.as_str()),
    };
    let renames = entry.stored_as.iter().flat_map(|stored| &stored.renames);
    let storage = Storage {
        prefix: prefix(group, &entry.plural),
        api_version: api_version(group, version),
        renames: renames.map(|(to, from)| (to.clone(), from.as_str().unwrap_or_default().to_owned())).collect(),
        unchanged_since: 0,
        uniform: true,
        alias: entry.stored_as.is_some(),
    };
    let mut columns: Vec<Column> = entry.name.then(Column::name).into_iter().collect();
    columns.extend(entry.columns);
    columns.extend(entry.age.then(Column::age));
    Kind {
        list_kind: format!("{}List", entry.kind),
        published: (entry.schema.clone(), components()[&entry.schema].to_string().into()),
        schema: Arc::new(schema),
        ownership,
        deprecation: None,
        status: entry.status,
        finalize: entry.finalize,
        scale: None,
        selectable: entry.fields,
        replaced: watch::Sender::default(),
        behaviour: Behaviour {
            names: match entry.names {
                Names::Label => NameRule::Label,
                Names::Subdomain => NameRule::Subdomain,
            },
            definition: None,
            message: entry.protobuf,
            generation: entry.generation,
            unconditional_update: entry.unconditional_update,
            create_on_update: entry.create_on_update,
            defaults: entry.defaults,
            rules: rules(&entry.group, &entry.plural),
        },
        group: entry.group,
        version: entry.version,
        kind: entry.kind,
        plural: entry.plural,
        singular: entry.singular,
        short_names: entry.short_names,
        categories: entry.categories,
        namespaced: entry.namespaced,
        columns: Columns::built_in(columns),
        storage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::BuiltIn;

    #[test]
    fn every_built_in_kind_compiles_and_says_how_it_is_stored() {
        let kinds = all();
        let names: Vec<String> = kinds.iter().map(|kind| kind.subject().qualified()).collect();
        assert_eq!(
            names,
            [
                "namespaces",
                "secrets",
                "configmaps",
                "events",
                "events.events.k8s.io",
                "leases.coordination.k8s.io",
                "customresourcedefinitions.apiextensions.k8s.io",
            ]
        );
        for built_in in [BuiltIn::Namespace, BuiltIn::Definition, BuiltIn::Event] {
            let (group, plural) = built_in.resource();
            assert!(kinds.iter().any(|kind| kind.is(group, plural)), "{built_in:?}");
        }
        let [core, other] = [&kinds[3], &kinds[4]];
        assert_eq!(core.storage.prefix, other.storage.prefix, "one store for both groups' events");
        let stored = other.to_stored(&json!({"note": "n", "regarding": {"name": "x"}, "reason": "r"})).into_owned();
        assert_eq!(stored, json!({"apiVersion": "v1", "message": "n", "involvedObject": {"name": "x"}, "reason": "r"}));
    }
}
