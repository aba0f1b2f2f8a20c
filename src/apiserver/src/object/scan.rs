//! Reading a few values out of an object's bytes without building its tree.
//!
//! Selectors look at labels and at one or two fields of every object of a list; everything before these is skipped over,
//! and nothing behind them is read: labels stand near an object's beginning.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The labels in an object's bytes.
pub(crate) fn labels(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut json = serde_json::Deserializer::from_slice(bytes);
    // Stored bytes are this server's own; what cannot be read has no labels. The end of the search is an error as well.
    let _ = Seek { path: &["metadata", "labels"], found: &mut Found::Map(&mut found) }.deserialize(&mut json);
    found
}

/// The scalar at a dotted path, as text: `true`, `5`, or the string itself. `None` when it is not there.
pub(crate) fn scalar(bytes: &[u8], path: &str) -> Option<String> {
    let path: Vec<&str> = path.split('.').filter(|field| !field.is_empty()).collect();
    let mut found = None;
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let _ = Seek { path: &path, found: &mut Found::Scalar(&mut found) }.deserialize(&mut json);
    found
}

enum Found<'a> {
    Map(&'a mut BTreeMap<String, String>),
    Scalar(&'a mut Option<String>),
}

/// Walks down `path` and takes what is there.
struct Seek<'p, 'f, 'v> {
    path: &'p [&'p str],
    found: &'f mut Found<'v>,
}

impl<'de> DeserializeSeed<'de> for Seek<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Seek<'_, '_, '_> {
    fn take(self, text: impl ToString) {
        if self.path.is_empty()
            && let Found::Scalar(found) = self.found
        {
            **found = Some(text.to_string());
        }
    }
}

impl<'de> Visitor<'de> for Seek<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match (self.path.split_first(), self.found) {
            (Some((first, rest)), found) => {
                while let Some(is_first) = map.next_key_seed(Is(first))? {
                    if is_first {
                        map.next_value_seed(Seek { path: rest, found: &mut *found })?;
                        // A key occurs once: what follows need not be read. An error is the way to end it here.
                        return Err(serde::de::Error::custom("found"));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
            }
            (None, Found::Map(labels)) => {
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    labels.insert(key, value);
                }
            }
            (None, Found::Scalar(_)) => while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {},
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.take(text);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.take(value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.take(value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.take(value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.take(value);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Whether a key is this one.
struct Is<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_behind_what_is_looked_for_is_read() {
        let cut = br#"{"kind":"Server","metadata":{"labels":{"x":"1"},"name":"#;
        assert_eq!(labels(cut).len(), 1);
        let cut = br#"{"metadata":{"name":"a"},"spec":"#;
        assert_eq!(scalar(cut, "metadata.name").as_deref(), Some("a"));
        assert_eq!(scalar(cut, "metadata.namespace"), None);
    }

    #[test]
    fn finds_labels_and_scalars_among_other_things() {
        let bytes = br#"{"kind":"Server","metadata":{"name":"a","labels":{"x":"1","y\"":"2"},"l":[{"name":"no"}]},
            "status":{"host":"rack-1","n":5,"on":false,"gone":null,"deep":{"host":"other"}}}"#;
        let found = labels(bytes);
        assert_eq!(found.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["x=1", "y\"=2"]);
        for (path, want) in [
            ("metadata.name", Some("a")),
            ("status.host", Some("rack-1")),
            (".status.n", Some("5")),
            ("status.on", Some("false")),
            ("status.gone", None),
            ("status.deep", None),
            ("status.absent", None),
            ("metadata.l", None),
        ] {
            assert_eq!(scalar(bytes, path).as_deref(), want, "{path}");
        }
    }
}
