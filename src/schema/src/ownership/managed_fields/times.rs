//! The times of entries.

use serde_json::{Map, Value};

/// The seconds of a time since 1970; 0 when it cannot be read.
pub(super) fn seconds(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second)
}

/// Gives `new` the times of `live` when nothing else is different, so that a write without effect need not be stored.
///
/// To be called last, when `new` is ready to be stored and its `resourceVersion` is that of `live`.
pub fn keep_times_if_unchanged(live: &Value, new: &mut Value) {
    let entries = |object: &Value| object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let (before, after) = (entries(live), entries(new));
    if after.is_empty() || before == after || before.len() != after.len() {
        return;
    }
    let same = before.iter().zip(&after).all(|(before, after)| same_without(before, after, &["time"]));
    if same && same_without(live, new, &["metadata", "managedFields"]) {
        new["metadata"]["managedFields"] = Value::Array(before);
    }
}

/// Whether two values are the same but for what is at a path.
fn same_without(left: &Value, right: &Value, path: &[&str]) -> bool {
    match (path, left, right) {
        ([], _, _) => true,
        ([name, rest @ ..], Value::Object(left), Value::Object(right)) => {
            let others = |fields: &Map<String, Value>| fields.len() - usize::from(fields.contains_key(*name));
            let same_others = left.iter().all(|(key, value)| key == name || right.get(key) == Some(value));
            let at_path = match (left.get(*name), right.get(*name)) {
                (Some(left), Some(right)) => same_without(left, right, rest),
                (left, right) => left.is_none() == right.is_none() || rest.is_empty(),
            };
            others(left) == others(right) && same_others && at_path
        }
        _ => left == right,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(time: &str, size: i64, owned: &str) -> Value {
        let entry = json!({"manager": "ana", "operation": "Apply", "time": time, "fieldsV1": {owned: {}}});
        json!({"metadata": {"name": "m", "managedFields": [entry]}, "spec": {"size": size}})
    }

    #[test]
    fn a_write_without_effect_keeps_the_times() {
        let (live, mut new) = (object("t1", 1, "f:spec"), object("t2", 1, "f:spec"));
        keep_times_if_unchanged(&live, &mut new);
        assert_eq!(new, live);
    }

    #[test]
    fn a_change_has_its_time() {
        let live = object("t1", 1, "f:spec");
        let mut without_entries = live.clone();
        without_entries["metadata"].as_object_mut().unwrap().remove("managedFields");
        let mut labelled = object("t2", 1, "f:spec");
        labelled["metadata"]["labels"] = json!({});
        for changed in [object("t2", 2, "f:spec"), object("t2", 1, "f:status"), without_entries, labelled] {
            let mut new = changed.clone();
            keep_times_if_unchanged(&live, &mut new);
            assert_eq!(new, changed);
        }
    }
}
