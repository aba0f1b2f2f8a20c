//! What Kubernetes refuses in a definition besides names and schemas: printer columns, subresources, selectable
//! fields, conversion, and groups that are Kubernetes' own.

use std::collections::HashSet;

use nubium_schema::FieldError;
use nubium_schema::structural::{NodeRef, Structural};
use serde_json::Value;

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
const MAX_SELECTABLE: usize = 8;
const APPROVAL: &str = "api-approved.kubernetes.io";

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

/// What is wrong with one version; `schema` is its schema.
pub(super) fn check_version(version: &Value, schema: &Structural, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (i, column) in version["additionalPrinterColumns"].as_array().into_iter().flatten().enumerate() {
        check_column(column, &format!("{path}.additionalPrinterColumns[{i}]"), &mut errors);
    }
    let scale = &version["subresources"]["scale"];
    if scale.is_object() {
        check_scale(scale, &format!("{path}.subresources.scale"), &mut errors);
    }
    check_selectable(version, schema, &format!("{path}.selectableFields"), &mut errors);
    errors
}

fn check_column(column: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if text(column, "name").is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    }
    let kinds = format!("must be one of {}", COLUMN_TYPES.join(","));
    match text(column, "type") {
        "" => errors.push(FieldError::required(format!("{path}.type"), kinds)),
        kind if !COLUMN_TYPES.contains(&kind) => errors.push(FieldError::invalid(format!("{path}.type"), kind, kinds)),
        _ => {}
    }
    let format = text(column, "format");
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
        let why = format!("must be one of {}", COLUMN_FORMATS.join(","));
        errors.push(FieldError::invalid(format!("{path}.format"), format, why));
    }
    match text(column, "jsonPath") {
        "" => errors.push(FieldError::required(format!("{path}.jsonPath"), "")),
        said => errors.extend(check_simple_path(said, &format!("{path}.jsonPath"))),
    }
}

fn check_simple_path(said: &str, path: &str) -> Option<FieldError> {
    (!said.starts_with('.')).then(|| FieldError::invalid(path, said, "must be a simple json path starting with ."))
}

fn check_scale(scale: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let fields: [(&str, &[&str], &str); 3] = [
        ("specReplicasPath", &[".spec."], "should be a json path under .spec"),
        ("statusReplicasPath", &[".status."], "should be a json path under .status"),
        ("labelSelectorPath", &[".spec.", ".status."], "should be a json path under either .spec or .status"),
    ];
    for (field, roots, why) in fields {
        let (said, path) = (text(scale, field), format!("{path}.{field}"));
        if said.is_empty() {
            if field != "labelSelectorPath" {
                errors.push(FieldError::required(path, ""));
            }
        } else if let Some(error) = check_simple_path(said, &path) {
            errors.push(error);
        } else if !roots.iter().any(|root| said.starts_with(root)) {
            errors.push(FieldError::invalid(path, said, why));
        }
    }
}

fn check_selectable(version: &Value, schema: &Structural, path: &str, errors: &mut Vec<FieldError>) {
    let fields = version["selectableFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    if fields.len() > MAX_SELECTABLE {
        errors.push(FieldError::too_many(path, fields.len() as u64, MAX_SELECTABLE as u64));
    }
    let mut seen = HashSet::new();
    for (i, field) in fields.iter().enumerate() {
        let (said, path) = (text(field, "jsonPath"), format!("{path}[{i}].jsonPath"));
        let invalid = |why: &str| FieldError::invalid(path.clone(), said, why);
        if said.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else if said == ".metadata" || said.starts_with(".metadata.") {
            errors.push(invalid("must not point to fields in metadata"));
        } else if !seen.insert(said) {
            errors.push(FieldError::duplicate(path, said));
        } else {
            match field_at(schema, said) {
                None => errors.push(invalid("is an invalid path: does not refer to a valid field")),
                Some(node) if !node.is_selectable() => {
                    errors.push(invalid("must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."));
                }
                Some(_) => {}
            }
        }
    }
}

/// The node that a dotted path leads to.
fn field_at<'s>(schema: &'s Structural, path: &str) -> Option<NodeRef<'s>> {
    path.strip_prefix('.')?.split('.').try_fold(schema.root(), |node, name| node.property(name))
}

/// What is wrong with the definition as a whole. `live` is the definition before.
pub(crate) fn check_definition(definition: &Value, live: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let conversion = &definition["spec"]["conversion"];
    let is_unchanged = live.is_some_and(|live| live["spec"]["conversion"] == *conversion);
    match text(conversion, "strategy") {
        _ if is_unchanged => {}
        "None" => {
            let why = "should not be set when strategy is not set to Webhook";
            if conversion["webhook"].is_object() {
                errors.push(FieldError::forbidden("spec.conversion.webhook", why));
            }
        }
        "" => errors.push(FieldError::required("spec.conversion.strategy", "")),
        // "Webhook" is Kubernetes' word for what this server does not have
        other => errors.push(FieldError::not_supported("spec.conversion.strategy", other, &["None"])),
    }
    errors.extend(check_approval(definition, live));
    errors
}

/// Groups of Kubernetes itself need its approval.
fn check_approval(definition: &Value, live: Option<&Value>) -> Option<FieldError> {
    let group = text(&definition["spec"], "group");
    let is_protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|owned| group.strip_suffix(owned).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
    let said = |definition: &Value| definition["metadata"]["annotations"][APPROVAL].clone();
    if !is_protected || live.is_some_and(|live| said(live) == said(definition)) {
        return None;
    }
    let path = format!("metadata.annotations[{APPROVAL}]");
    let see = "see https://github.com/kubernetes/enhancements/pull/1111";
    match said(definition).as_str().unwrap_or_default() {
        "" => Some(FieldError::required(
            path,
            format!("protected groups must have approval annotation {APPROVAL:?}, {see}"),
        )),
        said if said.starts_with("unapproved") || is_url(said) => None,
        said => {
            let why = format!(
                "protected groups must have approval annotation {APPROVAL:?} with either a URL or a reason starting with \"unapproved\", {see}"
            );
            Some(FieldError::invalid(path, said, why))
        }
    }
}

fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty()
            && scheme.bytes().all(|b| b.is_ascii_alphabetic())
            && rest.starts_with(|c: char| c.is_ascii_alphanumeric())
    })
}
