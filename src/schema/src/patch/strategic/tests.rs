//! The language of strategic merge patches, directive by directive, and what is refused.

use super::apply_strategic_merge_patch;
use crate::Structural;
use serde_json::{Map, Value, json};

fn schema() -> Structural {
    let text = json!({"type": "string"});
    let mut components = Map::new();
    components.insert(
        "Thing".to_owned(),
        json!({"type": "object", "properties": {
            "data": {"type": "object", "additionalProperties": text},
            "finalizers": {"type": "array", "items": text, "x-kubernetes-patch-strategy": "merge"},
            "args": {"type": "array", "items": text},
            "strategy": {"type": "object", "x-kubernetes-patch-strategy": "retainKeys", "properties": {"type": text, "rolling": {"type": "object", "properties": {"max": text}}}},
            "whole": {"type": "object", "x-kubernetes-patch-strategy": "replace", "properties": {"a": text, "b": text}},
            "items": {"type": "array", "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name",
                "items": {"type": "object", "properties": {"name": text, "value": text, "ports": {"type": "array", "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "port",
                    "items": {"type": "object", "properties": {"port": {"type": "integer"}, "proto": text}}}}}}
        }}),
    );
    Structural::from_components("Thing", &components).unwrap()
}

fn patched(target: Value, patch: Value) -> Result<Value, String> {
    let mut target = target;
    apply_strategic_merge_patch(&schema(), &mut target, &patch).map(|()| target).map_err(|e| e.to_string())
}

#[test]
fn every_rule_of_the_language() {
    let cases = [
        (
            "maps merge and null removes",
            json!({"data": {"a": "1", "b": "2"}}),
            json!({"data": {"b": null, "c": "3"}}),
            json!({"data": {"a": "1", "c": "3"}}),
        ),
        (
            "nulls in what is new are dropped",
            json!({}),
            json!({"data": {"a": null, "b": "1"}}),
            json!({"data": {"b": "1"}}),
        ),
        (
            "lists without strategy are replaced",
            json!({"args": ["a", "b"]}),
            json!({"args": ["c"]}),
            json!({"args": ["c"]}),
        ),
        (
            "scalar lists merge as sets",
            json!({"finalizers": ["a", "b"]}),
            json!({"finalizers": ["b", "c"]}),
            json!({"finalizers": ["a", "b", "c"]}),
        ),
        (
            "objects merge by their key",
            json!({"items": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]}),
            json!({"items": [{"name": "b", "value": "3"}]}),
            json!({"items": [{"name": "a", "value": "1"}, {"name": "b", "value": "3"}]}),
        ),
        (
            "new objects come after",
            json!({"items": [{"name": "a"}]}),
            json!({"items": [{"name": "b", "value": "1"}]}),
            json!({"items": [{"name": "b", "value": "1"}, {"name": "a"}]}),
        ),
        (
            "lists in lists",
            json!({"items": [{"name": "a", "ports": [{"port": 80}]}]}),
            json!({"items": [{"name": "a", "ports": [{"port": 80, "proto": "udp"}, {"port": 81}]}]}),
            json!({"items": [{"name": "a", "ports": [{"port": 80, "proto": "udp"}, {"port": 81}]}]}),
        ),
        (
            "$patch delete in a list",
            json!({"items": [{"name": "a"}, {"name": "b"}]}),
            json!({"items": [{"$patch": "delete", "name": "a"}]}),
            json!({"items": [{"name": "b"}]}),
        ),
        (
            "$patch replace in a list",
            json!({"items": [{"name": "a"}, {"name": "b"}]}),
            json!({"items": [{"name": "c"}, {"$patch": "replace"}]}),
            json!({"items": [{"name": "c"}]}),
        ),
        (
            "$patch replace in a map",
            json!({"data": {"a": "1"}}),
            json!({"data": {"$patch": "replace", "b": "2"}}),
            json!({"data": {"b": "2"}}),
        ),
        (
            "$patch delete in a map",
            json!({"data": {"a": "1"}}),
            json!({"data": {"$patch": "delete"}}),
            json!({"data": {}}),
        ),
        (
            "a directive for what is not there",
            json!({}),
            json!({"data": {"$patch": "delete"}, "items": [{"name": "a"}, {"$patch": "delete", "name": "b"}]}),
            json!({"items": [{"name": "a"}]}),
        ),
        (
            "$retainKeys",
            json!({"strategy": {"type": "Rolling", "rolling": {"max": "1"}}}),
            json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}),
            json!({"strategy": {"type": "Recreate"}}),
        ),
        (
            "$deleteFromPrimitiveList",
            json!({"finalizers": ["a", "b", "c"]}),
            json!({"$deleteFromPrimitiveList/finalizers": ["b"]}),
            json!({"finalizers": ["a", "c"]}),
        ),
        (
            "$setElementOrder reorders",
            json!({"items": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}),
            json!({"$setElementOrder/items": [{"name": "c"}, {"name": "a"}]}),
            json!({"items": [{"name": "b"}, {"name": "c"}, {"name": "a"}]}),
        ),
        (
            "$setElementOrder with changes",
            json!({"items": [{"name": "a"}, {"name": "b"}]}),
            json!({"$setElementOrder/items": [{"name": "c"}, {"name": "b"}, {"name": "a"}], "items": [{"name": "c", "value": "1"}, {"name": "b", "value": "2"}]}),
            json!({"items": [{"name": "c", "value": "1"}, {"name": "b", "value": "2"}, {"name": "a"}]}),
        ),
        (
            "$setElementOrder and deletion from scalars",
            json!({"finalizers": ["a", "b", "c"]}),
            json!({"$setElementOrder/finalizers": ["c", "a", "d"], "$deleteFromPrimitiveList/finalizers": ["b"], "finalizers": ["d"]}),
            json!({"finalizers": ["c", "a", "d"]}),
        ),
        (
            "a map with strategy replace",
            json!({"whole": {"a": "1"}}),
            json!({"whole": {"b": "2"}}),
            json!({"whole": {"b": "2"}}),
        ),
        ("another type replaces", json!({"data": {"a": "1"}}), json!({"data": "x"}), json!({"data": "x"})),
    ];
    for (name, target, patch, wanted) in cases {
        assert_eq!(patched(target, patch), Ok(wanted), "{name}");
    }
}

#[test]
fn what_cannot_be_applied_is_refused() {
    let items = json!({"items": [{"name": "a"}]});
    for (patch, start) in [
        (json!({"items": [{"value": "x"}]}), "map: {\"value\":\"x\"} does not contain declared merge key: name"),
        (json!({"data": {"$patch": "frob"}}), ""),
        (json!({"items": [{"$patch": "merge"}]}), "merging lists cannot yet be specified in the patch"),
        (json!({"strategy": {"$retainKeys": ["type"], "rolling": {}}}), ""),
        (
            json!({"$setElementOrder/items": [{"name": "b"}, {"name": "a"}], "items": [{"name": "a"}, {"name": "b"}]}),
            "The order in patch list:",
        ),
    ] {
        let mut target = items.clone();
        target["data"] = json!({});
        target["strategy"] = json!({});
        let found = patched(target, patch.clone());
        assert!(found.as_ref().is_err_and(|e| e.starts_with(start)), "{patch}: {found:?}");
    }
    assert_eq!(apply_strategic_merge_patch(&schema(), &mut json!({}), &json!([])).unwrap_err().status(), 400);
}

#[test]
fn an_empty_patch_and_the_same_patch_twice_change_nothing() {
    let target = json!({"items": [{"name": "a", "ports": [{"port": 1}]}, {"name": "b"}], "finalizers": ["x"], "data": {"k": "v"}});
    assert_eq!(patched(target.clone(), json!({})), Ok(target.clone()));
    let patch =
        json!({"items": [{"name": "b", "value": "1"}, {"name": "c"}], "finalizers": ["y"], "data": {"k": null}});
    let once = patched(target, patch.clone()).unwrap();
    assert_eq!(patched(once.clone(), patch), Ok(once));
}
