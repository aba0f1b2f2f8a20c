//! Errors, in Kubernetes' words: every error of the API is a `Status` object with a code, a reason and a message that
//! clients match on.

use std::time::Duration;

use http::StatusCode;
use nubium_schema::FieldError;
use nubium_store::Revision;
use serde_json::{Map, Value, json};

/// A refused or failed request.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    code: u16,
    reason: &'static str,
    message: String,
    details: Map<String, Value>,
    /// Not a `Status` but this plain text: a path that no API serves.
    plain: bool,
    /// Says `details: {}` when there are none.
    bare_details: bool,
    /// `metadata.continue`: where a list can go on although its revision is gone.
    next: Option<String>,
    /// The kind's definition was changed, at this revision or before.
    outdated: Option<Revision>,
}

/// What kind of thing a failure is about: `servers` of `nubium.dev`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    pub group: &'a str,
    pub resource: &'a str,
}

impl Subject<'_> {
    /// `servers.nubium.dev`, or `secrets` in the core group.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.resource.to_owned() } else { format!("{}.{}", self.resource, self.group) }
    }

    fn details(&self, name: &str) -> Map<String, Value> {
        let mut details = Map::new();
        for (key, text) in [("name", name), ("group", self.group), ("kind", self.resource)] {
            if !text.is_empty() {
                details.insert(key.to_owned(), text.into());
            }
        }
        details
    }
}

impl Failure {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code: code.as_u16(),
            reason,
            message: message.into(),
            details: Map::new(),
            plain: false,
            bare_details: false,
            next: None,
            outdated: None,
        }
    }

    fn about(mut self, subject: Subject<'_>, name: &str) -> Self {
        self.details = subject.details(name);
        self
    }

    fn cause(mut self, reason: &str, message: &str, field: &str) -> Self {
        let mut cause = json!({"reason": reason, "message": message});
        if !field.is_empty() {
            cause["field"] = field.into();
        }
        let causes = self.details.entry("causes").or_insert_with(|| json!([]));
        if let Value::Array(causes) = causes {
            causes.push(cause);
        }
        self
    }

    /// 404 for a path that nothing serves; plain text, as the real server answers it.
    pub fn no_such_path() -> Self {
        Self { plain: true, ..Self::new(StatusCode::NOT_FOUND, "NotFound", "404 page not found\n") }
    }

    /// 404 for a resource that a built-in group does not have.
    pub fn not_served() -> Self {
        Self::generic(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
    }

    /// A text that does not say what it is about.
    fn generic(code: StatusCode, reason: &'static str, message: &str) -> Self {
        Self { bare_details: true, ..Self::new(code, reason, message) }
    }

    pub fn not_found(subject: Subject<'_>, name: &str) -> Self {
        let message = format!("{} {name:?} not found", subject.qualified());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(subject, name)
    }

    pub fn already_exists(subject: Subject<'_>, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", subject.qualified());
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(subject, name)
    }

    /// 409: somebody else wrote first.
    pub fn modified(subject: Subject<'_>, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(subject, name, why)
    }

    pub fn conflict(subject: Subject<'_>, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", subject.qualified());
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(subject, name)
    }

    /// 409 of a server-side apply; the message and the causes are those of field ownership.
    pub fn apply_conflict(message: String, causes: Vec<Value>) -> Self {
        let mut failure = Self::new(StatusCode::CONFLICT, "Conflict", message);
        failure.details.insert("causes".to_owned(), causes.into());
        failure
    }

    pub fn forbidden(subject: Subject<'_>, name: &str, why: &str) -> Self {
        let who = if name.is_empty() { subject.qualified() } else { format!("{} {name:?}", subject.qualified()) };
        Self::new(StatusCode::FORBIDDEN, "Forbidden", format!("{who} is forbidden: {why}")).about(subject, name)
    }

    /// 403 for a create in a namespace that is on its way out.
    pub fn namespace_terminating(subject: Subject<'_>, name: &str, namespace: &str) -> Self {
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let detail = format!("namespace {namespace} is being terminated");
        Self::forbidden(subject, name, &why).cause("NamespaceTerminating", &detail, "metadata.namespace")
    }

    pub fn forbidden_path(user: &str, verb: &str, path: &str) -> Self {
        let message = format!("forbidden: User {user:?} cannot {verb} path {path:?}");
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 422 with every finding as a cause. `kind` is the object's kind, not its resource.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let message = nubium_schema::error::invalid_message(group, kind, name, errors);
        let mut failure = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        failure.details = Subject { group, resource: kind }.details(name);
        if !errors.is_empty() {
            failure.details.insert("causes".to_owned(), errors.iter().map(FieldError::cause).collect());
        }
        failure
    }

    /// 422 without an object to name, for options and patches.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
    }

    /// 409 for a delete whose precondition does not hold. `kind` is the object's kind, not its resource.
    pub fn precondition(group: &str, kind: &str, name: &str, why: &str) -> Self {
        Self::conflict(Subject { group, resource: kind }, name, why)
    }

    /// 405 of the built-in kinds.
    pub fn no_such_method() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::generic(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub fn method_not_allowed(subject: Subject<'_>, action: &str) -> Self {
        let message = format!("{action} is not supported on resources of kind {:?}", subject.qualified());
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).about(subject, "")
    }

    pub fn unsupported_media(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let message = format!("only the following media types are accepted: {}", accepted.join(", "));
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// 406 for media types of which the server has none.
    pub fn not_available(available: &[&str]) -> Self {
        let message = format!("406: Not Acceptable\n\nAvailable representations: {}", available.join(", "));
        Self::generic(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", &message)
    }

    /// 410: list or watch again from the present.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    pub fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// 504: a read at a revision that has not come.
    pub fn revision_too_large(requested: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {requested}, current: {current}");
        let mut failure = Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message);
        failure.details.insert("retryAfterSeconds".to_owned(), 1.into());
        failure.cause("ResourceVersionTooLarge", "Too large resource version", "")
    }

    /// 429: the caller has done too much lately.
    pub fn too_many_requests(retry_after: Duration) -> Self {
        let message = "too many requests, please try again later";
        let mut failure = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        failure.details.insert("retryAfterSeconds".to_owned(), retry_after.as_secs().into());
        failure
    }

    /// 504: the request took longer than it may.
    pub fn out_of_time() -> Self {
        let message = "Timeout: request did not complete within requested timeout - context deadline exceeded";
        Self::generic(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
    }

    /// 503: the definition of the kind was changed while the request was handled.
    pub fn outdated(subject: Subject<'_>, revision: Revision) -> Self {
        let message = format!(
            "the definition of {} was changed while the request was handled; please try again",
            subject.qualified()
        );
        let mut failure = Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message);
        failure.details.insert("retryAfterSeconds".to_owned(), 1.into());
        Self { outdated: Some(revision), ..failure }
    }

    /// The revision whose definitions have to be known before the request is tried again.
    pub(crate) fn outdated_at(&self) -> Option<Revision> {
        self.outdated
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            format!("Internal error occurred: {}", message.into()),
        )
    }

    /// The store's disk has only room for deletions and small changes.
    pub fn insufficient_storage(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "InsufficientStorage", message.into())
    }

    /// The same, with a token to go on.
    pub fn with_continue(self, token: String) -> Self {
        Self { next: Some(token), ..self }
    }

    /// 500 with the text alone.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "", message)
    }

    pub fn code(&self) -> StatusCode {
        StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// After how many seconds the client may try again.
    pub fn retry_after(&self) -> Option<u64> {
        self.details.get("retryAfterSeconds").and_then(Value::as_u64)
    }

    pub fn is(&self, reason: &str) -> bool {
        self.reason == reason
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// The text to send instead of a `Status`, if any.
    pub fn plain_text(&self) -> Option<&str> {
        self.plain.then_some(self.message.as_str())
    }

    /// The `Status` object.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if let Some(next) = &self.next {
            status["metadata"]["continue"] = next.as_str().into();
        }
        if self.bare_details || !self.details.is_empty() {
            status["details"] = Value::Object(self.details.clone());
        }
        status
    }
}

impl From<nubium_store::Error> for Failure {
    fn from(error: nubium_store::Error) -> Self {
        match error {
            nubium_store::Error::Compacted { requested, compacted } => {
                Self::expired(format!("too old resource version: {requested} ({compacted})"))
            }
            nubium_store::Error::Future { requested, current } => Self::revision_too_large(requested, current),
            error @ nubium_store::Error::Full => Self::insufficient_storage(error.to_string()),
            // The store has logged it, once for as long as it lasts.
            error @ nubium_store::Error::NotKept { .. } => Self::internal(chain(&error)),
            error => {
                tracing::error!(error = %chain(&error), "the store failed");
                Self::internal(chain(&error))
            }
        }
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
