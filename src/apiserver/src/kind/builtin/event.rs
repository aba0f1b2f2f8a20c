//! Events: about an object of their own namespace, bounded in size, and through the newer API fixed once they are written.

use nubium_schema::FieldError;
use nubium_schema::names::label_key;
use serde_json::Value;

use crate::kind::rules::{Builtin, Context};
use crate::object::meta;

/// The longest `reportingInstance`, `action` and `reason`.
const SHORT: usize = 128;
/// The longest message, for Events that say when they happened.
const MESSAGE: usize = 1024;
/// The largest Event as a whole, however it is written. Kubernetes has no such bound for older Events.
const WHOLE: usize = 16 << 10;

#[derive(Debug)]
pub(super) struct Event {
    /// Its fields as served, each with its name in the core API, by which errors name it.
    pub fields: &'static Fields,
    /// The newer API has stricter rules.
    pub strict: bool,
}

/// The names of the fields that the two APIs call differently, as served.
#[derive(Debug)]
pub(super) struct Fields {
    about: &'static str,
    message: &'static str,
    reporter: &'static str,
    source: &'static str,
    first: &'static str,
    last: &'static str,
    count: &'static str,
}

pub(super) const CORE: Fields = Fields {
    about: "involvedObject",
    message: "message",
    reporter: "reportingComponent",
    source: "source",
    first: "firstTimestamp",
    last: "lastTimestamp",
    count: "count",
};

pub(super) const NEWER: Fields = Fields {
    about: "regarding",
    message: "note",
    reporter: "reportingController",
    source: "deprecatedSource",
    first: "deprecatedFirstTimestamp",
    last: "deprecatedLastTimestamp",
    count: "deprecatedCount",
};

impl Builtin for Event {
    fn validate(&self, _: &Context<'_>, object: &Value, old: Option<&Value>, _: &mut Vec<String>) -> Vec<FieldError> {
        let mut errors = self.always(object);
        if self.strict {
            match old {
                None => errors.extend(self.created(object)),
                Some(old) => errors.extend(self.changed(object, old)),
            }
        }
        errors
    }
}

/// Whether Go would write the value at all.
fn is_said(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.as_i64() != Some(0),
        Value::Object(map) => map.values().any(is_said),
        _ => true,
    }
}

impl Event {
    /// What holds through either API.
    fn always(&self, object: &Value) -> Vec<FieldError> {
        let fields = self.fields;
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let about = object[fields.about]["namespace"].as_str().unwrap_or_default();
        let namespace = meta::text(object, "namespace");
        let is_dated = is_said(&object["eventTime"]);
        let mut errors = Vec::new();
        // What is cluster-scoped has its events in the namespace `default`.
        let fits = match about {
            "" => namespace == "default" || (is_dated && namespace == "kube-system"),
            about => about == namespace || is_dated,
        };
        if !fits {
            let field = "involvedObject.namespace";
            errors.push(FieldError::invalid(field, about, "does not match event.namespace"));
        }
        if is_dated {
            for field in [fields.reporter, "reportingInstance", "action", "reason"] {
                if text(field).is_empty() {
                    errors.push(FieldError::required(field, ""));
                }
            }
            let reporter = text(fields.reporter);
            let wrong = label_key(reporter).into_iter();
            errors.extend(wrong.map(|why| FieldError::invalid(fields.reporter, reporter, why)));
            for (field, name, limit) in [
                ("reportingInstance", "reportingInstance", SHORT),
                ("action", "action", SHORT),
                ("reason", "reason", SHORT),
                (fields.message, "message", MESSAGE),
            ] {
                if text(field).len() > limit {
                    errors.push(FieldError::invalid(name, "", format!("can have at most {limit} characters")));
                }
            }
        }
        if object.to_string().len() > WHOLE {
            errors.push(FieldError::too_long("", WHOLE as u64));
        }
        errors
    }

    /// What holds for an Event made through the newer API.
    fn created(&self, object: &Value) -> Vec<FieldError> {
        let fields = self.fields;
        let mut errors = series(object);
        if !is_said(&object["eventTime"]) {
            errors.push(FieldError::required("eventTime", ""));
        }
        let kind = object["type"].as_str().unwrap_or_default();
        if !matches!(kind, "Normal" | "Warning") {
            errors.push(FieldError::invalid("type", "", format!("has invalid value: {kind}")));
        }
        for (field, name) in [
            (fields.first, "firstTimestamp"),
            (fields.last, "lastTimestamp"),
            (fields.count, "count"),
            (fields.source, "source"),
        ] {
            if is_said(&object[field]) {
                errors.push(FieldError::invalid(name, "", "needs to be unset"));
            }
        }
        errors
    }

    /// What the newer API lets nobody change: everything but the series.
    fn changed(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let fields = self.fields;
        let mut errors = if object["series"] == old["series"] { Vec::new() } else { series(object) };
        for (field, name) in [
            (fields.about, "involvedObject"),
            ("reason", "reason"),
            (fields.message, "message"),
            (fields.source, "source"),
            (fields.first, "firstTimestamp"),
            (fields.last, "lastTimestamp"),
            (fields.count, "count"),
            ("type", "type"),
            ("eventTime", "eventTime"),
            ("action", "action"),
            ("related", "related"),
            (fields.reporter, "reportingController"),
            ("reportingInstance", "reportingInstance"),
        ] {
            let (new, old) = (&object[field], &old[field]);
            if new != old && (is_said(new) || is_said(old)) {
                errors.push(FieldError::invalid(name, new.clone(), "field is immutable"));
            }
        }
        errors
    }
}

fn series(object: &Value) -> Vec<FieldError> {
    let series = &object["series"];
    let mut errors = Vec::new();
    if series.is_object() {
        if series["count"].as_i64().unwrap_or_default() < 2 {
            errors.push(FieldError::invalid("series.count", "", "should be at least 2"));
        }
        if !is_said(&series["lastObservedTime"]) {
            errors.push(FieldError::required("series.lastObservedTime", ""));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::Snapshot;

    fn validate(event: &Event, object: &Value, old: Option<&Value>) -> Vec<String> {
        let context = Context { snapshot: &Snapshot::default(), now: "", subresource: "" };
        event.validate(&context, object, old, &mut Vec::new()).iter().map(ToString::to_string).collect()
    }

    fn full() -> Value {
        json!({
            "metadata": {"name": "e", "namespace": "shop"}, "eventTime": "2026-01-01T00:00:00.000000Z",
            "regarding": {"namespace": "shop", "name": "web-1"}, "reportingController": "c", "reportingInstance": "i",
            "action": "Starting", "reason": "Started", "type": "Normal", "note": "n",
        })
    }

    #[test]
    fn the_newer_api_wants_all_of_it_and_lets_only_the_series_change() {
        let event = Event { fields: &NEWER, strict: true };
        assert!(validate(&event, &full(), None).is_empty());
        for (field, value, complaint) in [
            ("eventTime", Value::Null, "eventTime: Required value"),
            ("type", json!("Odd"), "type: Invalid value: \"\": has invalid value: Odd"),
            ("action", json!(""), "action: Required value"),
            ("note", json!("n".repeat(1025)), "message: Invalid value: \"\": can have at most 1024 characters"),
            ("reason", json!("r".repeat(129)), "reason: Invalid value: \"\": can have at most 128 characters"),
            ("deprecatedCount", json!(2), "count: Invalid value: \"\": needs to be unset"),
            (
                "series",
                json!({"count": 1, "lastObservedTime": "t"}),
                "series.count: Invalid value: \"\": should be at least 2",
            ),
        ] {
            let mut object = full();
            object[field] = value;
            assert_eq!(validate(&event, &object, None), [complaint], "{field}");
        }
        let mut changed = full();
        changed["series"] = json!({"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"});
        changed["deprecatedCount"] = json!(0);
        assert!(validate(&event, &changed, Some(&full())).is_empty());
        changed["note"] = json!("other");
        assert_eq!(
            validate(&event, &changed, Some(&full())),
            ["message: Invalid value: \"other\": field is immutable"]
        );
    }

    #[test]
    fn an_older_event_is_free_but_for_its_place_and_size() {
        let event = Event { fields: &CORE, strict: false };
        let older = json!({"metadata": {"namespace": "shop"}, "involvedObject": {"namespace": "shop"}, "message": "m".repeat(2000)});
        assert!(validate(&event, &older, None).is_empty());
        let mut elsewhere = older.clone();
        elsewhere["involvedObject"]["namespace"] = json!("other");
        assert_eq!(validate(&event, &elsewhere, None).len(), 1);
        let mut huge = older;
        huge["message"] = json!("m".repeat(WHOLE));
        assert_eq!(validate(&event, &huge, None).len(), 1);
    }
}
