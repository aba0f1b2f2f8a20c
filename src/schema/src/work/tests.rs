//! A table of computations on lists that users choose the length of. Each may take a few steps an item (with a
//! logarithm, where it sorts); one that compares every item with every other fails by a factor of hundreds.

use serde_json::{Value, json};

use super::count;
use crate::ownership::TypeRef;
use crate::ownership::managed_fields::{self, Request};
use crate::patch::apply_strategic_merge_patch;
use crate::structural::{OBJECT_META, Structural, testing};
use crate::{FieldSelector, LabelSelector};

const ITEMS: u64 = 4_000;

fn items(order: impl Iterator<Item = u64>) -> Value {
    order.map(|i| json!({"uid": format!("u{i:05}"), "name": "n", "kind": "K", "apiVersion": "v1"})).collect()
}

fn owners(items: &Value) -> Value {
    json!({"metadata": {"ownerReferences": items}})
}

fn built_in() -> Structural {
    let mut components = testing::components();
    components.insert(
        "Kind".to_owned(),
        json!({"type": "object", "properties": {
        "metadata": {"$ref": format!("#/components/schemas/{OBJECT_META}")}}}),
    );
    Structural::from_components("Kind", &components).expect("a good schema")
}

fn list_map() -> (Structural, Value) {
    let schema = json!({"type": "object", "properties": {
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"],
            "items": {"type": "object", "required": ["uid"], "properties": {
                "uid": {"type": "string"}, "name": {"type": "string", "maxLength": 0},
                "kind": {"type": "string"}, "apiVersion": {"type": "string"}}}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}}});
    (testing::crd(schema.clone()), schema)
}

#[test]
fn no_computation_on_a_list_is_quadratic() {
    let (up, down) = (items(0..ITEMS), items((0..ITEMS).rev()));
    let kind = built_in();
    let (custom, custom_schema) = list_map();
    let ty = TypeRef::of_custom_resource(&custom_schema).unwrap();
    let strategic = |patch: Value| {
        let mut target = owners(&up);
        apply_strategic_merge_patch(&kind, &mut target, &patch).unwrap();
    };
    let request =
        Request { manager: "m", api_version: "a/v1", kind: "K", now: "2026-01-01T00:00:00Z", ..Request::default() };
    let object = |list: &Value| {
        json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "n", "uid": "u"}, "map": list,
            "set": (0..ITEMS).map(|i| format!("s{i}")).collect::<Vec<_>>()})
    };
    let applied = managed_fields::apply(None, &object(&up), &ty, &request).unwrap();
    let labels = (0..ITEMS).map(|i| format!("v{i}")).collect::<Vec<_>>().join(",");
    let labels = LabelSelector::parse(&format!("a in ({labels})")).unwrap();
    let deleted: Value = (0..ITEMS).map(|i| json!({"uid": format!("u{i:05}"), "$patch": "delete"})).collect();

    let linear = 12 * ITEMS;
    let with_logarithm = 24 * 2 * 16 * ITEMS; // two lists, several passes
    let table: [(&str, u64, &dyn Fn()); 10] = [
        ("strategic merge", linear, &|| strategic(owners(&down))),
        ("strategic merge with an order", linear, &|| {
            strategic(json!({"metadata": {"$setElementOrder/ownerReferences": down, "ownerReferences": down}}))
        }),
        ("strategic deletion", linear, &|| strategic(json!({"metadata": {"ownerReferences": deleted}}))),
        ("validation of an update", linear, &|| {
            assert_eq!(custom.validate_update(&object(&down), &object(&up)), []);
        }),
        ("validation of a creation", linear, &|| assert!(!custom.validate(&object(&up)).is_empty())),
        ("apply over itself", with_logarithm, &|| {
            managed_fields::apply(Some(&applied), &object(&down), &ty, &request).unwrap();
        }),
        ("apply of nothing", with_logarithm, &|| {
            let nothing = json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "n"}});
            managed_fields::apply(Some(&applied), &nothing, &ty, &request).unwrap();
        }),
        ("update", with_logarithm, &|| {
            let mut new = object(&down);
            managed_fields::after_update(Some(&applied), &mut new, &ty, &request).unwrap();
        }),
        ("label selector", 1, &|| assert!(labels.matches_with(|_| Some("v17")))),
        ("field selector", 0, &|| assert!(FieldSelector::parse("a=b").unwrap().exact("a").is_some())),
    ];
    for (name, most, work) in table {
        let steps = count(work);
        println!("{name}: {steps} steps for {ITEMS} items");
        assert!(steps <= most, "{name}: {steps} steps for {ITEMS} items, at most {most}");
    }
}
