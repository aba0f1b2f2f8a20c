//! Request bodies in protobuf: Go clients send built-in kinds so, and nothing else.
//!
//! A body is `k8s\0` and a `runtime.Unknown` message, which holds the kind and the object's own bytes. The field numbers
//! are data (`data/protobuf.json`); the object comes out as the JSON it would have been. Go writes what is not a pointer
//! even when it says nothing, so empty texts and zeros are left out, but for the few numbers where zero is a value.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What every such body begins with.
const MAGIC: &[u8] = b"k8s\0";
/// How deep messages may nest; the deepest of ours is 5.
const MAX_DEPTH: usize = 16;

/// The options of a delete, the one message that is not an object of a kind.
pub(crate) const DELETE_OPTIONS: &str = "k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions";

const META: &str = "k8s.io.apimachinery.pkg.apis.meta.v1.";

/// Why a body is not a message.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ProtobufError {
    #[error("the body does not begin with the magic number")]
    NoMagic,
    #[error("unexpected end of the message")]
    Truncated,
    #[error("wire type {0} is not known")]
    WireType(u64),
    #[error("a field has the wrong wire type")]
    Mismatch,
    #[error("a text is not UTF-8")]
    NotText,
    #[error("messages are nested too deeply")]
    TooDeep,
    #[error("embedded JSON cannot be read")]
    NotJson,
    #[error("a compressed or otherwise encoded object is not taken")]
    Encoded,
}

#[derive(Debug, Deserialize)]
struct Field {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    repeated: bool,
    #[serde(default)]
    map: bool,
    /// A zero is a value, not an absence.
    #[serde(default)]
    zero: bool,
}

type Messages = std::collections::HashMap<String, std::collections::HashMap<u64, Field>>;

fn messages() -> &'static Messages {
    static MESSAGES: LazyLock<Messages> = LazyLock::new(|| {
        let text = include_str!("../data/protobuf.json");
        let read: std::collections::HashMap<String, std::collections::HashMap<String, Field>> =
            serde_json::from_str(text).expect("data/protobuf.json is checked by a test");
        let numbered = |fields: std::collections::HashMap<String, Field>| {
            fields.into_iter().filter_map(|(number, field)| Some((number.parse().ok()?, field))).collect()
        };
        read.into_iter().map(|(name, fields)| (name, numbered(fields))).collect()
    });
    &MESSAGES
}

/// Decodes a body that holds a `message`.
pub(crate) fn decode(body: &[u8], message: &str) -> Result<Value, ProtobufError> {
    let body = body.strip_prefix(MAGIC).ok_or(ProtobufError::NoMagic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Fields(body) {
        match field? {
            // TypeMeta {apiVersion, kind}
            (1, Wire::Bytes(meta)) => {
                for field in Fields(meta) {
                    match field? {
                        (1, Wire::Bytes(text)) => api_version = utf8(text)?.to_owned(),
                        (2, Wire::Bytes(text)) => kind = utf8(text)?.to_owned(),
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(object)) => raw = object,
            (3 | 4, Wire::Bytes(encoding))
                if !encoding.is_empty() && encoding != b"application/vnd.kubernetes.protobuf" =>
            {
                return Err(ProtobufError::Encoded);
            }
            _ => {}
        }
    }
    let mut object = self::message(raw, message, 0)?;
    for (field, text) in [("apiVersion", api_version), ("kind", kind)] {
        if !text.is_empty() {
            object[field] = text.into();
        }
    }
    Ok(object)
}

fn utf8(bytes: &[u8]) -> Result<&str, ProtobufError> {
    std::str::from_utf8(bytes).map_err(|_| ProtobufError::NotText)
}

/// A value on the wire.
#[derive(Debug, Clone, Copy)]
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(ProtobufError::Truncated)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtobufError::Truncated)
    }

    fn bytes(&mut self, length: u64) -> Result<&'a [u8], ProtobufError> {
        let length = usize::try_from(length).map_err(|_| ProtobufError::Truncated)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(ProtobufError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u64, Wire<'a>), ProtobufError> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Wire::Number(self.varint()?),
            1 => Wire::Bytes(self.bytes(8)?),
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.bytes(length)?)
            }
            5 => Wire::Bytes(self.bytes(4)?),
            other => return Err(ProtobufError::WireType(other)),
        };
        Ok((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>), ProtobufError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn message(bytes: &[u8], name: &str, depth: usize) -> Result<Value, ProtobufError> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::TooDeep);
    }
    if let Some(special) = special(bytes, name)? {
        return Ok(special);
    }
    let known = messages().get(name);
    let mut object = Map::new();
    for found in Fields(bytes) {
        let (number, wire) = found?;
        // A field of a newer client that this server does not know is passed over, as Go does.
        let Some(field) = known.and_then(|fields| fields.get(&number)) else { continue };
        if field.map {
            let Wire::Bytes(entry) = wire else { return Err(ProtobufError::Mismatch) };
            let (key, value) = entry_of(entry, field, depth)?;
            let map = object.entry(field.name.clone()).or_insert_with(|| json!({}));
            map[key] = value;
            continue;
        }
        let value = scalar_or_message(wire, field, depth)?;
        if field.repeated {
            let list = object.entry(field.name.clone()).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(value);
            }
        } else if !is_nothing(&value, field) {
            object.insert(field.name.clone(), value);
        }
    }
    Ok(Value::Object(object))
}

fn entry_of(entry: &[u8], field: &Field, depth: usize) -> Result<(String, Value), ProtobufError> {
    let (mut key, mut value) = (String::new(), Value::String(String::new()));
    for found in Fields(entry) {
        match found? {
            (1, Wire::Bytes(text)) => key = utf8(text)?.to_owned(),
            (2, wire) => value = scalar_or_message(wire, field, depth)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn scalar_or_message(wire: Wire<'_>, field: &Field, depth: usize) -> Result<Value, ProtobufError> {
    Ok(match (field.kind.as_str(), wire) {
        ("string", Wire::Bytes(text)) => utf8(text)?.into(),
        ("bytes", Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        ("bool", Wire::Number(number)) => (number != 0).into(),
        // Negative numbers are written as 64 bits of two's complement.
        ("int32" | "int64", Wire::Number(number)) => i64::from_ne_bytes(number.to_ne_bytes()).into(),
        (name, Wire::Bytes(bytes)) if name.contains('.') => message(bytes, name, depth + 1)?,
        _ => return Err(ProtobufError::Mismatch),
    })
}

/// Whether Go wrote this only because it writes everything.
fn is_nothing(value: &Value, field: &Field) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0) && !field.zero,
        Value::Object(map) => map.is_empty() && field.name != "spec",
        _ => false,
    }
}

/// Messages that are not objects in JSON.
fn special(bytes: &[u8], name: &str) -> Result<Option<Value>, ProtobufError> {
    Ok(match name.strip_prefix(META) {
        Some("Time") => Some(time(bytes, "%Y-%m-%dT%H:%M:%SZ")?),
        Some("MicroTime") => Some(time(bytes, "%Y-%m-%dT%H:%M:%S.%6fZ")?),
        Some("FieldsV1") => {
            let raw = Fields(bytes).find_map(|field| match field {
                Ok((1, Wire::Bytes(raw))) => Some(raw),
                _ => None,
            });
            let parsed = raw.filter(|raw| !raw.is_empty()).map(serde_json::from_slice).transpose();
            Some(parsed.map_err(|_| ProtobufError::NotJson)?.unwrap_or_else(|| json!({})))
        }
        _ => None,
    })
}

/// A time; null when the message says none.
fn time(bytes: &[u8], format: &str) -> Result<Value, ProtobufError> {
    let (mut seconds, mut nanos) = (0_i64, 0_i32);
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Number(number)) => seconds = i64::from_ne_bytes(number.to_ne_bytes()),
            (2, Wire::Number(number)) => nanos = i32::try_from(number).unwrap_or(0),
            _ => {}
        }
    }
    // Go's zero time is the year 1.
    if bytes.is_empty() || seconds <= -62_135_596_800 {
        return Ok(Value::Null);
    }
    let at = Timestamp::new(seconds, nanos).map_err(|_| ProtobufError::Mismatch)?;
    Ok(at.strftime(format).to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A length-delimited field.
    fn part(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend_from_slice(bytes);
        out
    }

    fn body(kind: &str, object: &[u8]) -> Vec<u8> {
        let meta = [part(1, b"v1"), part(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), part(1, &meta), part(2, object), part(3, b""), part(4, b"")].concat()
    }

    #[test]
    fn a_secret_as_kubectl_sends_it() {
        // ObjectMeta: name 1, namespace 3, an empty creationTimestamp 8, generation 7 = 0, labels 11.
        let label = [part(1, b"app"), part(2, b"web")].concat();
        let metadata =
            [part(1, b"s"), part(2, b""), part(3, b""), vec![7 << 3, 0], part(8, b""), part(11, &label)].concat();
        let entry = [part(1, b"key"), part(2, b"value")].concat();
        let secret = [part(1, &metadata), part(2, &entry), part(3, b"Opaque")].concat();
        assert_eq!(
            decode(&body("Secret", &secret), "k8s.io.api.core.v1.Secret").unwrap(),
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "labels": {"app": "web"}},
                "data": {"key": "dmFsdWU="}, "type": "Opaque",
            })
        );
    }

    #[test]
    fn a_lease_with_times_and_a_zero_that_counts() {
        // LeaseSpec: holderIdentity 1, leaseDurationSeconds 2, acquireTime 3, leaseTransitions 5 = 0.
        let time = [vec![1 << 3], vec![0x80, 0xa8, 0xd6, 0xbb, 0x06], vec![2 << 3, 0xc0, 0x84, 0x3d]].concat();
        let spec = [part(1, b"me"), vec![2 << 3, 15], part(3, &time), vec![5 << 3, 0]].concat();
        let lease = [part(1, &part(1, b"l")), part(2, &spec)].concat();
        let decoded = decode(&body("Lease", &lease), "k8s.io.api.coordination.v1.Lease").unwrap();
        assert_eq!(
            decoded["spec"],
            json!({
                "holderIdentity": "me", "leaseDurationSeconds": 15, "leaseTransitions": 0,
                "acquireTime": Timestamp::new(1_735_758_848, 1_000_000).unwrap().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
            })
        );
    }

    #[test]
    fn rubbish_is_refused_wherever_it_is_cut() {
        let whole = body("Secret", &part(1, &part(1, b"s")));
        assert_eq!(decode(b"json", "x"), Err(ProtobufError::NoMagic));
        for cut in MAGIC.len() + 1..whole.len() {
            // Either it ends between two fields, or it is refused; it never panics.
            let _ = decode(&whole[..cut], "k8s.io.api.core.v1.Secret");
        }
        assert_eq!(decode(b"k8s\0\x0a\x7fx", "x"), Err(ProtobufError::Truncated));
    }

    #[test]
    fn every_message_that_is_referred_to_is_known() {
        for (name, fields) in messages() {
            for field in fields.values().filter(|field| field.kind.contains('.')) {
                assert!(messages().contains_key(&field.kind), "{name}.{}: {}", field.name, field.kind);
            }
        }
        assert!(messages().contains_key(DELETE_OPTIONS));
        for review in &crate::access::review::ALL {
            assert!(messages().contains_key(review.message), "{}", review.message);
        }
    }
}
