//! Field errors: what is wrong, where, and with which value, in the words of Kubernetes.
//!
//! A validation never stops at its first finding: it returns a `Vec<FieldError>`, which becomes the `details.causes`
//! and the message of one `Status` with code 422.

use std::collections::HashSet;
use std::fmt;

use serde_json::{Value, json};

use crate::go;

/// The class of a [`FieldError`]; decides its wording and the `reason` of its cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    /// The value has another JSON type than the schema says. Reads like `Invalid`.
    TypeInvalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    Internal,
}

impl ErrorKind {
    /// The `reason` of the cause, e.g. `FieldValueRequired`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::Internal => "InternalError",
        }
    }

    /// How the message begins, e.g. `Required value`.
    pub fn title(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }
}

/// One finding. `field` is a path such as `spec.disks[0].name`; an error that belongs to no field has `<nil>`.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    pub kind: ErrorKind,
    pub field: String,
    /// The offending value, unless naming it would not help (a whole object).
    pub bad_value: Option<Value>,
    pub detail: String,
}

/// The path that Kubernetes prints for an error without a field.
pub const NO_FIELD: &str = "<nil>";

impl FieldError {
    pub fn new(
        kind: ErrorKind,
        field: impl Into<String>,
        bad_value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        let mut field = field.into();
        if field.is_empty() {
            field.push_str(NO_FIELD);
        }
        Self { kind, field, bad_value: Some(bad_value.into()), detail: detail.into() }
    }

    /// The same without the value.
    pub fn without_value(mut self) -> Self {
        self.bad_value = None;
        self
    }

    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Required, field, "", detail)
    }

    pub fn invalid(field: impl Into<String>, bad: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, field, bad, detail)
    }

    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, field, "", detail)
    }

    pub fn duplicate(field: impl Into<String>, bad: impl Into<Value>) -> Self {
        Self::new(ErrorKind::Duplicate, field, bad, "")
    }

    /// An enumerated field with a value outside `supported`.
    pub fn not_supported<S: AsRef<str>>(field: impl Into<String>, bad: impl Into<Value>, supported: &[S]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|s| go::quote(s.as_ref())).collect();
        let detail = if quoted.is_empty() { String::new() } else { format!("supported values: {}", quoted.join(", ")) };
        Self::new(ErrorKind::NotSupported, field, bad, detail)
    }

    /// A string of more than `max` bytes; the value itself is never repeated.
    pub fn too_long(field: impl Into<String>, max: u64) -> Self {
        let unit = if max == 1 { "byte" } else { "bytes" };
        Self::new(ErrorKind::TooLong, field, "<value omitted>", format!("may not be more than {max} {unit}"))
    }

    /// A list or map of `actual` entries where `max` are allowed.
    pub fn too_many(field: impl Into<String>, actual: u64, max: u64) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        Self::new(ErrorKind::TooMany, field, actual, format!("must have at most {max} {unit}"))
    }

    /// The message without the field: `Invalid value: "x": must be …`.
    pub fn body(&self) -> String {
        let title = self.kind.title();
        let says_value =
            !matches!(self.kind, ErrorKind::Required | ErrorKind::Forbidden | ErrorKind::TooLong | ErrorKind::Internal);
        let mut body = match &self.bad_value {
            Some(value) if says_value => format!("{title}: {}", go::print_value(value)),
            _ => title.to_owned(),
        };
        if !self.detail.is_empty() {
            body.push_str(": ");
            body.push_str(&self.detail);
        }
        body
    }

    /// An entry for `Status.details.causes`.
    pub fn cause(&self) -> Value {
        json!({"reason": self.kind.reason(), "message": self.body(), "field": self.field})
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl std::error::Error for FieldError {}

/// All messages in one line: alone as it is, several as `[a, b]`, each text once.
pub fn aggregate(errors: &[FieldError]) -> String {
    let mut seen = HashSet::new();
    let mut texts: Vec<String> = errors.iter().map(ToString::to_string).filter(|t| seen.insert(t.clone())).collect();
    if texts.len() == 1 { texts.remove(0) } else { format!("[{}]", texts.join(", ")) }
}

/// The message of the 422 `Status`: `Server.nubium.dev "x" is invalid: spec.a: Required value`. `group` is empty for
/// the core group.
pub fn invalid_message(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    let head = format!("{kind}{dot}{group} {} is invalid", go::quote(name));
    if errors.is_empty() { head } else { format!("{head}: {}", aggregate(errors)) }
}

/// The whole `Status` object for a refused object (code 422, reason `Invalid`).
pub fn invalid_status(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Value {
    let mut details = serde_json::Map::new();
    for (key, text) in [("name", name), ("group", group), ("kind", kind)] {
        if !text.is_empty() {
            details.insert(key.to_owned(), text.into());
        }
    }
    if !errors.is_empty() {
        details.insert("causes".to_owned(), errors.iter().map(FieldError::cause).collect());
    }
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": invalid_message(group, kind, name, errors),
        "reason": "Invalid", "details": details, "code": 422,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_read_as_kubernetes_prints_them() {
        let cases = [
            (FieldError::required("spec.a", ""), "spec.a: Required value"),
            (FieldError::invalid("spec.a", "x\"y", "no"), r#"spec.a: Invalid value: "x\"y": no"#),
            (
                FieldError::invalid("spec.a", json!({"b": "<", "a": 1}), ""),
                r#"spec.a: Invalid value: {"a":1,"b":"\u003c"}"#,
            ),
            (FieldError::invalid("", Value::Null, "why"), "<nil>: Invalid value: null: why"),
            (
                FieldError::not_supported("spec.p", "z", &["a", "b"]),
                r#"spec.p: Unsupported value: "z": supported values: "a", "b""#,
            ),
            (FieldError::too_long("n", 5), "n: Too long: may not be more than 5 bytes"),
            (FieldError::too_many("n", 3, 1), "n: Too many: 3: must have at most 1 item"),
            (FieldError::duplicate("l[1]", json!({"name": "a"})), r#"l[1]: Duplicate value: {"name":"a"}"#),
            (FieldError::forbidden("l", "not here"), "l: Forbidden: not here"),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn a_status_names_every_cause_once_in_its_message() {
        let a = FieldError::required("spec.a", "");
        let b = FieldError::forbidden("spec.b", "no");
        let status = invalid_status("nubium.dev", "Server", "x", &[a.clone(), a.clone(), b]);
        assert_eq!(
            status["message"],
            r#"Server.nubium.dev "x" is invalid: [spec.a: Required value, spec.b: Forbidden: no]"#
        );
        assert_eq!(status["details"]["causes"].as_array().unwrap().len(), 3);
        assert_eq!(status["details"]["causes"][0]["reason"], "FieldValueRequired");
        assert_eq!(invalid_message("", "Secret", "s", &[a]), r#"Secret "s" is invalid: spec.a: Required value"#);
    }
}
