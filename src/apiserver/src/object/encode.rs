//! Between bytes and trees, and the resourceVersion put into bytes.

use bytes::{BufMut, Bytes, BytesMut};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Where the metadata of stored bytes begins. The values before it are quoted, so they cannot contain it.
const METADATA: &[u8] = b"\"metadata\":{";

/// The stored form: apiVersion, kind and metadata first, no resourceVersion.
pub(crate) fn encode(object: &Value) -> Bytes {
    let mut out = Vec::with_capacity(2048);
    let empty = Map::new();
    let fields = object.as_object().unwrap_or(&empty);
    serde_json::to_writer(&mut out, &StoredForm(fields)).expect(WRITES);
    // It stays for as long as the object: without what is left of the buffer.
    Bytes::from(out.into_boxed_slice())
}

const WRITES: &str = "a JSON value has text keys and is written to memory, which cannot fail";

/// Appends a value.
pub(crate) fn write_value(out: &mut BytesMut, value: &Value) {
    serde_json::to_writer(out.writer(), value).expect(WRITES);
}

struct StoredForm<'a>(&'a Map<String, Value>);

impl Serialize for StoredForm<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for field in ["apiVersion", "kind"] {
            map.serialize_entry(field, self.0.get(field).unwrap_or(&Value::Null))?;
        }
        map.serialize_entry("metadata", &StoredMetadata(self.0.get("metadata").and_then(Value::as_object)))?;
        for (field, value) in self.0 {
            if !matches!(field.as_str(), "apiVersion" | "kind" | "metadata") {
                map.serialize_entry(field, value)?;
            }
        }
        map.end()
    }
}

struct StoredMetadata<'a>(Option<&'a Map<String, Value>>);

impl Serialize for StoredMetadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.into_iter().flatten().filter(|(field, _)| *field != "resourceVersion"))
    }
}

/// The tree of a stored object, with its resourceVersion.
pub(crate) fn decode(object: &nubium_store::Object) -> Result<Value, serde_json::Error> {
    let mut value: Value = serde_json::from_slice(&object.value)?;
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), object.modified.to_string().into());
    }
    Ok(value)
}

/// Appends stored bytes with their resourceVersion put in; without apiVersion and kind unless `typed`.
pub(crate) fn splice(out: &mut BytesMut, object: &nubium_store::Object, typed: bool) {
    let bytes = &object.value;
    let Some(at) = find(bytes, METADATA) else { return out.extend_from_slice(bytes) };
    out.reserve(bytes.len() + 48);
    let start = if typed { 0 } else { at };
    if !typed {
        out.extend_from_slice(b"{");
    }
    let at = at + METADATA.len();
    out.extend_from_slice(&bytes[start..at]);
    out.extend_from_slice(b"\"resourceVersion\":\"");
    out.extend_from_slice(object.modified.to_string().as_bytes());
    out.extend_from_slice(if bytes.get(at) == Some(&b'}') { b"\"" } else { b"\"," });
    out.extend_from_slice(&bytes[at..]);
}

/// Appends the metadata of stored bytes, with the resourceVersion put in.
pub(crate) fn splice_metadata(out: &mut BytesMut, object: &nubium_store::Object) {
    out.extend_from_slice(b"{\"resourceVersion\":\"");
    out.extend_from_slice(object.modified.to_string().as_bytes());
    out.put_u8(b'"');
    let bytes = &object.value;
    // Up to the brace, which begins the value.
    let begin = find(bytes, METADATA).map(|at| at + METADATA.len() - 1);
    let rest =
        begin.and_then(|begin| serde_json::Deserializer::from_slice(&bytes[begin..]).into_iter::<&RawValue>().next());
    match rest {
        Some(Ok(metadata)) if metadata.get() != "{}" => {
            out.put_u8(b',');
            out.extend_from_slice(&metadata.get().as_bytes()[1..]);
        }
        _ => out.put_u8(b'}'),
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stored(value: Bytes) -> nubium_store::Object {
        nubium_store::Object { key: "/k".into(), value, created: 1, modified: 77 }
    }

    #[test]
    fn the_resource_version_is_put_in_when_read_and_left_out_when_stored() {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"\"metadata\":{": "x"},
            "metadata": {"name": "a", "resourceVersion": "5"},
        });
        let bytes = encode(&object);
        assert_eq!(
            std::str::from_utf8(&bytes).unwrap(),
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"\"metadata\":{":"x"}}"#
        );
        let mut out = BytesMut::new();
        splice(&mut out, &stored(bytes.clone()), true);
        let read: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(read["metadata"], json!({"name": "a", "resourceVersion": "77"}));
        assert_eq!(read, decode(&stored(bytes.clone())).unwrap());
        let mut item = BytesMut::new();
        splice(&mut item, &stored(bytes), false);
        let item: Value = serde_json::from_slice(&item).unwrap();
        assert_eq!((&item["metadata"], item.get("kind")), (&read["metadata"], None));
    }

    #[test]
    fn metadata_alone_is_what_is_read_of_the_whole() {
        for metadata in [json!({}), json!({"name": "a", "annotations": {"x": "}\"{"}})] {
            let object =
                stored(encode(&json!({"apiVersion": "v1", "kind": "X", "metadata": metadata, "spec": {"a": 1}})));
            let mut out = BytesMut::new();
            splice_metadata(&mut out, &object);
            let alone: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(alone, decode(&object).unwrap()["metadata"]);
        }
    }

    #[test]
    fn an_empty_metadata_stays_valid_json() {
        let mut out = BytesMut::new();
        splice(&mut out, &stored(encode(&json!({"apiVersion": "v1", "kind": "X"}))), true);
        let read: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(read["metadata"], json!({"resourceVersion": "77"}));
    }
}
