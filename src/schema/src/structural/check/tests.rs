//! Schemas that are structural and schemas that are not, with the texts that say why.

use super::check_crd_schema;
use serde_json::{Value, json};

fn texts(schema: Value) -> Vec<String> {
    check_crd_schema(&schema, "schema").iter().map(ToString::to_string).collect()
}

fn with_spec(spec: Value) -> Value {
    json!({"type": "object", "properties": {"spec": spec}})
}

#[test]
fn a_structural_schema_passes() {
    let schema = with_spec(json!({"type": "object", "properties": {
        "disks": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                  "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}},
                            "oneOf": [{"required": ["image"]}, {"required": ["volume"]}]}},
        "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "quantity": {"x-kubernetes-int-or-string": true, "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "^[0-9]+$"}]},
        "raw": {"x-kubernetes-preserve-unknown-fields": true}
    }}));
    assert_eq!(texts(schema), Vec::<String>::new());
}

#[test]
fn types_are_required_at_every_level() {
    assert_eq!(texts(json!({})), ["schema.type: Required value: must not be empty at the root"]);
    assert_eq!(
        texts(json!({"type": "string"})),
        [r#"schema.type: Invalid value: "string": must be object at the root"#]
    );
    let schema = with_spec(json!({"properties": {"a": {"type": "array", "items": {}}, "b": {"type": "array"}}}));
    assert_eq!(
        texts(schema),
        [
            "schema.properties[spec].properties[a].items.type: Required value: must not be empty for specified array items",
            "schema.properties[spec].properties[b].items: Required value: must be specified",
            "schema.properties[spec].type: Required value: must not be empty for specified object fields",
        ]
    );
    let odd = texts(with_spec(json!({"type": "uint"})));
    assert_eq!(
        odd,
        [
            r#"schema.properties[spec].type: Unsupported value: "uint": supported values: "array", "boolean", "integer", "number", "object", "string""#
        ]
    );
}

#[test]
fn junctors_may_only_validate_values() {
    let schema = with_spec(
        json!({"type": "object", "anyOf": [{"type": "object", "description": "x", "default": {}, "nullable": true,
        "properties": {"a": {"type": "string"}}, "x-kubernetes-validations": [{"rule": "true"}]}],
        "not": {"additionalProperties": false, "properties": {"metadata": {}}}}),
    );
    let at = "schema.properties[spec]";
    assert_eq!(
        texts(schema),
        [
            format!("{at}.anyOf[0].default: Forbidden: must be undefined to be structural"),
            format!("{at}.anyOf[0].description: Forbidden: must be empty to be structural"),
            format!("{at}.anyOf[0].nullable: Forbidden: must be false to be structural"),
            format!("{at}.anyOf[0].properties[a].type: Forbidden: must be empty to be structural"),
            format!("{at}.anyOf[0].type: Forbidden: must be empty to be structural"),
            format!("{at}.anyOf[0].x-kubernetes-validations: Forbidden: must be empty to be structural"),
            format!(
                "{at}.not.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"
            ),
            format!("{at}.not.additionalProperties: Forbidden: must be undefined to be structural"),
            format!("{at}.not.properties[metadata]: Forbidden: must not be specified in a nested context"),
        ]
    );
}

#[test]
fn list_maps_need_keys_that_are_always_there() {
    let list = |extra: Value| {
        let mut list = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}}}});
        list.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        texts(with_spec(list))
    };
    let at = "schema.properties[spec]";
    assert_eq!(
        list(json!({})),
        [format!(
            "{at}.items.properties[name].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
        )]
    );
    assert_eq!(
        list(json!({"x-kubernetes-list-map-keys": ["id"]})),
        [format!(
            r#"{at}.x-kubernetes-list-map-keys: Invalid value: ["id"]: entries must all be names of item properties"#
        )]
    );
    assert_eq!(
        list(json!({"x-kubernetes-list-map-keys": []})),
        [format!(
            "{at}.x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"
        )]
    );
    assert_eq!(
        list(json!({"x-kubernetes-list-type": "bag", "x-kubernetes-list-map-keys": []})),
        [format!(r#"{at}.x-kubernetes-list-type: Unsupported value: "bag": supported values: "atomic", "set", "map""#)]
    );
    assert_eq!(
        texts(with_spec(json!({"type": "string", "x-kubernetes-list-type": "set"}))),
        [format!(r#"{at}.type: Invalid value: "string": must be array if x-kubernetes-list-type is specified"#)]
    );
    assert_eq!(
        texts(with_spec(json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}}))),
        [format!(
            "{at}.items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set"
        )]
    );
}

#[test]
fn metadata_and_forbidden_keywords() {
    let schema = json!({"type": "object", "nullable": true, "additionalProperties": {"type": "string"},
        "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}, "kind": {"type": "integer"},
                       "s": {"type": "string", "pattern": "(", "$ref": "#/x"}, "l": {"type": "array", "uniqueItems": true, "items": {"type": "string"}}}});
    let found = texts(schema);
    let starts = [
        "schema.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        "schema.additionalProperties: Forbidden: must not be used at the root",
        "schema.nullable: Forbidden: nullable cannot be true at the root",
        r#"schema.properties[kind].type: Invalid value: "integer": must be string"#,
        "schema.properties[l].uniqueItems: Forbidden: uniqueItems cannot be set to true",
        "schema.properties[metadata]: Forbidden: must not specify anything other than name and generateName",
        "schema.properties[s].$ref: Forbidden: $ref is not supported",
        r#"schema.properties[s].pattern: Invalid value: "(": must be a valid regular expression, but isn't"#,
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (text, start) in found.iter().zip(starts) {
        assert!(text.starts_with(start), "{text}\n  should begin with\n{start}");
    }
}
