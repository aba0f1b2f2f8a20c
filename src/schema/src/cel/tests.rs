//! Rules as CRDs have them, and the texts of those that fail.

use crate::Structural;
use crate::structural::testing::{components, crd};
use serde_json::{Value, json};

fn texts(schema: &Structural, object: Value, old: Option<Value>) -> Vec<String> {
    schema.check(&object, old.as_ref()).iter().map(ToString::to_string).collect()
}

fn spec(spec: Value) -> Structural {
    crd(json!({"type": "object", "properties": {"spec": spec}}))
}

#[test]
fn rules_speak_at_their_own_level() {
    let schema = spec(json!({"type": "object",
        "x-kubernetes-validations": [
            {"rule": "has(self.flavor) != has(self.resources)", "message": "give either flavor or resources"},
            {"rule": "self.min <= self.max", "messageExpression": "'min ' + string(self.min) + ' is above max ' + string(self.max)", "fieldPath": ".min"},
            {"rule": "self.min > 0", "reason": "FieldValueForbidden"}
        ],
        "properties": {"flavor": {"type": "string"}, "resources": {"type": "object"}, "min": {"type": "integer"}, "max": {"type": "integer"},
            "names": {"type": "array", "items": {"type": "string", "x-kubernetes-validations": [{"rule": "self != 'root'", "message": "is taken"}]}},
            "labels": {"type": "object", "additionalProperties": {"type": "string", "x-kubernetes-validations": [{"rule": "self.size() > 0", "message": "is empty"}]}}}}));
    assert_eq!(texts(&schema, json!({"spec": {"flavor": "a", "min": 1, "max": 2}}), None), Vec::<String>::new());
    assert_eq!(
        texts(&schema, json!({"spec": {"min": 0, "max": -1, "names": ["a", "root"], "labels": {"a/b": ""}}}), None),
        [
            "spec: Invalid value: give either flavor or resources",
            "spec.min: Invalid value: min 0 is above max -1",
            "spec: Forbidden: failed rule: self.min > 0",
            r#"spec.labels[a/b]: Invalid value: "": is empty"#,
            r#"spec.names[1]: Invalid value: "root": is taken"#,
        ]
    );
}

#[test]
fn transition_rules_need_the_old_value_and_find_it_by_key() {
    let schema = spec(json!({"type": "object", "properties": {
        "size": {"type": "integer", "x-kubernetes-validations": [{"rule": "self >= oldSelf", "message": "may not shrink"}]},
        "disks": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object", "required": ["name"],
            "properties": {"name": {"type": "string"}, "image": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}]}}}},
        "once": {"type": "string", "x-kubernetes-validations": [{"rule": "!oldSelf.hasValue() || oldSelf.value() == self", "optionalOldSelf": true, "message": "is set once"}]}
    }}));
    let old =
        json!({"spec": {"size": 2, "disks": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}], "once": "1"}});
    assert_eq!(texts(&schema, old.clone(), None), Vec::<String>::new());
    let moved = json!({"spec": {"size": 3, "disks": [{"name": "b", "image": "y"}, {"name": "c", "image": "z"}, {"name": "a", "image": "x"}], "once": "1"}});
    assert_eq!(texts(&schema, moved, Some(old.clone())), Vec::<String>::new());
    let changed = json!({"spec": {"size": 1, "disks": [{"name": "b", "image": "q"}], "once": "2"}});
    assert_eq!(
        texts(&schema, changed, Some(old)),
        [
            r#"spec.disks[0].image: Invalid value: "q": is immutable"#,
            r#"spec.once: Invalid value: "2": is set once"#,
            "spec.size: Invalid value: 1: may not shrink",
        ]
    );
}

#[test]
fn what_failed_before_and_did_not_change_passes() {
    let schema = spec(
        json!({"type": "object", "properties": {"a": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0"}]}, "b": {"type": "integer"}}}),
    );
    let old = json!({"spec": {"a": 0}});
    assert_eq!(texts(&schema, json!({"spec": {"a": 0, "b": 1}}), Some(old.clone())).len(), 0);
    assert_eq!(texts(&schema, json!({"spec": {"a": -1}}), Some(old)).len(), 1);
}

#[test]
fn values_have_the_types_of_their_schema() {
    let schema = spec(json!({"type": "object",
        "x-kubernetes-validations": [
            {"rule": "self.number == 1.0", "message": "number"},
            {"rule": "self.at < timestamp('2027-01-01T00:00:00Z')", "message": "at"},
            {"rule": "self.ttl > duration('1h')", "message": "ttl"},
            {"rule": "self.x__dash__y.__namespace__ == 'n' && self.snake_case == 's'", "message": "escaped"},
            {"rule": "quantity(self.memory).isGreaterThan(quantity('1Mi'))", "message": "quantity"},
            {"rule": "cidr(self.range).containsIP(self.ip)", "message": "ip"},
            {"rule": "self.list.all(a, self.list.exists_one(b, b == a))", "message": "unique"},
            {"rule": "self.port == 80 || self.port == 'http'", "message": "int or string"}
        ],
        "properties": {"number": {"type": "number"}, "at": {"type": "string", "format": "date-time"}, "ttl": {"type": "string", "format": "duration"},
            "x-y": {"type": "object", "properties": {"namespace": {"type": "string"}}}, "snake_case": {"type": "string"}, "memory": {"type": "string"}, "range": {"type": "string"}, "ip": {"type": "string"},
            "list": {"type": "array", "items": {"type": "string"}}, "port": {"x-kubernetes-int-or-string": true}}}));
    let good = json!({"spec": {"number": 1, "at": "2026-01-01T00:00:00Z", "ttl": "1h30m", "x-y": {"namespace": "n"}, "snake_case": "s", "memory": "2Gi",
        "range": "10.0.0.0/8", "ip": "10.1.2.3", "list": ["a", "b"], "port": "http"}});
    assert_eq!(texts(&schema, good, None), Vec::<String>::new());
    let bad = json!({"spec": {"number": 2, "at": "2028-01-01T00:00:00Z", "ttl": "5m", "x-y": {"namespace": "m"}, "snake_case": "s", "memory": "2k",
        "range": "10.0.0.0/8", "ip": "11.1.2.3", "list": ["a", "a"], "port": 81}});
    assert_eq!(
        texts(&schema, bad, None),
        ["number", "at", "ttl", "escaped", "quantity", "ip", "unique", "int or string"]
            .map(|m| format!("spec: Invalid value: {m}"))
    );
}

#[test]
fn rules_that_do_not_compile_refuse_the_crd() {
    let refuse = |rule: Value| -> Vec<String> {
        let schema =
            json!({"type": "object", "x-kubernetes-validations": [rule], "properties": {"a": {"type": "string"}}});
        Structural::from_crd(&schema, &components(), "schema")
            .map(|_| Vec::new())
            .unwrap_or_else(|e| e.iter().map(ToString::to_string).collect())
    };
    let at = "schema.x-kubernetes-validations[0]";
    for (rule, start) in [
        (
            json!({"rule": "self.a =="}),
            format!(r#"{at}.rule: Invalid value: {{"rule":"self.a =="}}: compilation failed: "#),
        ),
        (
            json!({"rule": "slef.a == ''"}),
            format!(
                r#"{at}.rule: Invalid value: {{"rule":"slef.a == ''"}}: compilation failed: undeclared reference to 'slef'"#
            ),
        ),
        (
            json!({"rule": "frobnicate(self)"}),
            format!(
                r#"{at}.rule: Invalid value: {{"rule":"frobnicate(self)"}}: compilation failed: undeclared reference to 'frobnicate'"#
            ),
        ),
        (
            json!({"rule": "self.b == ''"}),
            format!(r#"{at}.rule: Invalid value: "self.b == ''": compilation failed: undefined field 'b'"#),
        ),
        (json!({"rule": ""}), format!("{at}.rule: Required value: rule is not specified")),
        (
            json!({"rule": "true", "reason": "Odd"}),
            format!(r#"{at}.reason: Unsupported value: "Odd": supported values: "FieldValueDuplicate""#),
        ),
        (
            json!({"rule": "true", "optionalOldSelf": true}),
            format!("{at}.optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"),
        ),
        (
            json!({"rule": "true", "fieldPath": "a b c["}),
            format!(r#"{at}.fieldPath: Invalid value: "a b c[": must be a valid path"#),
        ),
    ] {
        let found = refuse(rule);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&start), "{}\n  should begin with\n{start}", found[0]);
    }
}

#[test]
fn hostile_rules_are_refused_before_they_are_parsed() {
    for rule in [
        "(".repeat(1000) + "true" + &")".repeat(1000),
        "self".to_owned() + &".a".repeat(900),
        "[".repeat(1500),
        "!".repeat(2000) + "true",
        "x".repeat(5000),
        "'".to_owned() + &"(".repeat(1500),
    ] {
        let schema = json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}]});
        assert!(Structural::from_crd(&schema, &components(), "schema").is_err());
    }
}

#[test]
fn evaluation_is_bounded() {
    let schema = spec(
        json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.l.all(a, self.l.all(b, self.l.all(c, a + b + c >= 0)))"}],
        "properties": {"l": {"type": "array", "items": {"type": "integer"}}}}),
    );
    assert_eq!(texts(&schema, json!({"spec": {"l": [1, 2, 3]}}), None).len(), 0);
    let many: Vec<u32> = (0..1000).collect();
    assert_eq!(
        texts(&schema, json!({"spec": {"l": many}}), None),
        [
            r#"spec: Invalid value: "object": validation failed due to running out of cost budget, no further validation rules will be run"#
        ]
    );
}

#[test]
fn a_rule_that_fails_to_evaluate_says_so_and_broken_objects_are_not_evaluated() {
    let schema = spec(
        json!({"type": "object", "required": ["b"], "x-kubernetes-validations": [{"rule": "self.a == 'x'", "message": "needs x"}],
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}),
    );
    let found = texts(&schema, json!({"spec": {"b": ""}}), None);
    assert_eq!(found, [r#"spec: Invalid value: "object": no such key: a evaluating rule: needs x"#]);
    assert_eq!(
        texts(&schema, json!({"spec": {}}), None),
        [
            "spec.b: Required value",
            "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"
        ]
    );
}

#[test]
fn rules_at_the_root_see_only_names_of_the_metadata() {
    let schema = crd(json!({"type": "object", "x-kubernetes-validations": [
        {"rule": "self.metadata.name.size() <= 5", "message": "name too long"}, {"rule": "!has(self.metadata.labels)", "message": "labels are hidden"}]}));
    let object = json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "toolong", "labels": {"a": "b"}}});
    assert_eq!(texts(&schema, object, None), ["<nil>: Invalid value: name too long"]);
}

#[test]
fn ordinary_objects_are_checked_in_well_under_a_millisecond() {
    let schema = spec(json!({"type": "object", "x-kubernetes-validations": [
            {"rule": "has(self.flavor) != has(self.resources)"}, {"rule": "self.disks.all(d, has(d.image) || has(d.volume))"}],
        "properties": {"flavor": {"type": "string"}, "resources": {"type": "object"},
            "disks": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}, "image": {"type": "string"}, "volume": {"type": "string"}},
                "x-kubernetes-validations": [{"rule": "(has(self.image) ? 1 : 0) + (has(self.volume) ? 1 : 0) == 1"}]}}}}));
    let object = json!({"spec": {"flavor": "small", "disks": [{"name": "root", "image": "d"}, {"name": "data", "volume": "v"}]}});
    schema.check(&object, None);
    let start = std::time::Instant::now();
    for _ in 0..100 {
        assert!(schema.check(&object, None).is_empty());
    }
    let each = start.elapsed() / 100;
    println!("check of a small Server: {each:?}");
    assert!(each < std::time::Duration::from_millis(5), "{each:?} in a debug build");
}

#[test]
fn what_is_accepted_fits_on_an_ordinary_stack() {
    let rules = [
        format!("{}self.a{} == ''", "(".repeat(60), ")".repeat(60)),
        format!("{}true", "true && ".repeat(240)),
        format!("1{} > 0", "+1".repeat(120)),
        format!("1{} > 0", "+1".repeat(900)),
        format!("1{} > 0", "+1".repeat(20)),
        format!("{}true{}", "true?".repeat(20), ":false".repeat(20)),
        format!("{}true{}", "true?".repeat(110), ":false".repeat(110)),
        format!("self.a{} == ''", ".trim()".repeat(110)),
        format!("{}1{} > 0", "[".repeat(30), "][0]".repeat(30)),
        format!("{}true", "!".repeat(240)),
    ];
    let mut accepted = 0;
    for rule in rules {
        let schema = json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}], "properties": {"a": {"type": "string"}}});
        let Ok(schema) = Structural::from_crd(&schema, &components(), "schema") else { continue };
        accepted += 1;
        let evaluate = move || schema.check(&json!({"a": "x"}), None).len();
        std::thread::Builder::new().stack_size(2 << 20).spawn(evaluate).unwrap().join().unwrap();
    }
    assert!(accepted >= 5, "{accepted}");
}
