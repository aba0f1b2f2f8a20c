//! What a junctor at the root talks about has to be there outside it: it may validate a field, not introduce one.
//! (Junctors further down are not looked at, as in Kubernetes.)

use serde_json::{Map, Value};

use super::Check;
use crate::error::FieldError;

impl Check {
    /// Compares the junctors of `schema`, which is at the current path, with `schema` itself.
    pub(super) fn complete(&mut self, schema: &Map<String, Value>) {
        let at = self.path.as_str().to_owned();
        self.junctors_complete(schema, schema, &at, &at);
    }

    fn junctors_complete(
        &mut self,
        values: &Map<String, Value>,
        whole: &Map<String, Value>,
        value_path: &str,
        path: &str,
    ) {
        for key in ["allOf", "anyOf", "oneOf"] {
            let branches = values.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            for (i, branch) in branches.iter().enumerate() {
                self.branch_complete(branch, whole, &format!("{value_path}.{key}[{i}]"), path);
            }
        }
        if let Some(branch) = values.get("not") {
            self.branch_complete(branch, whole, &format!("{value_path}.not"), path);
        }
    }

    fn branch_complete(&mut self, branch: &Value, whole: &Map<String, Value>, branch_path: &str, path: &str) {
        let Some(branch) = branch.as_object() else { return };
        self.junctors_complete(branch, whole, branch_path, path);
        let properties = branch.get("properties").and_then(Value::as_object).into_iter().flatten();
        for (name, property) in properties {
            let known = whole.get("properties").and_then(|p| p.get(name)).and_then(Value::as_object);
            self.part_complete(
                property,
                known,
                &format!("{branch_path}.properties[{name}]"),
                &format!("{path}.properties[{name}]"),
            );
        }
        if let Some(items) = branch.get("items") {
            let known = whole.get("items").and_then(Value::as_object);
            self.part_complete(items, known, &format!("{branch_path}.items"), &format!("{path}.items"));
        }
    }

    fn part_complete(&mut self, part: &Value, known: Option<&Map<String, Value>>, part_path: &str, path: &str) {
        match known {
            Some(known) => self.branch_complete(part, known, part_path, path),
            None => self.errors.push(FieldError::required(path, format!("because it is defined in {part_path}"))),
        }
    }
}
