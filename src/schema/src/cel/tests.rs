//! Rules as CRDs have them, and the texts of those that fail.

use super::meter::Meter;
use super::{MAX_COST, MAX_RULE_COST};
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
            json!({"rule": "self.a"}),
            format!(r#"{at}.rule: Invalid value: "self.a": cel expression must evaluate to a bool"#),
        ),
        (
            json!({"rule": "true", "messageExpression": "1 + 1"}),
            format!(r#"{at}.messageExpression: Invalid value: "true": messageExpression must evaluate to a string"#),
        ),
        (
            json!({"rule": "self.a == 1"}),
            format!(r#"{at}.rule: Invalid value: "self.a == 1": compilation failed: found no matching overload for"#),
        ),
        (
            json!({"rule": "self.a.matches('(')"}),
            format!(
                r#"{at}.rule: Invalid value: {{"rule":"self.a.matches('(')"}}: compilation failed: error parsing regexp"#
            ),
        ),
        (
            json!({"rule": "true", "fieldPath": ".a.b"}),
            format!(r#"{at}.fieldPath: Invalid value: ".a.b": must be a valid path"#),
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
        "x".repeat(70_000),
        "'".to_owned() + &"(".repeat(1500),
    ] {
        let schema = json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}]});
        assert!(Structural::from_crd(&schema, &components(), "schema").is_err());
    }
}

/// Costs of rules on values of a given size: what is ordinary stays far below the limit, what grows faster than its
/// input is stopped at the limit, whatever it would have made. The count is of steps, not of time.
#[test]
fn costs_grow_with_the_size_of_values_and_are_bounded() {
    let schema = |rule: &str| {
        spec(json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}], "properties": {
            "l": {"type": "array", "items": {"type": "integer"}}, "s": {"type": "string"},
            "t": {"type": "array", "items": {"type": "string"}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}}}}))
    };
    let numbers = |n: u32| json!({"l": (0..n).collect::<Vec<_>>()});
    let texts = |n: u32| json!({"t": (0..n).map(|i| format!("item-{i}")).collect::<Vec<_>>()});
    let text = |n: usize| json!({"s": "a".repeat(n)});
    let labels = |n: u32| {
        let labels: serde_json::Map<String, Value> =
            (0..n).map(|i| (format!("example.com/label-{i}"), json!(format!("value-{i}")))).collect();
        json!({"labels": labels})
    };
    let doubled = |times: usize| format!("[self.s]{} != ['']", ".map(x, x + x)".repeat(times));
    let lists = |times: usize| format!("size({}[0]) >= 0", "[[1, 2]]".to_owned() + &".map(x, x + x)".repeat(times));
    let nested = |times: usize| {
        let list = "[[1]]".to_owned() + &".map(x, [x, x])".repeat(times);
        format!("{list} == {list}")
    };
    let stopped = None;
    let table: Vec<(String, Value, Option<u64>)> = vec![
        (
            "self.labels.all(k, k.size() < 64 && self.labels[k].matches('^[a-z0-9-]*$'))".into(),
            labels(400),
            Some(20_000),
        ),
        ("self.labels.all(k, v, !k.startsWith('kubernetes.io/') && v != '')".into(), labels(4_000), Some(100_000)),
        ("self.l.all(a, a >= 0)".into(), numbers(10_000), Some(100_000)),
        ("self.t.map(x, x + '.').join(',').size() > 0".into(), texts(5_000), Some(100_000)),
        ("self.s.size() >= 0".into(), text(1 << 20), Some(200_000)),
        ("self.t.sortBy(x, x).size() > 0".into(), texts(2_000), Some(100_000)),
        (doubled(4), text(1_000), Some(10_000)),
        (doubled(40), text(1_000), stopped),
        (doubled(12), text(1 << 20), stopped),
        (lists(40), json!({}), stopped),
        (nested(40), json!({}), stopped),
        ("self.l.all(a, self.l.all(b, self.l.all(c, a + b + c >= 0)))".into(), numbers(1_000), stopped),
        ("self.l.map(a, self.l).all(x, x == self.l)".into(), numbers(5_000), stopped),
        ("self.s.replace('', self.s).size() > 0".into(), text(1 << 20), stopped),
        ("self.s.replace('a', self.s).size() > 0".into(), text(100_000), stopped),
        ("self.t.join(self.t[0] + '%s'.format([self.t])).size() > 0".into(), texts(5_000), stopped),
        ("lists.range(2000000000).size() > 0".into(), json!({}), stopped),
        ("self.t.distinct().size() > 0".into(), texts(5_000), stopped),
        ("sets.contains(self.t, self.t)".into(), texts(5_000), stopped),
        ("self.l.all(a, a in self.l)".into(), numbers(5_000), stopped),
        ("self.t.all(a, self.t.indexOf(a) >= 0)".into(), texts(5_000), stopped),
        ("self.s.matches(self.s)".into(), text(20_000), stopped),
        ("self.t.map(x, '%s%s%s%s'.format([self.t, self.t, self.t, self.t])).size() > 0".into(), texts(500), stopped),
        ("self.l.map(a, self.l).map(a, a.reverse()).size() > 0".into(), numbers(5_000), stopped),
    ];
    for (rule, object, most) in table {
        let shown: String = rule.chars().take(80).collect();
        let (schema, object) = (schema(&rule), json!({"spec": object}));
        let mut meter = Meter { left: MAX_COST };
        let errors = schema.rules_within(schema.root, &object, None, &mut meter);
        let spent = MAX_COST - meter.left;
        println!("{spent:>8} {shown}");
        match most {
            Some(most) => {
                assert_eq!(errors, [], "{shown}");
                assert!(spent <= most, "{shown}: {spent}");
            }
            None => {
                assert_eq!(errors.len(), 1, "{shown}");
                let error = errors[0].to_string();
                assert!(error.contains("actual cost limit exceeded evaluating rule: "), "{shown}: {error:.200}");
                assert!(spent <= MAX_RULE_COST, "{shown}: {spent}");
            }
        }
    }
}

#[test]
fn all_rules_of_an_object_share_a_budget() {
    let schema = spec(json!({"type": "object", "properties": {"l": {"type": "array", "items": {"type": "object",
        "properties": {"s": {"type": "string"}},
        "x-kubernetes-validations": [{"rule": "self.s.size() >= 0 && self.s + self.s != ''"}]}}}}));
    let item = json!({"s": "a".repeat(100_000)});
    assert_eq!(texts(&schema, json!({"spec": {"l": vec![item.clone(); 10]}}), None).len(), 0);
    let errors = texts(&schema, json!({"spec": {"l": vec![item; 1_000]}}), None);
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0]
            .ends_with("validation failed due to running out of cost budget, no further validation rules will be run")
    );
}

#[test]
fn what_kubernetes_takes_is_taken() {
    let object = json!({"spec": {"a": "x", "n": 3, "l": ["b", "a"], "m": {"k": "v"}, "port": "http", "o": {"p": "q"},
        "items": [{"name": "b", "w": 2}, {"name": "a", "w": 1}]}});
    let long = format!("{}true", "self.a == 'x' && ".repeat(1_000));
    for rule in [
        "self.?a.orValue('') == 'x'",
        "self.?none.orValue('y') == 'y'",
        "!self.?none.hasValue()",
        "self.?o.p.orValue('') == 'q'",
        "self.?o.?p == optional.of('q')",
        "self.l[?0].orValue('') == 'b' && self.l[?7] == optional.none()",
        "self.m[?'k'].value() == 'v'",
        "self.?none.or(self.?a).value() == 'x'",
        "self.?a.optMap(x, x + x).orValue('') == 'xx'",
        "self.?a.optFlatMap(x, optional.of(x)).value() == 'x'",
        "[1, ?optional.none(), ?optional.of(2)] == [1, 2]",
        "{'a': 1, ?'b': optional.none()} == {'a': 1}",
        "optional.ofNonZeroValue('').orValue('z') == 'z'",
        "type(self.a) == string && type(1) == int && type(self.l) == list && type(type(1)) == type",
        "type(timestamp('2026-01-01T00:00:00Z')) == google.protobuf.Timestamp",
        "type(self.port) == string || self.port > 0",
        "dyn(self.a) != 1",
        "self.l.all(i, x, i >= 0 && x != '')",
        "self.l.exists(i, x, i == 1 && x == 'a')",
        "self.m.all(k, v, k == 'k' && v == 'v')",
        "self.l.existsOne(i, x, x == 'a') && self.l.exists_one(x, x == 'a')",
        "self.l.transformList(i, x, string(i) + x) == ['0b', '1a']",
        "self.l.transformList(i, x, i > 0, x) == ['a']",
        "self.m.transformMap(k, v, k + v) == {'k': 'kv'}",
        "self.l.transformMapEntry(i, x, {x: i}) == {'b': 0, 'a': 1}",
        "self.items.sortBy(i, i.name).map(i, i.w) == [1, 2]",
        "self.l.sort() == ['a', 'b']",
        r#"strings.quote(self.a) == "\"x\"""#,
        "self.l.map(x, x != 'b', x + '!') == ['a!']",
        "self.l.filter(x, x > 'a') == ['b']",
        "'é'.size() == 1 && size(self.m) == 1",
        "has(self.o.p) && !has(self.o.z) || true",
        "self.n in [1, 2, 3] && 'k' in self.m",
        "1 / 0 == 1 || true",
        "isURL('https://a:99999/') && url('https://a:8443/b?c=d').getPort() == '8443'",
        "!isCIDR('010.0.0.0/24') && !isCIDR('10.0.0.0/08') && isCIDR('10.0.0.0/8')",
        "ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP(ip('10.1.1.1'))",
        "'%s-%d'.format([self.a, self.n]) == 'x-3'",
        "math.greatest(1, 2) == 2 && sets.contains([1, 2], [1]) && lists.range(3) == [0, 1, 2]",
        "!format.dns1123Label().validate('a').hasValue()",
        "-self.n == -3 && !false && (self.n > 2 ? true : false)",
        &long,
    ] {
        let schema = spec(
            json!({"type": "object", "x-kubernetes-validations": [{"rule": rule, "message": "m"}, {"rule": rule, "message": "m"}],
            "properties": {"a": {"type": "string"}, "n": {"type": "integer"}, "l": {"type": "array", "items": {"type": "string"}},
                "m": {"type": "object", "additionalProperties": {"type": "string"}}, "port": {"x-kubernetes-int-or-string": true},
                "o": {"type": "object", "properties": {"p": {"type": "string"}, "z": {"type": "string"}}}, "none": {"type": "string"},
                "items": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}, "w": {"type": "integer"}}}}}}),
        );
        assert_eq!(texts(&schema, object.clone(), None), Vec::<String>::new(), "{rule:.100}");
    }
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
