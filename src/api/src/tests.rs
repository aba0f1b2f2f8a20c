//! Whatever a CRD accepts, the Rust type reads, and what the fields hold can be used: of every kind, every field by
//! itself. An object that is accepted and cannot be read would be in nobody's sight.

use std::collections::BTreeSet;

use k8s_openapi::api::coordination::v1::Lease;
use nubium_schema::{Structural, structural::OBJECT_META};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    string::string_regex,
    test_runner::{Config, TestRunner},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{CLOUD_SETTINGS, Condition, ConditionStatus, CpuCount, KINDS, Quantity, crds};

/// A kind with its schema, as data and compiled, and objects in which every field of it is set.
struct Kind {
    name: String,
    schema: Value,
    compiled: Structural,
    objects: Vec<Value>,
    read: fn(&Value) -> Result<(), String>,
}

/// Reads an object as its kind's type.
pub(crate) fn read<K: DeserializeOwned>(object: &Value) -> Result<(), String> {
    // As it comes over the wire.
    serde_json::from_str::<K>(&object.to_string()).map(drop).map_err(|error| error.to_string())
}

fn kinds() -> Vec<Kind> {
    KINDS.iter().zip(crds()).map(|(known, crd)| kind((known.examples)(), known.read, &crd)).collect()
}

fn kind(specs: Vec<Value>, read: fn(&Value) -> Result<(), String>, crd: &Value) -> Kind {
    let name = crd["spec"]["names"]["kind"].as_str().unwrap().to_owned();
    let schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    let meta = json!({"type": "object", "properties": {"name": {"type": "string"}}});
    let components = Map::from_iter([(OBJECT_META.to_owned(), meta)]);
    let compiled = Structural::from_crd(&schema, &components, "schema").unwrap();
    let status = sample(&schema["properties"]["status"]);
    let object_name = if name == "CloudSettings" { CLOUD_SETTINGS } else { "one" };
    let objects = specs.into_iter().map(|spec| {
        json!({"apiVersion": "nubium.dev/v1alpha1", "kind": name, "metadata": {"name": object_name}, "spec": spec, "status": status})
    });
    let kind = Kind { objects: objects.collect(), name, schema, compiled, read };
    for object in &kind.objects {
        assert_eq!(refusal(&kind, object), None, "{object:#}");
    }
    kind
}

/// Why the schema and its rules refuse the object.
fn refusal(kind: &Kind, object: &Value) -> Option<String> {
    let mut object = object.clone();
    kind.compiled.prune(&mut object);
    kind.compiled.default(&mut object);
    kind.compiled.check(&object, None).first().map(ToString::to_string)
}

/// A value that the schema accepts, with all that can be set in it.
fn sample(schema: &Value) -> Value {
    if let Some(values) = schema["enum"].as_array() {
        return values[0].clone();
    }
    match schema["type"].as_str() {
        Some("object") => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let additional = schema.get("additionalProperties").map(|schema| ("a".to_owned(), sample(schema)));
            properties.map(|(name, schema)| (name.clone(), sample(schema))).chain(additional).collect()
        }
        Some("array") => json!([sample(&schema["items"])]),
        Some("boolean") => json!(true),
        Some("integer") => schema["minimum"].as_i64().unwrap_or(1).max(1).into(),
        Some("string") if schema["format"] == "date-time" => "2026-01-01T00:00:00Z".into(),
        Some("string") => match schema["pattern"].as_str() {
            Some(pattern) => drawn(&texts_of(pattern), &mut TestRunner::deterministic()).into(),
            None => "a".into(),
        },
        None if schema["x-kubernetes-int-or-string"] == true => json!(20_000_000).min_of(schema),
        other => panic!("no sample of {other:?}: {schema}"),
    }
}

/// Texts that match a pattern, which is anchored at both ends.
fn texts_of(pattern: &str) -> BoxedStrategy<String> {
    let inner = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$')).expect("our patterns are anchored");
    string_regex(inner).unwrap().boxed()
}

/// A number within the schema's bounds.
trait MinOf {
    fn min_of(self, schema: &Value) -> Value;
}

impl MinOf for Value {
    fn min_of(self, schema: &Value) -> Value {
        let most = schema["maximum"].as_i64().unwrap_or(i64::MAX);
        json!(self.as_i64().unwrap().min(most))
    }
}

fn drawn<S: Strategy>(strategy: &S, runner: &mut TestRunner) -> S::Value {
    strategy.new_tree(runner).unwrap().current()
}

/// Every place of a schema: as a JSON pointer into an object, and what the schema says there.
fn places<'a>(at: &str, schema: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    found.push((at.to_owned(), schema));
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        places(&format!("{at}/{name}"), schema, found);
    }
    if let Some(schema) = schema.get("additionalProperties") {
        places(&format!("{at}/a"), schema, found);
    }
    if let Some(schema) = schema.get("items") {
        places(&format!("{at}/0"), schema, found);
    }
}

/// The places under spec and status.
fn fields(kind: &Kind) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for part in ["spec", "status"] {
        places(&format!("/{part}"), &kind.schema["properties"][part], &mut found);
    }
    found
}

/// What breaks readers, for a place of any type: what the schema does not take there is refused, and that is all right.
fn hostile(schema: &Value) -> Vec<Value> {
    let numbers = [
        "0",
        "1",
        "2",
        "-1",
        "2.0",
        "2.5",
        "2.0000000001",
        "16777216.001",
        "1e3",
        "1E+3",
        "1e300",
        "-1e300",
        "1e-300",
        "2147483647",
        "2147483648",
        "-2147483649",
        "4294967296",
        "9007199254740991",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "1e18",
    ];
    let texts = [
        "",
        "0",
        "1",
        "01",
        "1024",
        "1025",
        "9999",
        "+1",
        "-1",
        "1e3",
        "0x10",
        "２",
        "1Gi",
        "1.5Gi",
        "0.000000001Ki",
        "999999999999999Pi",
        "999999999999999",
        "999999999999999k",
        "999999999999Mi",
        "999Pi",
        "1.",
        ".5",
        "1Ei",
        "NaN",
        "a\u{0}b",
        "a\nb",
        "\u{202e}",
        "ÿ",
        "😀",
        "10.0.0.5",
        "010.0.0.5",
        "10.0.0.300",
        "10.0.0.0/24",
        "10.0.0.0/08",
        "::1",
        "1.2.3.4.5",
        "02:00:00:00:00:01",
        "2026-01-01T00:00:00Z",
        "2026-01-01t00:00:00z",
        "2026-01-01T00:00:00+99:99",
        "2026-01-01T00:00:00+23:59",
        "2026-01-01T00:00:00-24:00",
        "2026-01-01T00:00:00.1234567890123Z",
        "2026-01-01T00:00:00.123456789Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-23:59",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "2026-02-29T00:00:00Z",
        "2026-02-31T00:00:00Z",
        "2016-12-31T23:59:60Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01 00:00:00Z",
        "1000-01-01T00:00:00Z",
        "2999-12-31T23:59:59-23:59",
        "True",
        "true",
        "False",
        "Unknown",
        "NAT",
        "None",
        "In",
        "Exists",
        "Running",
    ];
    let numbers = numbers.iter().map(|number| serde_json::from_str(number).unwrap());
    let enums = schema["enum"].as_array().into_iter().flatten().cloned();
    let others = [Value::Null, json!(true), json!(false), json!([]), json!({}), json!([null]), json!({"a": null})];
    let long = ["a".repeat(70_000), "1".repeat(40)];
    let texts = texts.iter().map(|text| json!(text)).chain(long.into_iter().map(Value::String));
    numbers.chain(texts).chain(enums).chain(others).chain([sample(schema)]).collect()
}

/// A random value, near what the schema takes there.
fn near(schema: &Value) -> BoxedStrategy<Value> {
    let texts = match schema["pattern"].as_str() {
        Some(pattern) => texts_of(pattern),
        None => any::<String>().boxed(),
    };
    let number = |float: f64| serde_json::Number::from_f64(float).map_or(Value::Null, Value::Number);
    prop_oneof![
        4 => texts.prop_map(Value::String),
        1 => any::<String>().prop_map(Value::String),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(number),
        1 => (any::<i32>(), 0u32..20).prop_map(move |(whole, digits)| number(f64::from(whole) + 0.1f64.powi(digits as i32))),
    ]
    .boxed()
}

/// Puts the value at that place; None where the object has no such place.
fn with(object: &Value, place: &str, value: &Value) -> Option<Value> {
    let mut object = object.clone();
    *object.pointer_mut(place)? = value.clone();
    Some(object)
}

/// Whether the value is accepted there. If it is, all of it must be readable.
fn is_accepted_and_read(kind: &Kind, object: &Value, schema: &Value, place: &str) -> bool {
    if refusal(kind, object).is_some() {
        return false;
    }
    // As it would be stored: without what the schema does not know, and without null.
    let mut stored = object.clone();
    kind.compiled.prune(&mut stored);
    kind.compiled.default(&mut stored);
    let value = object.pointer(place).unwrap();
    if let Err(error) = (kind.read)(&stored) {
        panic!("{} accepts {value} at {place}, and cannot read it: {error}", kind.name);
    }
    if schema["x-kubernetes-int-or-string"] == true
        && let Some(value) = stored.pointer(place)
    {
        let used = match schema["maxLength"].as_u64() {
            Some(4) => serde_json::from_value::<CpuCount>(value.clone()).unwrap().count().map(drop),
            _ => serde_json::from_value::<Quantity>(value.clone()).unwrap().bytes().map(drop),
        };
        if let Err(error) = used {
            panic!("{} accepts {value} at {place}, and cannot use it: {error}", kind.name);
        }
    }
    true
}

#[test]
fn whatever_a_crd_accepts_the_type_reads() {
    for kind in kinds() {
        let mut never: BTreeSet<String> = BTreeSet::new();
        for (place, schema) in fields(&kind) {
            let has_it = kind.objects.iter().any(|object| object.pointer(&place).is_some());
            // What consists of fields is accepted as the objects have it; its fields are looked at one by one.
            let of_fields = schema["properties"].is_object() || schema["items"]["properties"].is_object();
            let mut accepted = usize::from(has_it && of_fields);
            for value in hostile(schema) {
                let objects = kind.objects.iter().filter_map(|object| with(object, &place, &value));
                accepted += objects.filter(|object| is_accepted_and_read(&kind, object, schema, &place)).count();
            }
            if accepted == 0 {
                never.insert(place);
            }
        }
        assert!(never.is_empty(), "{}: no object of this test sets {never:?}", kind.name);
    }
}

#[test]
fn whatever_a_crd_accepts_of_random_values_the_type_reads() {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    for kind in kinds() {
        for (place, schema) in fields(&kind) {
            if schema["type"] == "object" || schema["type"] == "array" {
                continue;
            }
            let strategy = near(schema);
            for _ in 0..24 {
                let value = drawn(&strategy, &mut runner);
                for object in kind.objects.iter().filter_map(|object| with(object, &place, &value)) {
                    is_accepted_and_read(&kind, &object, schema, &place);
                }
            }
        }
    }
}

/// Specs that an earlier release took and this one refuses.
fn refused_since() -> Vec<(&'static str, Value)> {
    let subnet = |fields: Value| {
        let mut subnet = json!({"name": "v4", "cidr": "10.0.0.0/24"});
        subnet.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        ("Network", json!({"subnets": [subnet]}))
    };
    let server =
        |nic: Value| ("Server", json!({"flavor": "small", "disks": [{"name": "root", "image": "i"}], "nics": [nic]}));
    vec![
        subnet(json!({"cidr": "010.0.0.0/24"})),
        subnet(json!({"cidr": "10.0.0.0/08"})),
        subnet(json!({"dnsServers": ["1.2.3.999"]})),
        subnet(json!({"pool": {"start": "10.0.0.9", "end": "10.0.0.5"}})),
        subnet(json!({"pool": {"start": "10.0.0.10", "end": "10.0.0.9"}})),
        server(json!({"name": "eth0", "network": "n", "address": "10.0.0.999"})),
        ("Port", json!({"network": "n", "address": "10.0.0.999"})),
    ]
}

#[test]
fn what_a_new_rule_refuses_stays_readable_editable_elsewhere_and_deletable() {
    for kind in kinds() {
        for (_, spec) in refused_since().into_iter().filter(|(name, _)| *name == kind.name) {
            let stored = json!({"apiVersion": "nubium.dev/v1alpha1", "kind": kind.name,
                "metadata": {"name": "one", "finalizers": ["nubium.dev/x"]}, "spec": spec});
            assert!(refusal(&kind, &stored).is_some(), "taken: {spec}");
            (kind.read)(&stored).unwrap();
            let mut released = stored.clone();
            released["metadata"]["finalizers"] = json!([]);
            let mut labelled = stored.clone();
            labelled["metadata"]["labels"] = json!({"a": "b"});
            let mut reported = stored.clone();
            reported["status"] = json!({"observedGeneration": 1});
            let mut edited = stored.clone();
            match kind.name.as_str() {
                "Network" => edited["spec"]["subnets"][0]["dhcp"] = json!(false),
                "Server" => edited["spec"]["powerState"] = json!("Stopped"),
                _ => {}
            }
            for new in [&released, &labelled, &reported, &edited] {
                let errors = kind.compiled.check(new, Some(&stored));
                assert!(errors.is_empty(), "{spec}: {errors:?}");
            }
        }
    }
}

#[test]
fn a_message_of_any_size_that_a_host_wrote_leaves_the_rest_of_the_status_writable() {
    for name in ["Network", "Image"] {
        let kind = kinds().into_iter().find(|kind| kind.name == name).unwrap();
        let entry = json!({"name": "rack-1", "ready": false, "message": "m".repeat(100_000)});
        let mut stored = kind.objects[0].clone();
        stored["status"] = json!({"hosts": [entry]});
        assert!(
            refusal(&kind, &stored).unwrap().contains("status.hosts[0].message"),
            "it is refused when it is written"
        );
        let message = format!("host rack-1: {}", entry["message"].as_str().unwrap());
        let ready = Condition::new("Ready", ConditionStatus::False, Some(1), "Failed", message);
        let mut reported = stored.clone();
        reported["status"]["conditions"] = json!([ready]);
        let errors = kind.compiled.check(&reported, Some(&stored));
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

#[test]
fn a_network_takes_no_range_but_its_first() {
    let kind = kinds().into_iter().find(|kind| kind.name == "Network").unwrap();
    let network = |spec: Value| json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "Network", "metadata": {"name": "one"}, "spec": spec});
    let bare = network(json!({}));
    let named = |fields: Value| network(json!({"subnets": [fields]}));
    let settled = named(json!({"name": "v4", "dhcp": false}));
    assert!(kind.compiled.check(&settled, Some(&bare)).is_empty(), "other fields may be set");
    for other in [named(json!({"name": "v4", "cidr": "10.0.0.0/24"})), named(json!({"name": "other", "dhcp": false}))] {
        assert!(!kind.compiled.check(&other, Some(&bare)).is_empty(), "{other}");
    }
    let ranged = named(json!({"name": "v4", "cidr": "10.0.0.0/24"}));
    for other in [&bare, &settled] {
        assert!(!kind.compiled.check(other, Some(&ranged)).is_empty(), "{other}");
    }
    let gateway = named(json!({"name": "v4", "gateway": "10.0.0.1"}));
    assert!(refusal(&kind, &gateway).unwrap().contains("give cidr with them"));
    let mut nothing = json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "Network", "metadata": {"name": "one"}});
    kind.compiled.default(&mut nothing);
    assert_eq!((refusal(&kind, &nothing), (kind.read)(&nothing)), (None, Ok(())), "a name is enough");
}

#[test]
fn the_old_and_the_new_form_of_a_field_mean_the_same_and_are_never_given_together() {
    let kinds = kinds();
    let spec = |name: &str, spec: Value| {
        let kind = kinds.iter().find(|kind| kind.name == name).unwrap();
        (kind, json!({"apiVersion": "nubium.dev/v1alpha1", "kind": name, "metadata": {"name": "one"}, "spec": spec}))
    };
    let pool = json!({"start": "10.0.0.2", "end": "10.0.0.9"});
    let both = [
        spec("Port", json!({"network": "n", "address": "10.0.0.5", "addresses": ["10.0.0.5"]})),
        spec(
            "Server",
            json!({"flavor": "small", "disks": [{"name": "root", "image": "i"}],
            "nics": [{"name": "eth0", "network": "n", "address": "10.0.0.5", "addresses": ["10.0.0.5"]}]}),
        ),
        spec(
            "Network",
            json!({"subnets": [{"name": "v4", "cidr": "10.0.0.0/24", "pool": pool, "allocationPools": [pool]}]}),
        ),
    ];
    for (kind, object) in both {
        assert!(refusal(kind, &object).unwrap().contains("is the old form of"), "{object}");
    }
    let (kind, old) = spec("Port", json!({"network": "n", "address": "10.0.0.5"}));
    let (_, new) = spec("Port", json!({"network": "n", "addresses": ["10.0.0.5"]}));
    let (_, other) = spec("Port", json!({"network": "n", "addresses": ["10.0.0.6"]}));
    assert!(kind.compiled.check(&new, Some(&old)).is_empty(), "a Port may take the new form");
    assert!(!kind.compiled.check(&other, Some(&old)).is_empty(), "and not another address with it");
}

/// The test is no good if what it must find passes it: this is what a schema without our bounds accepts.
#[test]
fn the_times_and_numbers_of_this_test_are_ones_that_types_cannot_read() {
    let far = json!({"spec": {"renewTime": "9999-12-31T23:59:59Z"}});
    assert!(read::<Lease>(&far).is_err());
    assert!(CpuCount("2.0000000001".into()).count().is_err());
    assert!(serde_json::from_value::<i32>(json!(2_147_483_648u64)).is_err());
}
