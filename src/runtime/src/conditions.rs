//! Keeps `lastTransitionTime` honest: it moves only when a condition's status does.
//!
//! Works on JSON in the shape of `metav1.Condition`, so that no writer has to carry old times around: it says what it
//! saw now, with any time, and this puts the right one in.

use serde_json::Value;

/// Gives every condition in `own` the time of the one in `seen` with the same type and status, else `now`.
pub(crate) fn keep_transition_times(own: &mut Value, seen: &Value, now: &str) {
    let Some(conditions) = own.get_mut("conditions").and_then(Value::as_array_mut) else { return };
    for condition in conditions {
        let time = find(seen, condition["type"].as_str().unwrap_or_default())
            .filter(|before| before["status"] == condition["status"])
            .and_then(|before| before["lastTransitionTime"].as_str())
            .unwrap_or(now);
        condition["lastTransitionTime"] = time.into();
    }
}

/// The condition of that type in a status.
pub(crate) fn find<'a>(status: &'a Value, type_: &str) -> Option<&'a Value> {
    status.get("conditions")?.as_array()?.iter().find(|condition| condition["type"] == type_)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_time_moves_with_the_status_and_not_with_the_words() {
        let seen = json!({"conditions": [
            {"type": "Ready", "status": "False", "reason": "Booting", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "Running", "status": "False", "reason": "Off", "lastTransitionTime": "2026-01-02T00:00:00Z"},
        ]});
        let mut own = json!({"conditions": [
            {"type": "Ready", "status": "False", "reason": "Waiting", "lastTransitionTime": "1970-01-01T00:00:00Z"},
            {"type": "Running", "status": "True", "reason": "Running", "lastTransitionTime": "1970-01-01T00:00:00Z"},
            {"type": "New", "status": "True", "reason": "New", "lastTransitionTime": "1970-01-01T00:00:00Z"},
        ]});
        keep_transition_times(&mut own, &seen, "2026-02-02T00:00:00Z");
        let times: Vec<_> = (0..3).map(|i| own["conditions"][i]["lastTransitionTime"].as_str().unwrap()).collect();
        assert_eq!(times, ["2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z", "2026-02-02T00:00:00Z"]);
    }
}
