//! The query of a request, and what clients may put into a `DeleteOptions` body.

use std::time::Duration;

use serde_json::Value;

use nubium_schema::FieldError;

use crate::failure::Failure;

/// Decodes percent escapes; in a query, `+` is a space.
pub(crate) fn decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => match (hex(at + 1), hex(at + 2)) {
                (Some(high), Some(low)) => {
                    out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                    at += 2;
                }
                _ => out.push(b'%'),
            },
            b'+' if plus => out.push(b' '),
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What to do about fields that the schema does not know, or that occur twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// What becomes of an object's dependents when it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// The parameters of a request. Unknown ones are ignored, as Kubernetes does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub label_selector: String,
    pub field_selector: String,
    pub limit: usize,
    pub continue_token: String,
    pub resource_version: String,
    pub resource_version_match: String,
    pub watch: bool,
    pub bookmarks: bool,
    pub initial_events: Option<bool>,
    pub timeout: Option<Duration>,
    pub include_object: String,
    pub dry_run: bool,
    pub field_manager: String,
    pub field_validation: FieldValidation,
    pub force: Option<bool>,
    pub delete: DeleteOptions,
    /// What is wrong with them; told in the name of the verb's options.
    errors: Vec<FieldError>,
}

/// How to delete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    pub propagation: Option<Propagation>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub dry_run: bool,
}

impl Options {
    /// Reads a query string.
    pub fn parse(query: &str) -> Result<Self, Failure> {
        let mut options = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            options.set(&decode(name, true), decode(value, true))?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Failure> {
        match name {
            "labelSelector" => self.label_selector = value,
            "fieldSelector" => self.field_selector = value,
            // A negative limit is none.
            "limit" => self.limit = usize::try_from(number::<i64>(&value, "limit")?).unwrap_or(0),
            "continue" => self.continue_token = value,
            "resourceVersion" => self.resource_version = value,
            "resourceVersionMatch" => self.resource_version_match = value,
            "watch" => self.watch = flag(&value),
            "allowWatchBookmarks" => self.bookmarks = flag(&value),
            "sendInitialEvents" => self.initial_events = Some(flag(&value)),
            "timeoutSeconds" => self.timeout = Some(Duration::from_secs(number::<u64>(&value, "timeoutSeconds")?)),
            "includeObject" => self.include_object = value,
            "dryRun" => match dry_run(&value) {
                Ok(dry_run) => self.dry_run |= dry_run,
                Err(error) => self.errors.push(error),
            },
            "fieldManager" => self.field_manager = value,
            "fieldValidation" => match field_validation(&value) {
                Ok(validation) => self.field_validation = validation,
                Err(error) => self.errors.push(error),
            },
            "force" => self.force = Some(flag(&value)),
            "propagationPolicy" => match propagation(&value) {
                Ok(policy) => self.delete.propagation = Some(policy),
                Err(error) => self.errors.push(error),
            },
            "orphanDependents" => self.delete.propagation = Some(orphan(flag(&value))),
            _ => {}
        }
        Ok(())
    }

    /// Refuses what is wrong with them, as the options called `kind`.
    pub fn check(&self, kind: &str) -> Result<(), Failure> {
        if self.errors.is_empty() { Ok(()) } else { Err(Failure::invalid("meta.k8s.io", kind, "", &self.errors)) }
    }
}

impl DeleteOptions {
    /// Takes in a body; what it says wins over the query.
    pub fn read(&mut self, body: &Value) -> Result<(), Failure> {
        self.take(body).map_err(|error| Failure::invalid("meta.k8s.io", "DeleteOptions", "", &[error]))
    }

    fn take(&mut self, body: &Value) -> Result<(), FieldError> {
        if let Some(kind) = body["kind"].as_str().filter(|kind| *kind != "DeleteOptions") {
            return Err(FieldError::not_supported("kind", kind, &["DeleteOptions"]));
        }
        if let Some(policy) = body["propagationPolicy"].as_str() {
            self.propagation = Some(propagation(policy)?);
        }
        if let Some(orphans) = body["orphanDependents"].as_bool() {
            if body["propagationPolicy"].is_string() {
                let why = "orphanDependents and deletionPropagation cannot be both set";
                return Err(FieldError::invalid("propagationPolicy", body["propagationPolicy"].clone(), why));
            }
            self.propagation = Some(orphan(orphans));
        }
        let condition = |name: &str| body["preconditions"][name].as_str().map(str::to_owned);
        self.uid = condition("uid").or(self.uid.take());
        self.resource_version = condition("resourceVersion").or(self.resource_version.take());
        for value in body["dryRun"].as_array().into_iter().flatten() {
            self.dry_run |= dry_run(value.as_str().unwrap_or_default())?;
        }
        Ok(())
    }
}

/// As Kubernetes reads booleans in a query: present and not plainly false.
fn flag(value: &str) -> bool {
    !matches!(value.to_ascii_lowercase().as_str(), "false" | "0")
}

fn number<T: std::str::FromStr>(value: &str, name: &str) -> Result<T, Failure> {
    value.parse().map_err(|_| Failure::bad_request(format!("{name}: {value:?} is not a number")))
}

fn orphan(orphan: bool) -> Propagation {
    if orphan { Propagation::Orphan } else { Propagation::Background }
}

fn dry_run(value: &str) -> Result<bool, FieldError> {
    if value == "All" {
        return Ok(true);
    }
    Err(FieldError::not_supported("dryRun", serde_json::json!([value]), &["All"]))
}

fn field_validation(value: &str) -> Result<FieldValidation, FieldError> {
    match value {
        "" | "Warn" => Ok(FieldValidation::Warn),
        "Ignore" => Ok(FieldValidation::Ignore),
        "Strict" => Ok(FieldValidation::Strict),
        other => Err(FieldError::not_supported("fieldValidation", other, &["", "Ignore", "Strict", "Warn"])),
    }
}

fn propagation(value: &str) -> Result<Propagation, FieldError> {
    match value {
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        "Orphan" => Ok(Propagation::Orphan),
        other => {
            Err(FieldError::not_supported("propagationPolicy", other, &["Foreground", "Background", "Orphan", "nil"]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_query_with_an_empty_first_pair_and_escapes() {
        let options =
            Options::parse("&limit=500&labelSelector=a%3Db%2Cc+in+(d)&watch=true&timeoutSeconds=290").unwrap();
        assert_eq!((options.limit, options.label_selector.as_str()), (500, "a=b,c in (d)"));
        assert_eq!((options.watch, options.timeout), (true, Some(Duration::from_secs(290))));
        assert!(Options::parse("dryRun=Some").unwrap().check("CreateOptions").is_err());
        assert_eq!(Options::parse("limit=-1").unwrap().limit, 0);
        assert!(Options::parse("limit=x").is_err());
    }

    #[test]
    fn the_body_of_a_delete_needs_no_kind() {
        let mut options = DeleteOptions::default();
        options.read(&json!({"propagationPolicy": "Foreground", "preconditions": {"uid": "u"}})).unwrap();
        assert_eq!((options.propagation, options.uid.as_deref()), (Some(Propagation::Foreground), Some("u")));
        assert!(options.read(&json!({"kind": "Pod"})).is_err());
    }
}
