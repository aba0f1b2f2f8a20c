//! Values that fail their schema, and the texts with their paths.

use crate::structural::testing::crd;
use serde_json::{Value, json};

fn spec(properties: Value) -> crate::Structural {
    crd(json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}))
}

fn texts(schema: &crate::Structural, spec: Value) -> Vec<String> {
    schema.validate(&json!({"spec": spec})).iter().map(ToString::to_string).collect()
}

#[test]
fn every_scalar_check_has_its_text() {
    let schema = spec(json!({
        "s": {"type": "string", "minLength": 2, "maxLength": 3}, "p": {"type": "string", "pattern": "^a+$"},
        "e": {"type": "string", "enum": ["x", "y"]}, "n": {"type": "integer", "minimum": 1, "maximum": 8, "multipleOf": 2},
        "x": {"type": "number", "exclusiveMinimum": true, "minimum": 0, "exclusiveMaximum": true, "maximum": 1},
        "b": {"type": "boolean"}, "ip": {"type": "string", "format": "ipv4"}, "t": {"type": "string", "format": "date-time"},
        "q": {"x-kubernetes-int-or-string": true}
    }));
    let good = json!({"s": "äö", "p": "aa", "e": "x", "n": 4, "x": 0.5, "b": true, "ip": "1.2.3.4", "t": "2026-01-01T00:00:00Z", "q": "1Gi"});
    assert_eq!(texts(&schema, good), Vec::<String>::new());
    let bad = json!({"s": "abcd", "p": "b", "e": "z", "n": 9, "x": 1.0, "b": "true", "ip": "x", "t": 5, "q": true});
    assert_eq!(
        texts(&schema, bad),
        [
            r#"spec.b: Invalid value: "string": spec.b in body must be of type boolean: "string""#,
            r#"spec.e: Unsupported value: "z": supported values: "x", "y""#,
            r#"spec.ip: Invalid value: "x": spec.ip in body must be of type ipv4: "x""#,
            "spec.n: Invalid value: 9: spec.n in body should be a multiple of 2",
            "spec.n: Invalid value: 9: spec.n in body should be less than or equal to 8",
            r#"spec.p: Invalid value: "b": spec.p in body should match '^a+$'"#,
            r#"spec.q: Invalid value: "boolean": spec.q in body must be of type integer,string: "boolean""#,
            "spec.s: Too long: may not be more than 3 bytes",
            r#"spec.t: Invalid value: "int64": spec.t in body must be of type date-time: "int64""#,
            "spec.x: Invalid value: 1: spec.x in body should be less than 1",
        ]
    );
    assert_eq!(
        texts(&schema, json!({"s": "a", "n": 0, "x": 0})),
        [
            "spec.n: Invalid value: 0: spec.n in body should be greater than or equal to 1",
            r#"spec.s: Invalid value: "a": spec.s in body should be at least 2 chars long"#,
            "spec.x: Invalid value: 0: spec.x in body should be greater than 0",
        ]
    );
    assert_eq!(texts(&schema, json!({"n": 2.0})), Vec::<String>::new(), "a whole float is an integer");
}

#[test]
fn containers_are_checked_with_the_paths_of_what_is_in_them() {
    let schema = crd(
        json!({"type": "object", "required": ["spec"], "properties": {"spec": {"type": "object", "required": ["disks"], "minProperties": 1, "properties": {
            "disks": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}},
            "labels": {"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}},
            "closed": {"type": "object", "additionalProperties": false}
        }}}}),
    );
    let texts = |object: Value| -> Vec<String> { schema.validate(&object).iter().map(ToString::to_string).collect() };
    assert_eq!(texts(json!({})), ["spec: Required value"]);
    assert_eq!(
        texts(json!({"spec": {}})),
        ["spec: Invalid value: 0: spec in body should have at least 1 properties", "spec.disks: Required value"]
    );
    assert_eq!(
        texts(json!({"spec": {"disks": [], "labels": {"a": 1, "b": "x"}, "closed": {"x": 1}}})),
        [
            r#"spec.closed: Invalid value: "x": spec.closed.x in body is a forbidden property"#,
            "spec.disks: Invalid value: 0: spec.disks in body should have at least 1 items",
            "spec.labels: Too many: 2: must have at most 1 item",
            r#"spec.labels.a: Invalid value: "integer": spec.labels.a in body must be of type string: "integer""#,
        ]
    );
    assert_eq!(
        texts(json!({"spec": {"disks": [{"name": "a"}, {}, {"name": 1}]}})),
        [
            "spec.disks[1].name: Required value",
            r#"spec.disks[2].name: Invalid value: "integer": spec.disks[2].name in body must be of type string: "integer""#,
            "spec.disks: Too many: 3: must have at most 2 items",
        ]
    );
}

#[test]
fn null_is_an_error_unless_nullable() {
    let schema = spec(json!({"a": {"type": "string"}, "b": {"type": "string", "nullable": true, "enum": ["x", null]}}));
    assert_eq!(
        texts(&schema, json!({"a": null, "b": null})),
        [r#"spec.a: Invalid value: "null": spec.a in body must be of type string: "null""#]
    );
}

#[test]
fn junctors_fail_without_a_field_and_explain_the_best_branch() {
    let schema = spec(
        json!({"d": {"type": "object", "properties": {"image": {"type": "string"}, "volume": {"type": "string"}, "n": {"type": "integer"}},
        "oneOf": [{"required": ["image"]}, {"required": ["volume"]}]},
        "a": {"type": "integer", "anyOf": [{"minimum": 10}, {"maximum": 1}]},
        "l": {"type": "string", "allOf": [{"pattern": "^a"}, {"pattern": "b$"}]},
        "x": {"type": "string", "not": {"enum": ["no"]}}}),
    );
    assert_eq!(texts(&schema, json!({"d": {"image": "i"}, "a": 0, "l": "ab", "x": "yes"})), Vec::<String>::new());
    assert_eq!(
        texts(&schema, json!({"d": {}, "a": 5, "l": "a", "x": "no"})),
        [
            r#"<nil>: Invalid value: "": "spec.a" must validate at least one schema (anyOf)"#,
            "spec.a: Invalid value: 5: spec.a in body should be greater than or equal to 10",
            r#"<nil>: Invalid value: "": "spec.d" must validate one and only one schema (oneOf). Found none valid"#,
            "spec.d.image: Required value",
            r#"spec.l: Invalid value: "a": spec.l in body should match 'b$'"#,
            r#"<nil>: Invalid value: "": "spec.l" must validate all the schemas (allOf)"#,
            r#"<nil>: Invalid value: "": "spec.x" must not validate the schema (not)"#,
        ]
    );
    assert_eq!(
        texts(&schema, json!({"d": {"image": "i", "volume": "v"}})),
        [
            r#"<nil>: Invalid value: "": "spec.d" must validate one and only one schema (oneOf). Found 2 valid alternatives"#
        ]
    );
}

#[test]
fn an_update_may_keep_what_was_wrong_before() {
    let schema = spec(json!({
        "mode": {"type": "string", "enum": ["a"]},
        "disks": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "size": {"type": "integer", "minimum": 1}}}},
        "plain": {"type": "array", "items": {"type": "string", "maxLength": 1}}
    }));
    let old =
        json!({"spec": {"mode": "z", "disks": [{"name": "a", "size": 0}, {"name": "b", "size": 0}], "plain": ["xx"]}});
    let update = |spec: Value| -> Vec<String> {
        schema.validate_update(&json!({"spec": spec}), &old).iter().map(|e| e.field.clone()).collect()
    };
    assert_eq!(schema.validate(&old).len(), 4);
    let none = Vec::<String>::new();
    assert_eq!(
        update(json!({"mode": "z", "disks": [{"name": "b", "size": 0}, {"name": "a", "size": 0}], "plain": ["xx"]})),
        none
    );
    assert_eq!(update(json!({"mode": "y"})), ["spec.mode"]);
    assert_eq!(
        update(json!({"mode": "z", "disks": [{"name": "c", "size": 0}, {"name": "a", "size": 0}]})),
        ["spec.disks[0].size"],
        "items are found by their key"
    );
    assert_eq!(update(json!({"plain": ["xx", "a"]})), ["spec.plain[0]"], "items of an atomic list have no counterpart");
}

#[test]
fn duplicates_that_were_there_before_do_not_block_an_update() {
    let schema = spec(json!({"tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}}));
    let twice = json!({"spec": {"tags": ["a", "a"]}});
    let once = json!({"spec": {"tags": ["a"]}});
    assert_eq!(schema.validate_update(&twice, &once).len(), 1);
    assert_eq!(schema.validate_update(&twice, &twice).len(), 0);
}

/// Every kind of rule, added to a definition when an object that breaks it is already stored: (the rule, the stored
/// value, another value that breaks it, one that keeps it).
#[test]
fn every_kind_of_tightening_lets_stored_objects_be_edited_elsewhere() {
    let (text, number, list) =
        (json!({"type": "string"}), json!({"type": "integer"}), json!({"type": "array", "items": {"type": "string"}}));
    let with = |base: &Value, rule: Value| {
        let mut schema = base.clone();
        schema.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
        schema
    };
    let object = json!({"type": "object", "properties": {"x": {"type": "string"}, "y": {"type": "string"}}});
    let map = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let listed = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
        "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}}});
    let cel = |rule: &str| json!({"x-kubernetes-validations": [{"rule": rule}]});
    let cases = [
        (with(&text, json!({"pattern": "^a"})), json!("b"), json!("c"), json!("a")),
        (with(&text, json!({"minLength": 2})), json!("b"), json!("c"), json!("aa")),
        (with(&text, json!({"maxLength": 1})), json!("bb"), json!("cc"), json!("a")),
        (with(&text, json!({"enum": ["a"]})), json!("b"), json!("c"), json!("a")),
        (with(&text, json!({"format": "date-time"})), json!("b"), json!("c"), json!("2026-01-01T00:00:00Z")),
        (with(&text, json!({"format": "ipv4"})), json!("b"), json!("c"), json!("10.0.0.1")),
        (with(&number, json!({"minimum": 5})), json!(1), json!(2), json!(5)),
        (with(&number, json!({"maximum": 5, "exclusiveMaximum": true})), json!(5), json!(6), json!(4)),
        (with(&number, json!({"multipleOf": 5})), json!(1), json!(2), json!(5)),
        (number.clone(), json!("b"), json!("c"), json!(1)),
        (text.clone(), json!({}), json!(5), json!("a")),
        (with(&list, json!({"minItems": 2})), json!(["b"]), json!(["c"]), json!(["a", "a"])),
        (with(&list, json!({"maxItems": 1})), json!(["b", "b"]), json!(["c", "c"]), json!(["a"])),
        (with(&list, json!({"x-kubernetes-list-type": "set"})), json!(["b", "b"]), json!(["a"]), json!(["a"])),
        (listed, json!([{"k": "b"}, {"k": "b"}]), json!([{"k": "a"}]), json!([{"k": "a"}])),
        (with(&map, json!({"minProperties": 2})), json!({"b": ""}), json!({"c": ""}), json!({"a": "", "b": ""})),
        (
            with(&map, json!({"maxProperties": 1})),
            json!({"b": "", "c": ""}),
            json!({"b": "", "d": ""}),
            json!({"a": ""}),
        ),
        (with(&object, json!({"required": ["x"]})), json!({"y": "b"}), json!({"y": "c"}), json!({"x": "a"})),
        (with(&text, json!({"anyOf": [{"pattern": "^a"}]})), json!("b"), json!("c"), json!("a")),
        (with(&text, json!({"oneOf": [{"pattern": "^a"}]})), json!("b"), json!("c"), json!("a")),
        (with(&text, json!({"allOf": [{"pattern": "^a"}]})), json!("b"), json!("c"), json!("a")),
        (with(&text, json!({"not": {"pattern": "^[bc]"}})), json!("b"), json!("c"), json!("a")),
        (with(&text, cel("self.startsWith('a')")), json!("b"), json!("c"), json!("a")),
        (with(&number, cel("1 / self == 1")), json!(0), json!(5), json!(1)),
        (with(&object, cel("has(self.x)")), json!({"y": "b"}), json!({"y": "c"}), json!({"x": "a"})),
        (with(&list, cel("self.all(x, x.startsWith('a'))")), json!(["b"]), json!(["c"]), json!(["a"])),
    ];
    for (rule, stored, worse, good) in cases {
        let schema = spec(json!({"field": rule, "other": {"type": "integer"}}));
        let whole = |field: &Value, other: u32| json!({"metadata": {"labels": {"l": other.to_string()}}, "spec": {"field": field, "other": other}});
        let before = whole(&stored, 1);
        let found = |after: &Value| schema.check(after, Some(&before)).len();
        assert!(!schema.check(&before, None).is_empty(), "{rule}: {stored} cannot be made anew");
        assert_eq!(found(&before), 0, "{rule}: {stored} may be written again");
        assert_eq!(found(&whole(&stored, 2)), 0, "{rule}: {stored} may be edited elsewhere");
        assert_eq!(found(&whole(&good, 2)), 0, "{rule}: {stored} may become {good}");
        assert_eq!(found(&whole(&worse, 2)) > 0, worse != good, "{rule}: {stored} may not become {worse}");
    }
}
