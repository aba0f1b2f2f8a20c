//! JSON Merge Patch (RFC 7386).

use serde_json::{Map, Value};

use super::PatchError;

/// Applies `patch`, which has to be an object: null removes, objects merge, everything else replaces.
pub fn apply_merge_patch(target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let Value::Object(patch) = patch else { return Err(PatchError::Malformed("Invalid JSON Patch".to_owned())) };
    merge(target, patch);
    Ok(())
}

fn merge(target: &mut Value, patch: &Map<String, Value>) {
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(map) = target else { return };
    for (key, value) in patch {
        match value {
            Value::Null => {
                map.remove(key);
            }
            Value::Object(nested) => merge(map.entry(key.clone()).or_insert(Value::Null), nested),
            // what replaces an object stays as it is
            other if map.get(key).is_some_and(Value::is_object) => {
                map.insert(key.clone(), other.clone());
            }
            other => {
                map.insert(key.clone(), without_null_members(other));
            }
        }
    }
}

/// Beyond the RFC, and as the Go library does: objects inside a new list lose their null members too.
fn without_null_members(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(without_null_members).collect(),
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, v)| !v.is_null());
            kept.map(|(k, v)| (k.clone(), without_null_members(v))).collect()
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn the_rfc_examples() {
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (mut target, patch, wanted) in cases {
            apply_merge_patch(&mut target, &patch).unwrap();
            assert_eq!(target, wanted, "{patch}");
        }
        assert_eq!(apply_merge_patch(&mut json!({}), &json!([1])).unwrap_err().status(), 400);
    }

    pub(crate) fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-5i64..5).prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..4).prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    fn any_object() -> impl Strategy<Value = Value> {
        prop::collection::btree_map("[a-c]", any_json(), 0..4).prop_map(|m| Value::Object(m.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn applying_twice_is_applying_once(target in any_object(), patch in any_object()) {
            // a null deep in a list that replaces an object stays the first time and goes the second
            let patch = without_null_members(&patch);
            let mut once = target;
            apply_merge_patch(&mut once, &patch).unwrap();
            let mut twice = once.clone();
            apply_merge_patch(&mut twice, &patch).unwrap();
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn an_empty_patch_changes_nothing(target in any_object()) {
            let mut patched = target.clone();
            apply_merge_patch(&mut patched, &json!({})).unwrap();
            prop_assert_eq!(patched, target);
        }
    }
}
