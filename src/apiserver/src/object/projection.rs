//! The parts of an object that are looked at, read out of its bytes: a tree that has nothing else.
//!
//! A table shows a few fields of each of many objects. What it looks at is known beforehand; everything else in an
//! object's bytes is skipped over, without memory for it.

use std::fmt;

use nubium_store::Object;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// What of a value is read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// These fields, if it has any. What is no object is read as null.
    Fields(Vec<(String, Part)>),
    /// The names of its fields; their values are read as null.
    Names,
    Whole,
}

/// Which parts of an object are read.
#[derive(Debug, Clone)]
pub(crate) struct Projection {
    root: Part,
}

impl Projection {
    /// Of nothing.
    pub fn new() -> Self {
        Self { root: Part::Fields(Vec::new()) }
    }

    /// Also what is at this path.
    pub fn add(&mut self, path: &[&str]) {
        self.root.add(path, Part::Whole);
    }

    /// Also the names of the fields at this path.
    pub fn add_names(&mut self, path: &[&str]) {
        self.root.add(path, Part::Names);
    }

    /// Reads the parts out of a stored object. Whatever looks at nothing else sees what it would see in the whole.
    ///
    /// # Errors
    /// When the bytes are no JSON.
    pub fn read(&self, object: &Object) -> Result<Value, serde_json::Error> {
        let mut json = serde_json::Deserializer::from_slice(&object.value);
        let mut value = self.root.deserialize(&mut json)?;
        json.end()?;
        if self.root.has("metadata", "resourceVersion")
            && let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.insert("resourceVersion".to_owned(), object.modified.to_string().into());
        }
        Ok(value)
    }
}

impl Part {
    fn add(&mut self, path: &[&str], what: Self) {
        match (&mut *self, path) {
            (Self::Whole, _) => {}
            (Self::Names, []) if what == Self::Names => {}
            (Self::Fields(fields), [first, rest @ ..]) => {
                let known = fields.iter().position(|(name, _)| name == first);
                let at = known.unwrap_or_else(|| {
                    fields.push(((*first).to_owned(), Self::Fields(Vec::new())));
                    fields.len() - 1
                });
                fields[at].1.add(rest, what);
            }
            (Self::Fields(fields), []) if fields.is_empty() => *self = what,
            // One asks for names, another for values.
            _ => *self = Self::Whole,
        }
    }

    /// Whether a field of a field is read.
    fn has(&self, first: &str, second: &str) -> bool {
        let below = |part: &Self, name: &str, is_read: &dyn Fn(&Self) -> bool| match part {
            Self::Fields(fields) => fields.iter().any(|(field, part)| field == name && is_read(part)),
            Self::Names | Self::Whole => true,
        };
        below(self, first, &|part| below(part, second, &|_| true))
    }
}

impl<'de> DeserializeSeed<'de> for &Part {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self {
            Part::Whole => serde::Deserialize::deserialize(deserializer),
            Part::Fields(_) | Part::Names => deserializer.deserialize_any(self),
        }
    }
}

/// The one of these fields that a key names.
struct Known<'p>(&'p [(String, Part)]);

impl<'de, 'p> DeserializeSeed<'de> for Known<'p> {
    type Value = Option<&'p (String, Part)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for Known<'p> {
    type Value = Option<&'p (String, Part)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|(known, _)| known == name))
    }
}

/// Of what is no object, nothing is looked at.
impl<'de> Visitor<'de> for &Part {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        let Part::Fields(fields) = self else {
            while let Some((name, IgnoredAny)) = map.next_entry()? {
                read.insert(name, Value::Null);
            }
            return Ok(Value::Object(read));
        };
        while let Some(known) = map.next_key_seed(Known(fields))? {
            match known {
                Some((name, part)) => drop(read.insert(name.clone(), map.next_value_seed(part)?)),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Value::Object(read))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }

    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn stored(value: &Value) -> Object {
        Object { key: "/k".into(), value: value.to_string().into(), created: 1, modified: 77 }
    }

    fn reading(paths: &[&str], names: &[&str]) -> Projection {
        let split = |path: &&str| path.split('.').map(str::to_owned).collect::<Vec<_>>();
        let mut projection = Projection::new();
        for path in paths.iter().map(split) {
            projection.add(&path.iter().map(String::as_str).collect::<Vec<_>>());
        }
        for path in names.iter().map(split) {
            projection.add_names(&path.iter().map(String::as_str).collect::<Vec<_>>());
        }
        projection
    }

    #[test]
    fn what_is_read_has_the_parts_and_nothing_else() {
        let object = json!({
            "metadata": {"name": "a\"\u{1F600}", "labels": {"x": "1"}, "managedFields": [{"f": {}}]},
            "data": {"k": "v", "l": {"m": 1}}, "spec": {"list": [1, {"a": 2}], "no": 1}, "status": "odd", "null": null,
        });
        let read = |paths: &[&str], names: &[&str]| reading(paths, names).read(&stored(&object)).unwrap();
        assert_eq!(
            read(&["metadata.name", "spec.list"], &[]),
            json!({
            "metadata": {"name": "a\"\u{1F600}"}, "spec": {"list": [1, {"a": 2}]}})
        );
        assert_eq!(read(&["status.host", "null.x", "none.x"], &[]), json!({"status": null, "null": null}));
        assert_eq!(read(&[], &["data", "none"]), json!({"data": {"k": null, "l": null}}));
        assert_eq!(read(&["data.k"], &["data"]), json!({"data": object["data"]}), "one wants names, one values");
        assert_eq!(read(&["spec", "spec.no"], &[]), json!({"spec": object["spec"]}));
        assert_eq!(read(&["spec.no", "spec"], &[]), json!({"spec": object["spec"]}));
        assert_eq!(read(&["metadata.resourceVersion"], &[]), json!({"metadata": {"resourceVersion": "77"}}));
        let mut whole = object.clone();
        whole["metadata"]["resourceVersion"] = "77".into();
        assert_eq!(read(&["metadata"], &[]), json!({"metadata": whole["metadata"]}));
        assert!(Projection::new().read(&Object { value: "{\"a\": 1".into(), ..stored(&object) }).is_err());
    }

    /// Values with every odd thing that JSON has, below few names, so that paths hit and miss.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,4}".prop_map(Value::from),
            "[\"\\\\\n\u{1}a]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 4, |inner| {
            let name = prop_oneof![Just("metadata"), Just("a"), Just("b"), Just("a\"b"), Just("resourceVersion")];
            let name = name.prop_map(str::to_owned);
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::vec((name, inner), 0..4).prop_map(|fields| fields.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn whoever_looks_at_the_parts_sees_what_is_in_the_whole(
            value in value(),
            paths in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![Just("metadata"), Just("a"), Just("b"), Just("a\"b")], 1..4), 0..4),
        ) {
            let object = stored(&value);
            let whole = crate::object::decode(&object).unwrap();
            let mut projection = Projection::new();
            paths.iter().for_each(|path| projection.add(path));
            let parts = projection.read(&object).unwrap();
            for path in &paths {
                let at = |value: &Value| path.iter().fold(value.clone(), |value, field| value[field].clone());
                prop_assert_eq!(at(&parts), at(&whole), "{:?}", path);
            }
        }
    }
}
