//! The built-in kinds, read from `data/`.

use std::sync::{Arc, LazyLock};

use nubium_schema::Structural;
use nubium_schema::names::NameRule;
use nubium_schema::ownership::TypeRef;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Behaviour, Kind, Storage, api_version, prefix};
use crate::read::table::{Column, Columns};

/// Published OpenAPI components by name: those of the built-in kinds, ObjectMeta, and all that these refer to.
pub(crate) fn components() -> &'static Map<String, Value> {
    static COMPONENTS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
        serde_json::from_str(include_str!("../../data/openapi.json")).expect("data/openapi.json is checked by a test")
    });
    &COMPONENTS
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
        serde_json::from_str(include_str!("../../data/kinds.json")).expect("data/kinds.json is checked by a test");
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
        scale: None,
        selectable: entry.fields,
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
        },
        group: entry.group,
        version: entry.version,
        kind: entry.kind,
        plural: entry.plural,
        singular: entry.singular,
        short_names: entry.short_names,
        categories: entry.categories,
        namespaced: entry.namespaced,
        columns: Columns::BuiltIn(columns),
        storage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let [core, other] = [&kinds[3], &kinds[4]];
        assert_eq!(core.storage.prefix, other.storage.prefix, "one store for both groups' events");
        let stored = other.to_stored(json!({"note": "n", "regarding": {"name": "x"}, "reason": "r"}));
        assert_eq!(stored, json!({"apiVersion": "v1", "message": "n", "involvedObject": {"name": "x"}, "reason": "r"}));
    }
}
