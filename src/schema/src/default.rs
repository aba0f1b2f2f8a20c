//! Defaulting: the schema's values for missing fields, and for nulls where null is not allowed.
//!
//! Runs on every write and on every read from the store, so it only enters subtrees that have a default somewhere.

use serde_json::Value;

use crate::structural::{NodeId, Structural};

impl Structural {
    /// Fills in defaults, nested ones too; returns whether anything changed.
    pub fn default(&self, object: &mut Value) -> bool {
        self.fill(object, self.root)
    }

    fn fill(&self, value: &mut Value, id: NodeId) -> bool {
        let node = self.node(id);
        if !node.defaults_below {
            return false;
        }
        let mut changed = false;
        match value {
            Value::Object(map) => {
                for (name, id) in node.properties.iter() {
                    let child = self.node(id);
                    if !child.defaults_below {
                        continue;
                    }
                    if let Some(default) = &child.default {
                        match map.get_mut(name) {
                            None => {
                                map.insert(name.to_owned(), (**default).clone());
                                changed = true;
                            }
                            Some(present) if present.is_null() && !child.nullable => {
                                *present = (**default).clone();
                                changed = true;
                            }
                            Some(_) => {}
                        }
                    }
                    if let Some(present) = map.get_mut(name) {
                        changed |= self.fill(present, id);
                    }
                }
                if let crate::structural::Additional::Schema(id) = node.additional {
                    for (name, present) in map.iter_mut() {
                        if !node.properties.contains_key(name) {
                            changed |= self.fill_null(present, id) | self.fill(present, id);
                        }
                    }
                }
            }
            Value::Array(items) => {
                if let Some(id) = node.items {
                    for item in items {
                        changed |= self.fill_null(item, id) | self.fill(item, id);
                    }
                }
            }
            _ => {}
        }
        changed
    }

    fn fill_null(&self, value: &mut Value, id: NodeId) -> bool {
        let node = self.node(id);
        match &node.default {
            Some(default) if value.is_null() && !node.nullable => {
                *value = (**default).clone();
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::structural::testing::crd;
    use serde_json::json;

    #[test]
    fn defaults_are_filled_in_at_every_depth_and_only_where_missing() {
        let schema = crd(json!({
            "type": "object",
            "properties": {
                "spec": {"type": "object", "default": {}, "properties": {
                    "size": {"type": "integer", "default": 3},
                    "mode": {"type": "string", "default": "a", "nullable": true},
                    "list": {"type": "array", "items": {"type": "object", "properties": {"p": {"type": "string", "default": "tcp"}}}},
                    "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"q": {"type": "integer", "default": 1}}}}
                }},
                "status": {"type": "object", "properties": {"x": {"type": "string", "default": "y"}}}
            }
        }));
        let mut object = json!({"metadata": {"name": "n"}});
        assert!(schema.default(&mut object));
        assert_eq!(object, json!({"metadata": {"name": "n"}, "spec": {"size": 3, "mode": "a"}}));
        assert!(!schema.default(&mut object), "a second pass changes nothing");

        let mut object =
            json!({"spec": {"size": null, "mode": null, "list": [{}, {"p": "udp"}], "map": {"a": {}}}, "status": {}});
        assert!(schema.default(&mut object));
        assert_eq!(
            object,
            json!({"spec": {"size": 3, "mode": null, "list": [{"p": "tcp"}, {"p": "udp"}], "map": {"a": {"q": 1}}}, "status": {"x": "y"}})
        );
    }
}
