//! From a CustomResourceDefinition to kinds: names, versions, schemas, columns.

use std::collections::HashSet;
use std::sync::Arc;

use nubium_schema::ownership::TypeRef;
use nubium_schema::{FieldError, Structural};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::columns::Columns;
use super::components::components;
use super::snapshot::Snapshot;
use super::{Behaviour, Kind, Scale, Storage, api_version, prefix};

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn versions(definition: &Value) -> &[Value] {
    definition["spec"]["versions"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The names that are served: those that were accepted, which a change may leave behind what the spec asks for.
fn names(definition: &Value) -> &Value {
    let accepted = &definition["status"]["acceptedNames"];
    if text(accepted, "plural").is_empty() || text(accepted, "kind").is_empty() {
        &definition["spec"]["names"]
    } else {
        accepted
    }
}

/// The kinds of all served versions, and everything wrong with the versions, with the paths of the definition's fields.
/// A definition with errors is refused when it is written. One that is stored already, because it was accepted by a
/// version of this program that knew fewer errors, is served without what is wrong.
pub(crate) fn from_definition(definition: &Value) -> (Vec<Kind>, Vec<FieldError>) {
    let (mut kinds, mut errors) = (Vec::new(), Vec::new());
    let storage = versions(definition).iter().find(|version| version["storage"] == true).unwrap_or(&Value::Null);
    for (index, version) in versions(definition).iter().enumerate() {
        let kind = kind(definition, version, text(storage, "name"), index, &mut errors);
        kinds.extend(kind.filter(|_| version["served"] == true));
    }
    (kinds, errors)
}

fn kind(
    definition: &Value,
    version: &Value,
    storage: &str,
    index: usize,
    errors: &mut Vec<FieldError>,
) -> Option<Kind> {
    let (spec, names) = (&definition["spec"], names(definition));
    let path = format!("spec.versions[{index}].schema.openAPIV3Schema");
    let openapi = &version["schema"]["openAPIV3Schema"];
    if !openapi.is_object() {
        errors.push(FieldError::required(path, ""));
        return None;
    }
    // What all versions share, Kubernetes says of the definition as a whole.
    let shared = versions(definition).iter().all(|other| other["schema"] == version["schema"]);
    let path = if shared { "spec.validation.openAPIV3Schema".to_owned() } else { path };
    let (schema, found) = Structural::from_stored_crd(openapi, components(), &path);
    let is_sound = found.is_empty();
    errors.extend(found);
    errors.extend(super::checks::check_version(version, &schema, &format!("spec.versions[{index}]")));
    let ownership = TypeRef::of_custom_resource(openapi).unwrap_or_else(|error| {
        // a schema that is not structural has been reported already
        errors.extend(is_sound.then(|| FieldError::invalid(path, Value::Null, error.to_string())));
        TypeRef::deduced()
    });
    let (group, plural) = (text(spec, "group").to_owned(), text(names, "plural").to_owned());
    let name = text(version, "name").to_owned();
    let kind = text(names, "kind").to_owned();
    let columns = &version["additionalPrinterColumns"];
    let columns = nubium_schema::table::Columns::new(columns, components()).unwrap_or_else(|error| {
        let field = format!("spec.versions[{index}].additionalPrinterColumns");
        errors.push(FieldError::invalid(field, columns.clone(), error.to_string()));
        nubium_schema::table::Columns::new(&Value::Null, components()).expect("without columns there is the age")
    });
    let selectable = version["selectableFields"].as_array().into_iter().flatten();
    let deprecation = (version["deprecated"] == true).then(|| match version["deprecationWarning"].as_str() {
        Some(said) => said.to_owned(),
        None => format!("{group}/{name} {kind} is deprecated"),
    });
    let subresources = &version["subresources"];
    let scale = subresources["scale"].is_object().then(|| Scale {
        spec: text(&subresources["scale"], "specReplicasPath").to_owned(),
        status: text(&subresources["scale"], "statusReplicasPath").to_owned(),
        selector: subresources["scale"]["labelSelectorPath"].as_str().map(str::to_owned),
    });
    let list_kind = match text(names, "listKind") {
        "" => format!("{kind}List"),
        said => said.to_owned(),
    };
    Some(Kind {
        published: (component_name(&group, &name, &kind), published(openapi, &group, &name, &kind).to_string().into()),
        storage: Storage {
            prefix: prefix(&group, &plural),
            api_version: api_version(&group, storage),
            renames: Vec::new(),
            unchanged_since: 0,
            uniform: shared,
            alias: false,
        },
        version: name,
        singular: text(names, "singular").to_owned(),
        short_names: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        namespaced: text(spec, "scope") == "Namespaced",
        deprecation,
        schema: Arc::new(schema),
        ownership,
        status: subresources["status"].is_object(),
        finalize: false,
        scale,
        columns: Columns::custom(columns),
        selectable: selectable.map(|field| text(field, "jsonPath").trim_start_matches('.').to_owned()).collect(),
        behaviour: Behaviour {
            definition: Some(text(&definition["metadata"], "uid").to_owned()),
            generation: true,
            ..Behaviour::default()
        },
        replaced: watch::Sender::default(),
        group,
        kind,
        list_kind,
        plural,
    })
}

/// `dev.nubium.v1alpha1.Server`, as Kubernetes names the components of custom resources.
fn component_name(group: &str, version: &str, kind: &str) -> String {
    let mut parts: Vec<&str> = group.split('.').rev().collect();
    parts.extend([version, kind]);
    parts.join(".")
}

/// The schema as OpenAPI shows it: with the fields that every object has, and which kind it is.
fn published(openapi: &Value, group: &str, version: &str, kind: &str) -> Value {
    let mut schema = openapi.clone();
    if !schema["properties"].is_object() {
        schema["properties"] = Value::Object(Map::new());
    }
    let secret = &components()["io.k8s.api.core.v1.Secret"]["properties"];
    for field in ["apiVersion", "kind"] {
        schema["properties"][field] = secret[field].clone();
    }
    schema["properties"]["metadata"] = json!({
        "description": "Standard object's metadata.",
        "allOf": [{"$ref": format!("#/components/schemas/{}", nubium_schema::structural::OBJECT_META)}],
    });
    schema["x-kubernetes-group-version-kind"] = json!([{"group": group, "version": version, "kind": kind}]);
    schema
}

/// What the server says about a definition's names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Acceptance {
    /// The names that the definition has: each that is free as asked for, each that is not as before.
    pub names: Value,
    /// Reason and message of the refusal; `None` when every name is free.
    pub conflict: Option<(String, String)>,
}

impl Acceptance {
    /// Which of the definition's names are free in its group, given what is established already and which names it
    /// has. Each name is accepted or refused by itself; the last refusal is the one that is reported.
    pub fn of(definition: &Value, accepted: &Value, established: &Snapshot) -> Self {
        let (spec, own) = (&definition["spec"], definition["metadata"]["name"].as_str().unwrap_or_default());
        let wanted = &spec["names"];
        let others = established
            .kinds()
            .filter(|kind| kind.group == text(spec, "group") && format!("{}.{}", kind.plural, kind.group) != own);
        let (mut resources, mut kinds) = (HashSet::new(), HashSet::new());
        for other in others {
            resources.extend([other.plural.as_str(), &other.singular]);
            resources.extend(other.short_names.iter().map(String::as_str));
            kinds.extend([other.kind.as_str(), &other.list_kind]);
        }
        let mut names = if accepted.is_object() { accepted.clone() } else { json!({"plural": "", "kind": ""}) };
        let mut conflict = None;
        let mut refuse = |reason: &str, taken: &[&str]| {
            let taken: Vec<String> = taken.iter().map(|name| format!("{name:?} is already in use")).collect();
            let message = if taken.len() == 1 { taken.concat() } else { format!("[{}]", taken.join(", ")) };
            conflict = Some((reason.to_owned(), message));
        };
        for (field, reason, taken) in [
            ("plural", "PluralConflict", &resources),
            ("singular", "SingularConflict", &resources),
            ("shortNames", "ShortNamesConflict", &resources),
            ("kind", "KindConflict", &kinds),
            ("listKind", "ListKindConflict", &kinds),
        ] {
            let wanted = &wanted[field];
            let known = texts(&names[field]);
            let list = wanted.as_array().map(Vec::as_slice).unwrap_or(std::slice::from_ref(wanted));
            let in_use: Vec<&str> = list
                .iter()
                .filter_map(Value::as_str)
                .filter(|name| {
                    names[field] != *name && !known.iter().any(|known| known == name) && taken.contains(name)
                })
                .collect();
            if in_use.is_empty() {
                put(&mut names, field, wanted);
            } else {
                refuse(reason, &in_use);
            }
        }
        put(&mut names, "categories", &wanted["categories"]);
        Self { names, conflict }
    }
}

fn put(names: &mut Value, field: &str, wanted: &Value) {
    match names.as_object_mut() {
        Some(names) if wanted.is_null() => drop(names.remove(field)),
        Some(names) => drop(names.insert(field.to_owned(), wanted.clone())),
        None => {}
    }
}
