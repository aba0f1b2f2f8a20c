//! The CustomResourceDefinitions of all kinds, made from the types and tidied so that a Kubernetes API server takes
//! them without a warning.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Map, Value, json};

use crate::{KINDS, whole::LARGEST};

/// A time in any zone, in years that every reader knows, to the nanosecond.
const DATE_TIME: &str = r"^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";

/// How long a string and a list may be that say nothing else.
const LONGEST: usize = 1024;

/// The CRDs of all kinds.
pub fn crds() -> Vec<Value> {
    KINDS.iter().map(|kind| definition((kind.crd)())).collect()
}

fn definition(crd: CustomResourceDefinition) -> Value {
    let mut crd = serde_json::to_value(crd).expect("a CRD is plain data");
    let crd_kind = crd["spec"]["names"]["kind"].clone();
    for version in crd["spec"]["versions"].as_array_mut().expect("a CRD has versions") {
        let schema = &mut version["schema"]["openAPIV3Schema"];
        tidy(schema);
        // Without this, Helm 4 takes an object that nobody has looked at for a healthy one.
        schema["properties"]["status"]["default"] = json!({"observedGeneration": -1});
        if crd_kind == "Network" {
            // A name is enough.
            schema["properties"]["spec"]["default"] = json!({});
        }
    }
    crd
}

/// Removes what schemars says and a structural schema has no use for.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            // An absent optional field is left out, never null.
            map.remove("nullable");
            // Says the same as the extension beside it, and kube's derive has emptied its branches.
            if map.contains_key("x-kubernetes-int-or-string") {
                map.remove("anyOf");
            }
            // Rust's doc comments are wrapped by hand; explain wraps by itself.
            if let Some(Value::String(text)) = map.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            if let Some(Value::Array(values)) = map.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
            as_strict_as_the_type(map);
            bounded(map);
            as_kubernetes_merges(map);
            for bound in ["minimum", "maximum"] {
                whole_number(map, bound);
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(values) => values.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A format is only a remark to a Kubernetes API server, or less strict than what reads it: Go's dates know the year 9999
/// and offsets of 99 hours. What the schema takes, every reader must be able to read.
fn as_strict_as_the_type(map: &mut Map<String, Value>) {
    let Some(format) = map.get("format").and_then(Value::as_str) else { return };
    let (least, most) = match format {
        "int32" => (i64::from(i32::MIN), i64::from(i32::MAX)),
        "int64" => (-LARGEST, LARGEST),
        "date-time" => {
            map.insert("pattern".into(), DATE_TIME.into());
            map.insert("maxLength".into(), 64.into());
            return;
        }
        unsigned if unsigned.starts_with("uint") => {
            map.remove("format");
            return;
        }
        _ => return,
    };
    map.entry("minimum").or_insert(least.into());
    map.entry("maximum").or_insert(most.into());
}

/// A bound for whatever says none of its own: nobody fills the store, or makes a status that another one cannot add to.
fn bounded(map: &mut Map<String, Value>) {
    let bound = match map.get("type").and_then(Value::as_str) {
        Some("string") if !map.contains_key("enum") => "maxLength",
        Some("array") => "maxItems",
        Some("object") if map.contains_key("additionalProperties") => "maxProperties",
        _ => return,
    };
    map.entry(bound).or_insert(LONGEST.into());
}

/// A label selector is merged as Kubernetes merges its own: its requirements as one, since none of them has a key.
fn as_kubernetes_merges(map: &mut Map<String, Value>) {
    if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut)
        && properties.contains_key("matchLabels")
        && let Some(requirements) = properties.get_mut("matchExpressions")
    {
        requirements["x-kubernetes-list-type"] = "atomic".into();
        requirements["items"]["properties"]["values"]["x-kubernetes-list-type"] = "atomic".into();
    }
}

fn whole_number(map: &mut Map<String, Value>, key: &str) {
    if let Some(number) = map.get(key).and_then(Value::as_f64)
        && number.fract() == 0.0
    {
        map.insert(key.into(), json!(number as i64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk<'a>(path: &str, value: &'a Value, visit: &mut impl FnMut(&str, &'a Map<String, Value>)) {
        match value {
            Value::Object(map) => {
                visit(path, map);
                map.iter().for_each(|(key, value)| walk(&format!("{path}.{key}"), value, visit));
            }
            Value::Array(values) => values.iter().for_each(|value| walk(path, value, visit)),
            _ => {}
        }
    }

    #[test]
    fn every_list_of_objects_is_a_map_by_a_required_key() {
        for crd in crds() {
            walk("", &crd["spec"]["versions"][0]["schema"], &mut |path, schema| {
                if schema.get("type") == Some(&json!("array"))
                    && schema["items"]["type"] == "object"
                    && !path.ends_with("matchExpressions")
                {
                    assert_eq!(schema.get("x-kubernetes-list-type"), Some(&json!("map")), "{path}");
                    for key in schema["x-kubernetes-list-map-keys"].as_array().unwrap() {
                        assert!(schema["items"]["required"].as_array().unwrap().contains(key), "{path}");
                    }
                    walk(path, &schema["items"], &mut |path, schema| {
                        assert!(schema.get("default").is_none(), "{path}: a default inside a list item");
                    });
                }
            });
        }
    }

    #[test]
    fn every_string_list_and_map_is_bounded() {
        for crd in crds() {
            let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
            let properties = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
            let mut check = |path: &str, schema: &Map<String, Value>| {
                // A field may be called type, too: a schema says it in a word.
                let bound = match schema.get("type").and_then(Value::as_str) {
                    Some("string") if !schema.contains_key("enum") => "maxLength",
                    Some("array") => "maxItems",
                    Some("object") if schema.contains_key("additionalProperties") => "maxProperties",
                    _ if schema.contains_key("x-kubernetes-int-or-string") => "maxLength",
                    _ => return,
                };
                assert!(schema.get(bound).is_some_and(Value::is_u64), "{path}: {bound}");
            };
            walk(&format!("{kind}.spec"), &properties["spec"], &mut check);
            walk(&format!("{kind}.status"), &properties["status"], &mut check);
        }
    }

    #[test]
    fn every_label_selector_merges_as_in_kubernetes() {
        let mut selectors = 0;
        for crd in crds() {
            walk("", &crd["spec"]["versions"][0]["schema"], &mut |path, schema| {
                let Some(requirements) = schema.get("properties").and_then(|fields| fields.get("matchExpressions"))
                else {
                    return;
                };
                selectors += 1;
                assert_eq!(requirements["x-kubernetes-list-type"], "atomic", "{path}");
                let values = &requirements["items"]["properties"]["values"];
                assert_eq!(values["x-kubernetes-list-type"], "atomic", "{path}");
            });
        }
        assert!(selectors > 0);
    }

    #[test]
    fn every_field_is_explained() {
        for crd in crds() {
            let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
            walk(kind, &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut |path, schema| {
                if let Some(Value::Object(properties)) = schema.get("properties") {
                    for (name, schema) in properties {
                        assert!(schema.get("description").is_some() || name == "metadata", "{path}.{name}");
                    }
                }
            });
        }
    }

    #[test]
    fn every_kind_has_the_group_the_category_and_a_waiting_status() {
        for crd in crds() {
            assert_eq!(crd["spec"]["group"], crate::GROUP);
            assert_eq!(crd["spec"]["names"]["categories"], json!(["nubium"]));
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            assert_eq!(schema["properties"]["status"]["default"], json!({"observedGeneration": -1}));
        }
    }
}
