//! JSON Patch (RFC 6902), with the habits of the Go library behind kube-apiserver, on which clients rely:
//!
//! - `test` with null (or without a value) passes on a missing key, and `replace` of a missing key adds it;
//! - negative indices count from the end;
//! - a removed or moved key has to be there.
//!
//! The work of one patch is bounded: the number of operations, the bytes that copies add, the list items that inserting
//! and removing shift, and how deep the result nests.

use serde_json::Value;

use super::PatchError;
use crate::document::{MAX_DEPTH, exceeds_depth};

/// As many operations as one patch may have.
pub const MAX_OPERATIONS: usize = 10_000;
/// As much as `copy` operations may add together, in bytes of JSON: the limit of a request body.
const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;
/// As many list items as inserting and removing may shift together, and values as moving may look at.
const MAX_STEPS: usize = 32_000_000;

/// A decoded patch.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPatch {
    operations: Vec<Operation>,
}

#[derive(Debug, Clone, PartialEq)]
struct Operation {
    op: String,
    path: Option<String>,
    from: Option<String>,
    value: Option<Value>,
}

/// Decodes and applies in one go; on an error `target` is unchanged.
pub fn apply_json_patch(target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    JsonPatch::decode(patch)?.apply(target)
}

impl JsonPatch {
    /// A list of operations; unknown members are ignored.
    pub fn decode(patch: &Value) -> Result<Self, PatchError> {
        let malformed = |what: &str| PatchError::Malformed(format!("error decoding patch: {what}"));
        let Value::Array(items) = patch else { return Err(malformed("a JSON patch has to be a list of operations")) };
        if items.len() > MAX_OPERATIONS {
            return Err(PatchError::TooManyOperations { max: MAX_OPERATIONS, found: items.len() });
        }
        let mut operations = Vec::with_capacity(items.len());
        for item in items {
            let Value::Object(map) = item else { return Err(malformed("an operation has to be an object")) };
            let text = |key: &str| match map.get(key) {
                None | Some(Value::Null) => Ok(None),
                Some(Value::String(text)) => Ok(Some(text.clone())),
                Some(_) => Err(malformed(&format!("{key} has to be a string"))),
            };
            operations.push(Operation {
                op: text("op")?.unwrap_or_else(|| "unknown".to_owned()),
                path: text("path")?,
                from: text("from")?,
                value: map.get("value").cloned(),
            });
        }
        Ok(Self { operations })
    }

    /// Applies all operations or none.
    pub fn apply(&self, target: &mut Value) -> Result<(), PatchError> {
        self.apply_within(target, &mut Budget::default())
    }

    fn apply_within(&self, target: &mut Value, budget: &mut Budget) -> Result<(), PatchError> {
        let mut patched = target.clone();
        for operation in &self.operations {
            let applied = operation.apply(&mut patched, budget);
            if budget.steps > MAX_STEPS {
                return Err(PatchError::TooMuchWork { max: MAX_STEPS });
            }
            applied.map_err(PatchError::Unprocessable)?;
        }
        *target = patched;
        Ok(())
    }
}

/// What the operations of one patch have used up so far.
#[derive(Debug, Default)]
struct Budget {
    copied_bytes: usize,
    steps: usize,
}

impl Budget {
    /// Inserting or removing at `index` shifts all items behind it. False when that is too much.
    fn shift(&mut self, items: usize, index: usize) -> Result<(), String> {
        self.spend(items.saturating_sub(index))
    }

    fn spend(&mut self, steps: usize) -> Result<(), String> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > MAX_STEPS { Err("too much work".to_owned()) } else { Ok(()) }
    }

    /// Refuses a value that would nest too deeply at `path`.
    fn check_depth(&mut self, path: &str, value: &Value) -> Result<(), String> {
        let above = path.matches('/').count();
        if above > MAX_DEPTH || exceeds_depth(value, MAX_DEPTH - above, &mut self.steps) {
            return Err(format!("the result would be nested deeper than {MAX_DEPTH} levels"));
        }
        Ok(())
    }
}

impl Operation {
    fn apply(&self, doc: &mut Value, budget: &mut Budget) -> Result<(), String> {
        let op = self.op.as_str();
        if !matches!(op, "add" | "remove" | "replace" | "move" | "test" | "copy") {
            return Err(format!("Unexpected kind: {op}"));
        }
        let undecodable = |what: &str| format!("{op} operation failed to decode {what}: missing value");
        let from = match op {
            "move" | "copy" => self.from.as_deref().ok_or_else(|| undecodable("from"))?,
            _ => "",
        };
        let path = self.path.as_deref().ok_or_else(|| undecodable("path"))?;
        match op {
            "add" => self.add(doc, path, budget),
            "remove" => {
                let (parent, key) = parent(doc, path).ok_or_else(|| missing(op, &quoted(path)))?;
                remove(parent, &key, budget).map(drop).map_err(|e| format!("error in remove for path: '{path}': {e}"))
            }
            "replace" => self.replace(doc, path, budget),
            "test" => self.test(doc, path),
            "move" => {
                let (source, key) = parent(doc, from).ok_or_else(|| {
                    format!("move operation does not apply: doc is missing from path: {from}: missing value")
                })?;
                let value =
                    remove(source, &key, budget).map_err(|e| format!("error in move for path: '{key}': {e}"))?;
                budget.check_depth(path, &value)?;
                let (target, key) = parent(doc, path).ok_or_else(|| destination(op, path))?;
                add(target, &key, value, budget).map_err(|e| format!("error in move for path: '{path}': {e}"))
            }
            _ => {
                let (source, key) = parent(doc, from).ok_or_else(|| {
                    format!("copy operation does not apply: doc is missing from path: {from}: missing value")
                })?;
                let value = get(source, &key).map_err(|e| format!("error in copy for from: '{from}': {e}"))?;
                let value = value.unwrap_or(&Value::Null);
                budget.check_depth(path, value)?;
                budget.copied_bytes += value.to_string().len();
                if budget.copied_bytes > MAX_COPIED_BYTES {
                    let copied = budget.copied_bytes;
                    return Err(format!(
                        "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED_BYTES}"
                    ));
                }
                let value = value.clone();
                let (target, key) = parent(doc, path).ok_or_else(|| destination(op, path))?;
                add(target, &key, value, budget).map_err(|e| format!("error while adding value during copy: {e}"))
            }
        }
    }

    fn add(&self, doc: &mut Value, path: &str, budget: &mut Budget) -> Result<(), String> {
        let (parent, key) = parent(doc, path).ok_or_else(|| missing("add", &quoted(path)))?;
        let value = self.value.clone().unwrap_or_default();
        budget.check_depth(path, &value)?;
        add(parent, &key, value, budget).map_err(|e| format!("error in add for path: '{path}': {e}"))
    }

    fn replace(&self, doc: &mut Value, path: &str, budget: &mut Budget) -> Result<(), String> {
        let value = self.value.clone().unwrap_or_default();
        budget.check_depth(path, &value)?;
        if path.is_empty() {
            if !value.is_object() && !value.is_array() {
                // a slip of the Go library, which clients see
                return Err("replace operation value must be object or array: %!w(<nil>)".to_owned());
            }
            *doc = value;
            return Ok(());
        }
        let (parent, key) = parent(doc, path).ok_or_else(|| missing("replace", path))?;
        if get(parent, &key).is_err() {
            return Err(format!("replace operation does not apply: doc is missing key: {path}: missing value"));
        }
        match parent {
            Value::Array(items) => {
                let index = index(&key, items.len())?;
                items[index] = value;
            }
            Value::Object(map) => {
                map.insert(key, value);
            }
            _ => {}
        }
        Ok(())
    }

    fn test(&self, doc: &mut Value, path: &str) -> Result<(), String> {
        let failed = || format!("testing value {path} failed: test failed");
        let wanted = self.value.as_ref().unwrap_or(&Value::Null);
        if path.is_empty() {
            return if doc == wanted { Ok(()) } else { Err(failed()) };
        }
        let Some((parent, key)) = parent(doc, path) else {
            return Err(format!("test operation does not apply: is missing path: {path}: missing value"));
        };
        let found = get(parent, &key).map_err(|e| format!("error in test for path: '{path}': {e}"))?;
        if found.unwrap_or(&Value::Null) == wanted { Ok(()) } else { Err(failed()) }
    }
}

fn quoted(path: &str) -> String {
    format!("\"{path}\"")
}

fn missing(op: &str, path: &str) -> String {
    format!("{op} operation does not apply: doc is missing path: {path}: missing value")
}

fn destination(op: &str, path: &str) -> String {
    format!("{op} operation does not apply: doc is missing destination path: {path}: missing value")
}

/// The container that a path's last key is in, and that key.
fn parent<'d>(doc: &'d mut Value, path: &str) -> Option<(&'d mut Value, String)> {
    let mut keys = path.split('/').skip(1).map(|key| key.replace("~1", "/").replace("~0", "~")).peekable();
    let mut at = doc;
    loop {
        let key = keys.next()?;
        if keys.peek().is_none() {
            return (at.is_object() || at.is_array()).then_some((at, key));
        }
        at = match at {
            Value::Object(map) => map.get_mut(&key)?,
            Value::Array(items) => {
                let index = index(&key, items.len()).ok()?;
                items.get_mut(index)?
            }
            _ => return None,
        };
    }
}

/// A missing key of an object is nothing; a missing index is an error.
fn get<'d>(container: &'d Value, key: &str) -> Result<Option<&'d Value>, String> {
    match container {
        Value::Object(map) => Ok(map.get(key)),
        Value::Array(items) => index(key, items.len()).map(|i| items.get(i)),
        _ => Ok(None),
    }
}

fn add(container: &mut Value, key: &str, value: Value, budget: &mut Budget) -> Result<(), String> {
    match container {
        Value::Object(map) => {
            map.insert(key.to_owned(), value);
        }
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            let at = key.parse::<i64>().map_err(|_| {
                format!(
                    "value was not a proper array index: '{key}': strconv.Atoi: parsing {}: invalid syntax",
                    crate::go::quote(key)
                )
            })?;
            let index = index(&at.to_string(), items.len() + 1)?;
            budget.shift(items.len(), index)?;
            items.insert(index, value);
        }
        _ => {}
    }
    Ok(())
}

fn remove(container: &mut Value, key: &str, budget: &mut Budget) -> Result<Value, String> {
    match container {
        Value::Object(map) => {
            map.remove(key).ok_or_else(|| format!("Unable to remove nonexistent key: {key}: missing value"))
        }
        Value::Array(items) => {
            let index = index(key, items.len())?;
            budget.shift(items.len(), index)?;
            Ok(items.remove(index))
        }
        _ => Ok(Value::Null),
    }
}

/// An index below `len`; negative ones count from the end.
fn index(key: &str, len: usize) -> Result<usize, String> {
    let at: i64 =
        key.parse().map_err(|_| format!("strconv.Atoi: parsing {}: invalid syntax", crate::go::quote(key)))?;
    let found = if at < 0 { at + len as i64 } else { at };
    match usize::try_from(found) {
        Ok(found) if found < len => Ok(found),
        _ => Err(format!("Unable to access invalid index: {at}: invalid index referenced")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(doc: Value, patch: Value) -> Result<Value, String> {
        let mut doc = doc;
        apply_json_patch(&mut doc, &patch).map(|()| doc).map_err(|e| e.to_string())
    }

    #[test]
    fn operations_do_what_the_rfc_says() {
        let cases = [
            (json!({"a": 1}), json!([{"op": "add", "path": "/b", "value": 2}]), json!({"a": 1, "b": 2})),
            (
                json!({"l": [1, 3]}),
                json!([{"op": "add", "path": "/l/1", "value": 2}, {"op": "add", "path": "/l/-", "value": 4}]),
                json!({"l": [1, 2, 3, 4]}),
            ),
            (json!({"a": 1, "b": 2}), json!([{"op": "remove", "path": "/a"}]), json!({"b": 2})),
            (json!({"l": [1, 2, 3]}), json!([{"op": "remove", "path": "/l/-1"}]), json!({"l": [1, 2]})),
            (
                json!({"a": {"b/c": 1, "~": 2}}),
                json!([{"op": "replace", "path": "/a/b~1c", "value": 3}, {"op": "test", "path": "/a/~0", "value": 2}]),
                json!({"a": {"b/c": 3, "~": 2}}),
            ),
            (
                json!({"a": {"x": 1}, "b": {}}),
                json!([{"op": "move", "from": "/a/x", "path": "/b/y"}]),
                json!({"a": {}, "b": {"y": 1}}),
            ),
            (json!({"a": [1]}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), json!({"a": [1], "b": [1]})),
            (json!({"a": 1}), json!([{"op": "replace", "path": "", "value": {"z": 1}}]), json!({"z": 1})),
        ];
        for (doc, patch, wanted) in cases {
            assert_eq!(patched(doc, patch.clone()).unwrap(), wanted, "{patch}");
        }
    }

    #[test]
    fn missing_is_null_to_a_test_and_replace_adds() {
        assert_eq!(
            patched(json!({"a": {}}), json!([{"op": "test", "path": "/a/b", "value": null}])).unwrap(),
            json!({"a": {}})
        );
        assert_eq!(patched(json!({"a": {}}), json!([{"op": "test", "path": "/a/b"}])).unwrap(), json!({"a": {}}));
        assert_eq!(patched(json!({}), json!([{"op": "replace", "path": "/a", "value": 1}])).unwrap(), json!({"a": 1}));
    }

    #[test]
    fn errors_are_worded_as_kubernetes_words_them_and_change_nothing() {
        let doc = json!({"a": {"b": 1}, "l": [1]});
        let cases = [
            (json!([{"op": "test", "path": "/a/b", "value": 2}]), "testing value /a/b failed: test failed"),
            (
                json!([{"op": "remove", "path": "/a/x"}]),
                "error in remove for path: '/a/x': Unable to remove nonexistent key: x: missing value",
            ),
            (
                json!([{"op": "remove", "path": "/x/y"}]),
                "remove operation does not apply: doc is missing path: \"/x/y\": missing value",
            ),
            (
                json!([{"op": "add", "path": "/l/5", "value": 1}]),
                "error in add for path: '/l/5': Unable to access invalid index: 5: invalid index referenced",
            ),
            (
                json!([{"op": "add", "path": "/x/y", "value": 1}]),
                "add operation does not apply: doc is missing path: \"/x/y\": missing value",
            ),
            (
                json!([{"op": "replace", "path": "/l/1", "value": 1}]),
                "replace operation does not apply: doc is missing key: /l/1: missing value",
            ),
            (
                json!([{"op": "test", "path": "/x/y", "value": 1}]),
                "test operation does not apply: is missing path: /x/y: missing value",
            ),
            (json!([{"op": "jump", "path": "/a"}]), "Unexpected kind: jump"),
        ];
        for (patch, text) in cases {
            let mut target = doc.clone();
            let with_first = json!([{"op": "add", "path": "/z", "value": 1}, patch[0]]);
            let error = apply_json_patch(&mut target, &with_first).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.status()), (text, 422));
            assert_eq!(target, doc, "nothing of a failed patch stays");
        }
    }

    #[test]
    fn limits_and_malformed_patches() {
        let many = Value::Array(vec![json!({"op": "test", "path": "/a"}); MAX_OPERATIONS + 1]);
        let error = apply_json_patch(&mut json!({}), &many).unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.status()),
            ("The allowed maximum operations in a JSON patch is 10000, got 10001", 413)
        );
        assert_eq!(apply_json_patch(&mut json!({}), &json!({"op": "add"})).unwrap_err().status(), 400);
        let mut bomb = json!({"a": ["0123456789"]});
        let doubling = Value::Array(vec![json!({"op": "copy", "from": "/a", "path": "/a/-"}); 40]);
        let error = apply_json_patch(&mut bomb, &doubling).unwrap_err().to_string();
        assert!(error.starts_with("the result would be nested") || error.starts_with("Unable to complete"), "{error}");
        let mut wide = json!({"a": "x".repeat(1 << 20), "b": []});
        let copies = Value::Array(vec![json!({"op": "copy", "from": "/a", "path": "/b/-"}); 4]);
        assert!(
            apply_json_patch(&mut wide, &copies).unwrap_err().to_string().starts_with("Unable to complete the copy")
        );
    }

    #[test]
    fn what_shifts_a_long_list_again_and_again_is_stopped() {
        let list = |n: usize| json!({"x": vec![1; n]});
        let ops = |op: Value, times: usize| JsonPatch::decode(&Value::Array(vec![op; times])).unwrap();
        let to_end = json!({"op": "move", "from": "/x/0", "path": "/x/-"});
        // (items, patch, the most steps it may take or None where it has to be refused)
        let cases = [
            (3_000, ops(to_end.clone(), 9_999), Some(9_999 * 3_002)),
            (900_000, ops(to_end, 9_999), None),
            (900_000, ops(json!({"op": "add", "path": "/x/0", "value": 1}), 9_999), None),
            (900_000, ops(json!({"op": "remove", "path": "/x/0"}), 9_999), None),
            (900_000, ops(json!({"op": "remove", "path": "/x/-1"}), 9_999), Some(10_000)),
            (900_000, ops(json!({"op": "add", "path": "/x/-", "value": 1}), 9_999), Some(20_000)),
            (100_000, ops(json!({"op": "move", "from": "/x", "path": "/y"}), 1), Some(100_002)),
        ];
        for (items, patch, most) in cases {
            let (mut target, mut budget) = (list(items), Budget::default());
            let applied = patch.apply_within(&mut target, &mut budget);
            match most {
                Some(most) => {
                    assert!(applied.is_ok() && budget.steps <= most, "{items}: {}, {applied:?}", budget.steps)
                }
                None => {
                    assert_eq!(applied, Err(PatchError::TooMuchWork { max: MAX_STEPS }));
                    assert!(budget.steps <= MAX_STEPS + items, "{items}: {}", budget.steps);
                    assert_eq!(target["x"].as_array().map(Vec::len), Some(items));
                }
            }
        }
    }

    #[test]
    fn a_patch_cannot_nest_a_document_beyond_the_limit() {
        let nest = |op: Value| Value::Array(vec![op; 2_000]);
        for patch in [
            nest(json!({"op": "copy", "from": "/a", "path": "/a/b"})),
            Value::Array(
                (0..2_000)
                    .map(|i| {
                        let (from, to) = if i % 2 == 0 { ("/a", "/b") } else { ("/b", "/a") };
                        [
                            json!({"op": "add", "path": to, "value": {}}),
                            json!({"op": "move", "from": from, "path": format!("{to}/x")}),
                        ]
                    })
                    .collect::<Vec<_>>()
                    .concat(),
            ),
        ] {
            let mut target = json!({"a": {}, "b": {}});
            let error = apply_json_patch(&mut target, &patch).unwrap_err();
            assert_eq!(error.to_string(), format!("the result would be nested deeper than {MAX_DEPTH} levels"));
        }
    }
}
