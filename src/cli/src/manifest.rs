//! The objects that are to be applied: read from files, and refused before anything is applied when one cannot be meant.
//!
//! Of YAML's two sets of booleans the newer one is read (1.2: `true` and `false`), so that `y`, `n`, `on` or `no` is a
//! name like any other. kubectl reads the older one, and refuses the names that it takes for booleans.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use serde_json::Value;

/// Reads every document of a file, of the files of a folder (by name), or of standard input; Lists are taken apart.
pub(crate) fn read(path: &Path, objects: &mut Vec<Value>) -> anyhow::Result<()> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return parse(&text, "standard input", objects);
    }
    if path.is_dir() {
        let mut files: Vec<PathBuf> = std::fs::read_dir(path)
            .with_context(|| format!("cannot list {}", path.display()))?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|file| file.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json"))
            .collect();
        files.sort();
        return files.iter().try_for_each(|file| read(file, objects));
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text, &path.display().to_string(), objects)
}

fn parse(text: &str, origin: &str, objects: &mut Vec<Value>) -> anyhow::Result<()> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .with_context(|| format!("cannot read {origin} as YAML"))?;
    let mut found = Vec::new();
    for document in documents {
        match document {
            Value::Null => {}
            Value::Object(mut map) if is_list(&map) => {
                if let Some(Value::Array(items)) = map.remove("items") {
                    found.extend(items);
                }
            }
            document => found.push(document),
        }
    }
    for (number, object) in found.iter().enumerate() {
        check(object).with_context(|| format!("{origin}, object {}", number + 1))?;
    }
    objects.extend(found);
    Ok(())
}

/// A List has items instead of a name; a kind whose own name ends so has not.
fn is_list(map: &serde_json::Map<String, Value>) -> bool {
    map.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"))
        && map.get("items").is_some_and(Value::is_array)
}

/// Whether it says which object it is. All else is checked by the cloud.
fn check(object: &Value) -> anyhow::Result<()> {
    if !object.is_object() {
        bail!("an object of Kubernetes is a map, this is {}", words(object));
    }
    for (path, field) in [("apiVersion", "/apiVersion"), ("kind", "/kind"), ("metadata.name", "/metadata/name")] {
        match object.pointer(field) {
            None | Some(Value::Null) if path == "metadata.name" && object["metadata"]["generateName"].is_string() => {
                bail!("metadata.generateName cannot be applied, only created: give it a metadata.name")
            }
            None | Some(Value::Null) => bail!("{path} is missing"),
            Some(value) if value == "" => bail!("{path} is empty"),
            Some(value) => string(path, value)?,
        }
    }
    if let Some(namespace) = object.pointer("/metadata/namespace").filter(|value| !value.is_null()) {
        string("metadata.namespace", namespace)?;
    }
    for map in ["labels", "annotations"] {
        for (key, value) in object["metadata"][map].as_object().into_iter().flatten() {
            string(&format!("metadata.{map}[{key}]"), value)?;
        }
    }
    Ok(())
}

fn string(path: &str, value: &Value) -> anyhow::Result<()> {
    let advice = if value.is_boolean() || value.is_number() { "; quote it" } else { "" };
    value.as_str().map(drop).ok_or_else(|| anyhow!("{path} must be a string, it is {}{advice}", words(value)))
}

fn words(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(value) => format!("the number {value}"),
        Value::String(value) => format!("the text {value:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(text: &str) -> anyhow::Result<Vec<Value>> {
        let mut objects = Vec::new();
        parse(text, "a.yaml", &mut objects)?;
        Ok(objects)
    }

    fn refusal(text: &str) -> String {
        format!("{:#}", parsed(text).unwrap_err())
    }

    #[test]
    fn documents_are_read_one_by_one_and_lists_are_taken_apart() {
        let objects = parsed(
            "---\n{apiVersion: v1, kind: A, metadata: {name: x}}\n---\n---\n\
             kind: List\nitems: [{apiVersion: v1, kind: B, metadata: {name: x}}]\n---\n\
             {apiVersion: v1, kind: AllowList, metadata: {name: x}}\n",
        );
        let kinds: Vec<Value> = objects.unwrap().iter().map(|object| object["kind"].clone()).collect();
        assert_eq!(kinds, ["A", "B", "AllowList"]);
    }

    #[test]
    fn a_name_is_a_name_also_where_older_yaml_has_a_boolean() {
        for name in ["n", "y", "N", "Y", "no", "yes", "on", "off", "Off"] {
            let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {name}}}\n");
            let objects = parsed(&text).unwrap();
            assert_eq!(objects[0]["metadata"], json!({"name": name, "namespace": name}));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_place_and_with_what_to_do() {
        let start = "apiVersion: v1\nkind: ConfigMap\nmetadata: ";
        for (rest, expected) in [
            ("{name: true}", "a.yaml, object 1: metadata.name must be a string, it is the boolean true; quote it"),
            ("{name: 10}", "a.yaml, object 1: metadata.name must be a string, it is the number 10; quote it"),
            ("{name: [a]}", "a.yaml, object 1: metadata.name must be a string, it is a list"),
            (
                "{name: a, namespace: 1}",
                "a.yaml, object 1: metadata.namespace must be a string, it is the number 1; quote it",
            ),
            (
                "{name: a, labels: {version: 1.1}}",
                "a.yaml, object 1: metadata.labels[version] must be a string, it is the number 1.1; quote it",
            ),
            ("{}", "a.yaml, object 1: metadata.name is missing"),
            (
                "{generateName: a-}",
                "a.yaml, object 1: metadata.generateName cannot be applied, only created: give it a metadata.name",
            ),
        ] {
            assert_eq!(refusal(&format!("{start}{rest}\n")), expected);
        }
        assert_eq!(refusal("- 1\n"), "a.yaml, object 1: an object of Kubernetes is a map, this is a list");
        assert_eq!(refusal("kind: A\n"), "a.yaml, object 1: apiVersion is missing");
    }

    #[test]
    fn a_key_said_twice_is_refused_with_its_line() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  b: x\n  b: y\n";
        let said = refusal(text);
        assert!(said.starts_with("cannot read a.yaml as YAML: "), "{said}");
        assert!(said.contains("duplicate") && said.contains("line 6") && !said.contains('\n'), "{said}");
        let said = refusal("a: [\n");
        assert!(said.starts_with("cannot read a.yaml as YAML: ") && said.contains("line "), "{said}");
    }
}
