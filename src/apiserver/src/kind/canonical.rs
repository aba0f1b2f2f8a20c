//! Values of built-in kinds in the one form that Go reads and writes.
//!
//! Go's clients decode into fixed types: one stored time that they cannot parse fails their every list. So times, bytes and
//! maps of text are brought into Go's own form when they come in, or refused with Go's words.
//!
//! | type | taken | stored |
//! |---|---|---|
//! | `MicroTime` | RFC 3339 with exactly six digits of a second | in UTC |
//! | `Time` | RFC 3339 | in UTC, whole seconds |
//! | bytes | base64, line ends anywhere | base64 without them |
//! | a map of text | null for "" | "" |

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::components::components;

const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";

/// How many digits of a second a `MicroTime` must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Digits {
    /// Six, as Go reads it.
    Six,
    /// Any number: the object may have been stored before anybody looked.
    Any,
}

/// Brings an object of the published component `name` into Go's form.
///
/// # Errors
/// What Go would say of a value that it cannot decode.
pub(crate) fn rewrite(name: &str, object: &mut Value, digits: Digits) -> Result<(), String> {
    match (name, &mut *object) {
        (TIME, Value::String(text)) => *text = time(text)?,
        (MICRO_TIME, Value::String(text)) => *text = micro_time(text, digits)?,
        _ => {
            if let Some(schema) = components().get(name) {
                walk(schema, object, digits)?;
            }
        }
    }
    Ok(())
}

fn walk(schema: &Value, value: &mut Value, digits: Digits) -> Result<(), String> {
    let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
    if let Some(name) = reference.and_then(|reference| reference.rsplit('/').next()) {
        return rewrite(name, value, digits);
    }
    match value {
        Value::Object(map) => {
            for (key, below) in map {
                if let Some(schema) = schema["properties"].get(key) {
                    walk(schema, below, digits)?;
                } else if schema["additionalProperties"].is_object() {
                    let schema = &schema["additionalProperties"];
                    if below.is_null() && schema["type"] == "string" {
                        *below = "".into();
                    }
                    walk(schema, below, digits)?;
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                walk(&schema["items"], item, digits)?;
            }
        }
        Value::String(text) if schema["format"] == "byte" => {
            // What is no base64 is reported by the rules of the kind, with its field.
            let joined: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
            if let Ok(bytes) = STANDARD.decode(joined) {
                *text = STANDARD.encode(bytes);
            }
        }
        Value::Number(_) | Value::Bool(_) if schema["format"] == "byte" => {
            let kind = if value.is_number() { "number" } else { "bool" };
            return Err(format!("json: cannot unmarshal {kind} into Go value of type []uint8"));
        }
        _ => {}
    }
    Ok(())
}

/// A `Time`: any fraction is taken, none is kept.
fn time(text: &str) -> Result<String, String> {
    const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
    let parsed = is_rfc3339(text).then(|| text.parse::<Timestamp>().ok()).flatten();
    let at = parsed.ok_or_else(|| unparsable(text, LAYOUT))?;
    // Towards the past, as Go truncates.
    let seconds = at.as_nanosecond().div_euclid(1_000_000_000);
    let at = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let at = at.ok_or_else(|| unparsable(text, LAYOUT))?;
    Ok(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A `MicroTime`: six digits are written.
fn micro_time(text: &str, wanted: Digits) -> Result<String, String> {
    const LAYOUT: &str = "2006-01-02T15:04:05.000000Z07:00";
    let digits = text.split_once('.').map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count());
    let parsed = is_rfc3339(text).then(|| text.parse::<Timestamp>().ok()).flatten();
    let at = parsed.ok_or_else(|| unparsable(text, LAYOUT))?;
    if digits != 6 && wanted == Digits::Six {
        // Where Go stops reading, and what it expected there.
        let (rest, expected) = if digits < 6 { (&text[19..], ".000000") } else { (&text[26..], "Z07:00") };
        return Err(format!("parsing time {text:?} as {LAYOUT:?}: cannot parse {rest:?} as {expected:?}"));
    }
    Ok(at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string())
}

fn unparsable(text: &str, layout: &str) -> String {
    format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as {layout:?}")
}

/// Whether a text has the shape of RFC 3339 that Go takes: `YYYY-MM-DDTHH:MM:SS`, digits of a second, `Z` or `+HH:MM`.
fn is_rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = |at: usize, shape: &str| {
        bytes.get(at..at + shape.len()).is_some_and(|found| {
            found.iter().zip(shape.bytes()).all(|(b, s)| if s == b'0' { b.is_ascii_digit() } else { *b == s })
        })
    };
    if !shape(0, "0000-00-00T00:00:00") {
        return false;
    }
    let mut at = 19;
    if bytes.get(at) == Some(&b'.') {
        let digits = bytes[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return false;
        }
        at += 1 + digits;
    }
    match &bytes[at..] {
        b"Z" => true,
        [b'+' | b'-', rest @ ..] => {
            let hours_and_minutes = |b: &[u8]| &b[0..2] <= b"23".as_slice() && &b[3..5] <= b"59".as_slice();
            rest.len() == 5 && shape(at + 1, "00:00") && hours_and_minutes(rest)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LEASE: &str = "io.k8s.api.coordination.v1.Lease";
    const EVENT: &str = "io.k8s.api.core.v1.Event";
    const SECRET: &str = "io.k8s.api.core.v1.Secret";

    fn rewritten(name: &str, mut object: Value) -> Result<Value, String> {
        rewrite(name, &mut object, Digits::Six).map(|()| object)
    }

    #[test]
    fn times_are_in_utc_with_gos_digits() {
        let lease = |time: &str| rewritten(LEASE, json!({"spec": {"renewTime": time}}));
        for (taken, stored) in [
            ("2026-01-01T10:00:00.000000Z", "2026-01-01T10:00:00.000000Z"),
            ("2026-01-01T10:00:00.123456+02:00", "2026-01-01T08:00:00.123456Z"),
        ] {
            assert_eq!(lease(taken).unwrap()["spec"]["renewTime"], stored);
        }
        for refused in [
            "2026-01-01T10:00:00Z",
            "2026-01-01T10:00:00.123Z",
            "2026-01-01T10:00:00.1234567Z",
            "2026-01-01 10:00:00.000000Z",
            "2026-13-01T10:00:00.000000Z",
            "2026-01-01T10:00:00.000000+99:99",
            "",
        ] {
            assert!(lease(refused).is_err(), "{refused}");
        }
        let mut stored = json!({"spec": {"renewTime": "2026-01-01T10:00:00Z"}});
        rewrite(LEASE, &mut stored, Digits::Any).unwrap();
        assert_eq!(stored["spec"]["renewTime"], "2026-01-01T10:00:00.000000Z");
        let event = |time: &str| rewritten(EVENT, json!({"lastTimestamp": time, "eventTime": null}));
        for (taken, stored) in [
            ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z"),
            ("2026-01-01T10:00:00.999-01:30", "2026-01-01T11:30:00Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(event(taken).unwrap()["lastTimestamp"], stored);
        }
        assert!(event("2026-01-01t10:00:00z").is_err() && event("yesterday").is_err());
    }

    #[test]
    fn bytes_have_no_line_ends_and_maps_no_nulls() {
        let secret = json!({"metadata": {"labels": {"a": null}}, "data": {"a": "YW\r\nJj\n", "b": null, "c": "!"}});
        let want = json!({"metadata": {"labels": {"a": ""}}, "data": {"a": "YWJj", "b": "", "c": "!"}});
        assert_eq!(rewritten(SECRET, secret).unwrap(), want);
        assert!(rewritten(SECRET, json!({"data": {"a": 5}})).is_err());
        assert!(rewritten("io.k8s.api.core.v1.ConfigMap", json!({"binaryData": {"a": true}})).is_err());
    }
}
