//! Equality and total order of JSON values as field ownership needs them.
//!
//! `serde_json` distinguishes `1` from `1.0`; Kubernetes does not, as a set item read from `fieldsV1` may have become a float
//! on the way. The order puts numbers before strings, booleans, lists, maps and null, and decides the order of the keys
//! in `fieldsV1`.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

/// Whether two values are the same, numbers being compared by what they amount to.
pub fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => compare_numbers(left, right) == Ordering::Equal,
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            // Most often the keys are the same, in the same order.
            left.len() == right.len()
                && left.iter().zip(right).all(|((key, left), (right_key, right_value))| match key == right_key {
                    true => equal(left, right_value),
                    false => right.get(key).is_some_and(|right| equal(left, right)),
                })
        }
        _ => left == right,
    }
}

/// The total order of JSON values.
pub fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => compare_numbers(left, right),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Array(left), Value::Array(right)) => left
            .iter()
            .zip(right)
            .map(|(left, right)| compare(left, right))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| left.len().cmp(&right.len())),
        (Value::Object(left), Value::Object(right)) => compare_maps(left, right),
        _ => rank(left).cmp(&rank(right)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}

/// Maps are ordered by their first differing key, in the order of keys; the map that has the smaller key comes first,
/// unless the other one has no further keys.
fn compare_maps(left: &Map<String, Value>, right: &Map<String, Value>) -> Ordering {
    let mut left: Vec<_> = left.iter().collect();
    let mut right: Vec<_> = right.iter().collect();
    left.sort_unstable_by_key(|entry| entry.0);
    right.sort_unstable_by_key(|entry| entry.0);
    for ((left_key, left_value), (right_key, right_value)) in left.iter().zip(&right) {
        match left_key.cmp(right_key).then_with(|| compare(left_value, right_value)) {
            Ordering::Equal => {}
            order => return order,
        }
    }
    left.len().cmp(&right.len())
}

fn compare_numbers(left: &Number, right: &Number) -> Ordering {
    match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => {
            let (left, right) = (left.as_f64().unwrap_or(f64::NAN), right.as_f64().unwrap_or(f64::NAN));
            left.partial_cmp(&right).unwrap_or(Ordering::Equal)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_compared_by_amount() {
        assert!(equal(&json!({"a": [1, 2.0]}), &json!({"a": [1.0, 2]})));
        assert!(!equal(&json!(1), &json!("1")));
        assert_eq!(compare(&json!(1.5), &json!(1)), Ordering::Greater);
    }

    #[test]
    fn kinds_of_values_have_an_order() {
        let ordered = [json!(1), json!("a"), json!(false), json!([]), json!({}), json!(null)];
        for pair in ordered.windows(2) {
            assert_eq!(compare(&pair[0], &pair[1]), Ordering::Less, "{} before {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn maps_are_ordered_by_key_then_value_then_size() {
        assert_eq!(compare(&json!({"a": 1}), &json!({"b": 0})), Ordering::Less);
        assert_eq!(compare(&json!({"a": 1}), &json!({"a": 1, "b": 0})), Ordering::Less);
        assert_eq!(compare(&json!({"a": 2}), &json!({"a": 1, "b": 0})), Ordering::Greater);
    }
}
