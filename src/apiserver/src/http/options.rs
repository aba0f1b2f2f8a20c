//! The query of a request, and what clients may put into a `DeleteOptions` body.

use std::borrow::Cow;
use std::time::Duration;

use nubium_schema::FieldError;
use serde::Deserialize;
use serde_json::Value;

use super::go_duration;
use crate::failure::Failure;

/// The longest name of a field manager.
const LONGEST_MANAGER: u64 = 128;
/// No watch and no request lasts longer, whatever its client asks for.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

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
    /// How long a watch may last.
    pub watch_timeout: Option<Duration>,
    /// How long any other request may take.
    pub timeout: Option<Duration>,
    pub include_object: String,
    pub dry_run: bool,
    pub field_manager: String,
    pub field_validation: FieldValidation,
    pub force: Option<bool>,
    pub delete: DeleteOptions,
    /// What is wrong with them; reported in the name of the verb's options.
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
    /// Reads a query string. Of a repeated parameter the first counts, as in Kubernetes; `dryRun` is a list.
    pub fn parse(query: &str) -> Result<Self, Failure> {
        let mut options = Self::default();
        let mut seen: Vec<Cow<'_, str>> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name != "dryRun" {
                if seen.contains(&name) {
                    continue;
                }
                seen.push(name.clone());
            }
            options.set(&name, value.into_owned())?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Failure> {
        match name {
            "labelSelector" => self.label_selector = value,
            "fieldSelector" => self.field_selector = value,
            // A negative limit is none.
            "limit" => self.limit = usize::try_from(integer(&value)?).unwrap_or(0),
            "continue" => self.continue_token = value,
            "resourceVersion" => self.resource_version = value,
            "resourceVersionMatch" => self.resource_version_match = value,
            "watch" => self.watch = flag(&value),
            "allowWatchBookmarks" => self.bookmarks = flag(&value),
            "sendInitialEvents" => self.initial_events = Some(flag(&value)),
            "timeoutSeconds" => {
                let seconds = u64::try_from(integer(&value)?).unwrap_or(0);
                self.watch_timeout = Some(Duration::from_secs(seconds).min(LONGEST_TIMEOUT));
            }
            "timeout" if !value.is_empty() => {
                let timeout = go_duration::parse(&value).map_err(|error| {
                    Failure::bad_request(format!("invalid timeout specified in the request URL - {error}"))
                })?;
                self.timeout = Some(timeout.min(LONGEST_TIMEOUT));
            }
            "includeObject" => self.include_object = value,
            "dryRun" => match dry_run(&value) {
                Ok(dry_run) => self.dry_run |= dry_run,
                Err(error) => self.errors.push(error),
            },
            "fieldManager" => {
                self.errors.extend(manager_errors(&value));
                self.field_manager = value;
            }
            "fieldValidation" => match field_validation(&value) {
                Ok(validation) => self.field_validation = validation,
                Err(error) => self.errors.push(error),
            },
            "force" => self.force = Some(flag(&value)),
            "gracePeriodSeconds" => drop(integer(&value)?),
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
    ///
    /// # Errors
    /// 400 for what has another type, 422 for values that are not allowed.
    pub fn read(&mut self, body: &Value) -> Result<(), Failure> {
        let body = DeleteBody::deserialize(body)
            .map_err(|error| Failure::bad_request(format!("DeleteOptions cannot be read: {error}")))?;
        self.take(body).map_err(|error| Failure::invalid("meta.k8s.io", "DeleteOptions", "", &[error]))
    }

    fn take(&mut self, body: DeleteBody) -> Result<(), FieldError> {
        if let Some(kind) = body.kind.as_deref().filter(|kind| !matches!(*kind, "" | "DeleteOptions")) {
            return Err(FieldError::not_supported("kind", kind, &["DeleteOptions"]));
        }
        if let (Some(policy), Some(_)) = (&body.propagation_policy, body.orphan_dependents) {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            return Err(FieldError::invalid("propagationPolicy", policy.as_str(), why));
        }
        if let Some(policy) = &body.propagation_policy {
            self.propagation = Some(propagation(policy)?);
        }
        if let Some(orphans) = body.orphan_dependents {
            self.propagation = Some(orphan(orphans));
        }
        let Preconditions { uid, resource_version } = body.preconditions.unwrap_or_default();
        self.uid = uid.or(self.uid.take());
        self.resource_version = resource_version.or(self.resource_version.take());
        for value in body.dry_run.unwrap_or_default() {
            self.dry_run |= dry_run(&value)?;
        }
        Ok(())
    }
}

/// The body of a delete, as Kubernetes' types read it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeleteBody {
    kind: Option<String>,
    #[serde(rename = "apiVersion")]
    _api_version: Option<String>,
    #[serde(rename = "gracePeriodSeconds")]
    _grace_period_seconds: Option<i64>,
    preconditions: Option<Preconditions>,
    orphan_dependents: Option<bool>,
    propagation_policy: Option<String>,
    dry_run: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

/// As Kubernetes reads booleans in a query: present and not plainly false.
fn flag(value: &str) -> bool {
    !matches!(value.to_ascii_lowercase().as_str(), "false" | "0")
}

/// A number as Go reads it, with Go's errors.
fn integer(value: &str) -> Result<i64, Failure> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    value.parse().map_err(|error: std::num::ParseIntError| {
        let why = match error.kind() {
            PosOverflow | NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        Failure::bad_request(format!("strconv.ParseInt: parsing {value:?}: {why}"))
    })
}

/// What is wrong with the name of a field manager.
fn manager_errors(manager: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if manager.len() as u64 > LONGEST_MANAGER {
        errors.push(FieldError::too_long("fieldManager", LONGEST_MANAGER));
    }
    for (at, c) in manager.char_indices().filter(|(_, c)| c.is_control()) {
        let why = format!("invalid character U+{:04X} (at position {at})", u32::from(c));
        errors.push(FieldError::invalid("fieldManager", manager, why));
    }
    errors
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
        assert_eq!((options.watch, options.watch_timeout), (true, Some(Duration::from_secs(290))));
        assert!(Options::parse("dryRun=Some").unwrap().check("CreateOptions").is_err());
        assert_eq!(Options::parse("limit=-1").unwrap().limit, 0);
    }

    #[test]
    fn of_a_repeated_parameter_the_first_counts() {
        let options = Options::parse("fieldManager=a&fieldManager=b&limit=1&limit=x&dryRun=All&dryRun=All").unwrap();
        assert_eq!((options.field_manager.as_str(), options.limit, options.dry_run), ("a", 1, true));
    }

    #[test]
    fn numbers_and_times_of_any_size_are_read_or_refused() {
        for (query, why) in [
            ("limit=x", r#"strconv.ParseInt: parsing "x": invalid syntax"#),
            ("limit=", r#"strconv.ParseInt: parsing "": invalid syntax"#),
            (
                "timeoutSeconds=9223372036854775808",
                r#"strconv.ParseInt: parsing "9223372036854775808": value out of range"#,
            ),
            ("timeout=5", r#"invalid timeout specified in the request URL - time: missing unit in duration "5""#),
        ] {
            assert_eq!(Options::parse(query).unwrap_err().message(), why, "{query}");
        }
        for seconds in ["9223372036854775807", "-1", "0"] {
            let options = Options::parse(&format!("timeoutSeconds={seconds}")).unwrap();
            assert!(options.watch_timeout.unwrap() <= LONGEST_TIMEOUT, "{seconds}");
        }
        assert_eq!(Options::parse("timeout=1m30s").unwrap().timeout, Some(Duration::from_secs(90)));
    }

    #[test]
    fn a_field_manager_has_a_length_and_can_be_printed() {
        for (manager, good) in [("m".repeat(128), true), ("m".repeat(129), false), ("a%0Ab".to_owned(), false)] {
            let checked = Options::parse(&format!("fieldManager={manager}")).unwrap().check("PatchOptions");
            assert_eq!(checked.is_ok(), good, "{manager}");
        }
    }

    #[test]
    fn the_body_of_a_delete_needs_no_kind() {
        let mut options = DeleteOptions::default();
        options.read(&json!({"propagationPolicy": "Foreground", "preconditions": {"uid": "u"}})).unwrap();
        assert_eq!((options.propagation, options.uid.as_deref()), (Some(Propagation::Foreground), Some("u")));
        assert!(options.read(&json!({"kind": "Pod"})).is_err());
    }
}
