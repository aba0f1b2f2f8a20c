//! Pruning: fields that the schema does not know go away, and their paths are reported.
//!
//! A `null` where the schema neither allows null nor has a default goes too (unreported), as in Kubernetes, so that
//! `field: null` means "not set" to everything that follows.

use serde_json::{Map, Value};

use crate::path::FieldPath;
use crate::structural::{Additional, Node, NodeId, Structural, Types};

impl Structural {
    /// Removes unknown fields from a whole object and returns their paths, sorted (`spec.disks[0].sise`).
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        self.prune_at(self.root, object)
    }

    pub(crate) fn prune_at(&self, id: NodeId, value: &mut Value) -> Vec<String> {
        let mut pruner = Pruner { schema: self, path: FieldPath::default(), unknown: Vec::new() };
        pruner.prune(value, Some(id));
        pruner.unknown.sort();
        pruner.unknown
    }
}

struct Pruner<'a> {
    schema: &'a Structural,
    path: FieldPath,
    unknown: Vec<String>,
}

impl Pruner<'_> {
    fn prune(&mut self, value: &mut Value, id: Option<NodeId>) {
        let schema = self.schema;
        let node = id.map(|id| schema.node(id));
        match value {
            Value::Object(map) => {
                let preserves = node.is_some_and(|n| n.preserve_unknown);
                let keeps_all = preserves || node.is_some_and(|n| n.additional == Additional::Any);
                map.retain(|key, value| {
                    let child = node.and_then(|n| schema.child(n, key));
                    let known = child.is_some() || keeps_all;
                    if !known {
                        self.unknown.push(self.path.child(key));
                        return false;
                    }
                    if child.is_none() && (preserves || !schema.custom) {
                        return true;
                    }
                    if value.is_null() && node.is_some_and(|n| n.published && !n.properties.contains_key(key)) {
                        // an entry of a Go map: the zero value of its type
                        let types = child.map(|id| schema.node(id).types).unwrap_or_default();
                        match types {
                            Types::STRING => *value = "".into(),
                            Types::OBJECT => *value = Value::Object(Map::new()),
                            _ => {}
                        }
                    }
                    if value.is_null() {
                        return !child.is_some_and(|id| is_droppable_null(schema.node(id)));
                    }
                    let mark = self.path.field(key);
                    // `additionalProperties: true` keeps a custom resource's keys, not the fields of objects below
                    self.prune(value, child);
                    self.path.reset(mark);
                    true
                });
            }
            Value::Array(items) => {
                if node.is_some_and(|n| n.preserve_unknown && n.items.is_none()) {
                    return;
                }
                for (i, item) in items.iter_mut().enumerate() {
                    let mark = self.path.index(i);
                    self.prune(item, node.and_then(|n| n.items));
                    self.path.reset(mark);
                }
            }
            _ => {}
        }
    }
}

fn is_droppable_null(node: &Node) -> bool {
    !node.nullable && node.default.is_none()
}

#[cfg(test)]
mod tests {
    use crate::structural::testing::crd;
    use serde_json::json;

    fn schema() -> crate::Structural {
        crd(json!({
            "type": "object",
            "properties": {"spec": {"type": "object", "properties": {
                "disks": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
                "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                        "properties": {"known": {"type": "object", "properties": {"a": {"type": "string"}}}}},
                "labels": {"type": "object", "additionalProperties": {"type": "object", "properties": {"v": {"type": "string"}}}},
                "maybe": {"type": "string", "nullable": true},
                "sure": {"type": "string"},
                "template": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}}
            }}}
        }))
    }

    #[test]
    fn unknown_fields_go_and_are_named_with_their_paths() {
        let mut object = json!({
            "apiVersion": "a/v1", "kind": "K", "metadata": {"name": "n", "nmae": "x", "labels": {"a": "b"}}, "extra": 1,
            "spec": {"disks": [{"name": "a"}, {"name": "b", "sise": 1}], "labels": {"k": {"v": "1", "w": "2"}}, "top": {}}
        });
        let unknown = schema().prune(&mut object);
        assert_eq!(unknown, ["extra", "metadata.nmae", "spec.disks[1].sise", "spec.labels.k.w", "spec.top"]);
        assert_eq!(
            object,
            json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "n", "labels": {"a": "b"}},
                   "spec": {"disks": [{"name": "a"}, {"name": "b"}], "labels": {"k": {"v": "1"}}}})
        );
        assert!(schema().prune(&mut object).is_empty());
    }

    #[test]
    fn preserved_objects_keep_what_is_unknown_but_known_children_are_pruned() {
        let mut object = json!({"spec": {"any": {"x": {"y": [1]}, "known": {"a": "1", "b": "2"}}}});
        assert_eq!(schema().prune(&mut object), ["spec.any.known.b"]);
        assert_eq!(object, json!({"spec": {"any": {"x": {"y": [1]}, "known": {"a": "1"}}}}));
    }

    #[test]
    fn nulls_go_unless_the_schema_allows_them() {
        let mut object = json!({"metadata": {"creationTimestamp": null}, "spec": {"maybe": null, "sure": null}});
        assert!(schema().prune(&mut object).is_empty());
        assert_eq!(object, json!({"metadata": {}, "spec": {"maybe": null}}));
    }

    #[test]
    fn an_embedded_resource_keeps_its_type_and_metadata() {
        let mut object = json!({"spec": {"template": {"apiVersion": "v1", "kind": "X", "metadata": {"name": "a", "bad": 1}, "data": {}}}});
        assert_eq!(schema().prune(&mut object), ["spec.template.data", "spec.template.metadata.bad"]);
        assert_eq!(object, json!({"spec": {"template": {"apiVersion": "v1", "kind": "X", "metadata": {"name": "a"}}}}));
    }
}
