//! Taking in an object from a client: parse, check that it is of the right kind, prune, default.

use bytes::Bytes;
use nubium_schema::{Document, FieldError};
use nubium_schema::document::{strict_decoding_error, unknown_messages};
use serde_json::Value;

use crate::call::Call;
use crate::failure::Failure;
use crate::http::media::{BodyForm, body_form};
use crate::http::options::FieldValidation;
use crate::kind::Kind;
use crate::protobuf;

/// An object from outside, fit for what follows.
pub(crate) struct Intake {
    pub object: Value,
    pub warnings: Vec<String>,
}

/// Reads a body that holds an object of `kind`.
pub(crate) fn object(call: &Call, kind: &Kind, body: &Bytes) -> Result<Intake, Failure> {
    let document = match body_form(&call.headers, kind.behaviour.message.is_some())? {
        BodyForm::Json => json(body)?,
        BodyForm::Yaml => Document::from_yaml(body).map_err(|error| Failure::bad_request(error.to_string()))?,
        BodyForm::Protobuf => {
            let object = protobuf::decode(body, kind.behaviour.message.as_deref().unwrap_or_default());
            let object = object.map_err(|error| Failure::bad_request(format!("error decoding the body: {error}")))?;
            Document { value: object, duplicates: Vec::new() }
        }
    };
    let mut object = document.value;
    of_kind(kind, &mut object)?;
    let complaints = document.duplicates.iter().map(|path| format!("duplicate field {path:?}")).collect();
    cleaned(call, kind, object, complaints, Origin::Body)
}

/// Parses JSON, with the words of Kubernetes for what is not.
pub(crate) fn json(body: &Bytes) -> Result<Document, Failure> {
    let document = Document::from_json(body).map_err(|error| {
        Failure::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
    })?;
    if !document.value.is_object() {
        return Err(Failure::bad_request("couldn't get version/kind; json parse error: the body is not an object"));
    }
    Ok(document)
}

/// Checks apiVersion and kind. A body without them is taken to be of the right kind, as for built-in kinds.
fn of_kind(kind: &Kind, object: &mut Value) -> Result<(), Failure> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let (version, name) = (text("apiVersion"), text("kind"));
    let want = kind.api_version();
    if kind.is_custom() && (name.is_empty() || version.is_empty()) {
        let missing = if name.is_empty() { "kind" } else { "apiVersion" };
        return Err(Failure::bad_request(format!("Object '{}' is missing in '{object}'", capitalised(missing))));
    }
    if !version.is_empty() && version != want {
        return Err(Failure::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({want})"
        )));
    }
    if !name.is_empty() && name != kind.kind {
        return Err(Failure::bad_request(format!(
            "{name} in version {:?} cannot be handled as a {}: converting is not possible",
            kind.version, kind.kind
        )));
    }
    object["apiVersion"] = want.into();
    object["kind"] = kind.kind.as_str().into();
    Ok(())
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Where a complaint about fields is raised, which decides its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Body,
    Patch,
}

/// Prunes and defaults. What went too far is refused, told or passed over, as the client wants.
pub(crate) fn cleaned(
    call: &Call,
    kind: &Kind,
    mut object: Value,
    mut complaints: Vec<String>,
    origin: Origin,
) -> Result<Intake, Failure> {
    let before = (origin == Origin::Patch).then(|| object.clone());
    let unknown = kind.schema.prune(&mut object);
    complaints.extend(unknown_messages(&unknown));
    let strict = call.options.field_validation == FieldValidation::Strict;
    if strict && !complaints.is_empty() {
        let error = strict_decoding_error(&complaints);
        return Err(match before {
            None => Failure::bad_request(format!(
                "{} in version {:?} cannot be handled as a {}: {error}",
                kind.kind, kind.version, kind.kind
            )),
            Some(patched) => {
                Failure::invalid("", "", "", &[FieldError::invalid("patch", patched.to_string(), error)])
            }
        });
    }
    let told = call.options.field_validation == FieldValidation::Warn;
    let warnings = if told { complaints } else { Vec::new() };
    default(kind, &mut object);
    Ok(Intake { object, warnings })
}

/// Fills in what the schema, and for built-in kinds the description, defaults.
pub(crate) fn default(kind: &Kind, object: &mut Value) {
    kind.schema.default(object);
    for (field, value) in &kind.behaviour.defaults {
        if object[field].is_null() || object[field] == "" {
            object[field] = value.clone();
        }
    }
}
