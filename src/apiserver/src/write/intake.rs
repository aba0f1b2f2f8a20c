//! Taking in an object from a client: parse, check that it is of the right kind, prune, default.

use bytes::Bytes;
use nubium_schema::document::{strict_decoding_error, unknown_messages};
use nubium_schema::structural::OBJECT_META;
use nubium_schema::{Document, ErrorKind, FieldError};
use serde_json::Value;

use crate::call::Call;
use crate::failure::Failure;
use crate::http::media::{BodyForm, body_form};
use crate::http::options::FieldValidation;
use crate::kind::Kind;
use crate::kind::canonical::{self, Digits};
use crate::protobuf;

/// An object from outside, fit for what follows.
pub(crate) struct Intake {
    pub object: Value,
    pub warnings: Vec<String>,
}

/// Reads a body that holds an object of `kind`.
pub(crate) fn object(call: &Call, kind: &Kind, body: &Bytes) -> Result<Intake, Failure> {
    let unrecognised = |failure: Failure| {
        let what = format!("the object provided is unrecognized (must be of type {}): ", kind.kind);
        Failure::bad_request(format!("{what}{} ({})", failure.message(), summary(body)))
    };
    let document = match body_form(&call.headers, kind.behaviour.message.is_some())? {
        BodyForm::Json => json(body).map_err(unrecognised)?,
        BodyForm::Yaml => Document::from_yaml(body).map_err(|error| Failure::bad_request(error.to_string()))?,
        BodyForm::Protobuf => {
            let object = protobuf::decode(body, kind.behaviour.message.as_deref().unwrap_or_default());
            let object = object.map_err(|error| Failure::bad_request(format!("error decoding the body: {error}")))?;
            Document { value: object, duplicates: Vec::new() }
        }
    };
    let mut object = document.value;
    of_kind(kind, &mut object, body)?;
    let complaints = document.duplicates.iter().map(|path| format!("duplicate field {path:?}")).collect();
    let is_new = call.target.name.is_empty();
    cleaned(call, kind, object, complaints, Origin::Body { is_new })
}

/// Parses JSON, with the words of Kubernetes for what is not.
pub(crate) fn json(body: &Bytes) -> Result<Document, Failure> {
    let document = Document::from_json(body)
        .map_err(|error| Failure::bad_request(format!("couldn't get version/kind; json parse error: {error}")))?;
    if !document.value.is_object() {
        return Err(Failure::bad_request("couldn't get version/kind; json parse error: the body is not an object"));
    }
    Ok(document)
}

/// Checks apiVersion and kind. A body without them is taken to be of the right kind, as for built-in kinds.
fn of_kind(kind: &Kind, object: &mut Value, body: &Bytes) -> Result<(), Failure> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let (version, name) = (text("apiVersion"), text("kind"));
    let want = kind.api_version();
    if kind.is_custom() && (name.is_empty() || version.is_empty()) {
        let missing = if name.is_empty() { "kind" } else { "apiVersion" };
        return Err(Failure::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): Object '{}' is missing in '{object}' ({})",
            kind.kind,
            capitalised(missing),
            summary(body)
        )));
    }
    if !version.is_empty() && version != want {
        return Err(Failure::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({want})"
        )));
    }
    if !name.is_empty() && name != kind.kind {
        if kind.is_custom() {
            let error = FieldError::invalid("kind", name, format!("must be {}", kind.kind));
            let object_name = object["metadata"]["name"].as_str().unwrap_or_default();
            return Err(Failure::invalid(&kind.group, name, object_name, &[error]));
        }
        let group = if kind.group.is_empty() { "core" } else { kind.group.split('.').next().unwrap_or_default() };
        return Err(Failure::bad_request(format!(
            "{name} in version {0:?} cannot be handled as a {1}: converting ({0}.{name}) to ({group}.{1}): unknown \
             conversion",
            kind.version, kind.kind
        )));
    }
    object["apiVersion"] = want.into();
    object["kind"] = kind.kind.as_str().into();
    Ok(())
}

/// The beginning of a body, for errors.
fn summary(body: &Bytes) -> String {
    const SHOWN: usize = 30;
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') if body.len() > SHOWN => format!("{} ...", String::from_utf8_lossy(&body[..SHOWN])),
        Some(b'{') => String::from_utf8_lossy(body).into_owned(),
        Some(_) => {
            let shown: String = body.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
            if body.len() > SHOWN { format!("{shown} ...") } else { shown }
        }
    }
}

/// A built-in kind is decoded into fixed types: what has another JSON type is no such object at all.
fn misfit(kind: &Kind, object: &Value) -> Option<FieldError> {
    if kind.is_custom() {
        return None;
    }
    kind.schema.validate(object).into_iter().find(|error| error.kind == ErrorKind::TypeInvalid)
}

/// Numbers as Go reads them: a whole one is an integer however it is written.
fn whole_numbers(value: &mut Value) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Number(number) if number.is_f64() => {
            if let Some(float) = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT) {
                *value = Value::from(float as i64);
            }
        }
        _ => {}
    }
}

/// Brings what Go decodes into fixed types into the form that it writes: all of a built-in kind, the metadata of others.
fn in_gos_form(kind: &Kind, object: &mut Value, digits: Digits) -> Result<(), String> {
    if !kind.is_custom() {
        return canonical::rewrite(&kind.published.0, object, digits);
    }
    object.get_mut("metadata").map_or(Ok(()), |metadata| canonical::rewrite(OBJECT_META, metadata, digits))
}

/// Leaves out what Go does not write when it is empty: maps and lists of the metadata, and of built-in kinds all those
/// at the top.
fn drop_empty(kind: &Kind, object: &mut Value) {
    let is_empty = |value: &Value| match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
            if metadata.get(field).is_some_and(is_empty) {
                metadata.remove(field);
            }
        }
    }
    if !kind.is_custom()
        && let Some(object) = object.as_object_mut()
    {
        for field in ["data", "binaryData", "stringData"] {
            if object.get(field).is_some_and(is_empty) {
                object.remove(field);
            }
        }
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Where an object comes from, which decides the words of complaints about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Body { is_new: bool },
    Patch { is_new: bool },
}

/// Prunes and defaults. What the schema does not know is refused, reported or ignored, as the client wants.
pub(crate) fn cleaned(
    call: &Call,
    kind: &Kind,
    mut object: Value,
    mut complaints: Vec<String>,
    origin: Origin,
) -> Result<Intake, Failure> {
    let (Origin::Body { is_new } | Origin::Patch { is_new }) = origin;
    whole_numbers(&mut object);
    let before = matches!(origin, Origin::Patch { .. }).then(|| object.clone());
    let refused = |why: String| match &before {
        None => cannot_be(kind, &why),
        Some(patched) => Failure::invalid("", "", "", &[FieldError::invalid("patch", patched.to_string(), why)]),
    };
    // What a patch does not touch may have been stored by a server that was not as strict.
    let digits = if before.is_some() { Digits::Any } else { Digits::Six };
    if let Err(why) = in_gos_form(kind, &mut object, digits) {
        return Err(refused(why));
    }
    // A null where nothing may be null says nothing, and goes with what is unknown.
    let unknown = kind.schema.prune(&mut object);
    if let Some(misfit) = misfit(kind, &object) {
        return Err(refused(misfit.to_string()));
    }
    complaints.extend(unknown_messages(&unknown));
    if call.options.field_validation == FieldValidation::Strict && !complaints.is_empty() {
        return Err(refused(strict_decoding_error(&complaints)));
    }
    let is_reported = call.options.field_validation == FieldValidation::Warn;
    let warnings = if is_reported { complaints } else { Vec::new() };
    drop_empty(kind, &mut object);
    if is_new
        && kind.status
        && let Some(object) = object.as_object_mut()
    {
        // Only the status subresource takes a status.
        object.remove("status");
    }
    default(kind, &mut object);
    Ok(Intake { object, warnings })
}

fn cannot_be(kind: &Kind, why: &str) -> Failure {
    let Kind { kind, version, .. } = kind;
    Failure::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
}

/// Fills in what the schema, and for built-in kinds the description and the rules, default.
fn default(kind: &Kind, object: &mut Value) {
    kind.schema.default(object);
    for (field, value) in &kind.behaviour.defaults {
        if object[field].is_null() || (object[field] == "" && !value.is_null()) {
            object[field] = value.clone();
        }
    }
    kind.rules().default(object);
}
