//! OpenAPI v2 in protobuf: the messages of gnostic's `OpenAPIv2.proto`, which client-go asks for.
//!
//! The numbers below are that file's field numbers. Maps are lists of named values; what may be anything is JSON text,
//! which is YAML as well.

use serde_json::{Map, Value};

/// A message as it is written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            // Only the lowest seven bits.
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, message: Self) {
        self.bytes(field, &message.0);
    }

    fn text(&mut self, field: u64, value: Option<&Value>) {
        if let Some(text) = value.and_then(Value::as_str) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u64, value: Option<&Value>) {
        for text in value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn flag(&mut self, field: u64, value: Option<&Value>) {
        if value == Some(&Value::Bool(true)) {
            self.varint(field << 3);
            self.varint(1);
        }
    }

    fn integer(&mut self, field: u64, value: Option<&Value>) {
        if let Some(number) = value.and_then(Value::as_u64) {
            self.varint(field << 3);
            self.varint(number);
        }
    }

    fn double(&mut self, field: u64, value: Option<&Value>) {
        if let Some(number) = value.and_then(Value::as_f64) {
            self.varint(field << 3 | 1);
            self.0.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn any(&mut self, field: u64, value: &Value) {
        let mut any = Self::default();
        any.bytes(2, value.to_string().as_bytes());
        self.message(field, any);
    }

    /// One entry of a map.
    fn named(&mut self, field: u64, name: &str, value: Self) {
        let mut entry = Self::default();
        entry.bytes(1, name.as_bytes());
        entry.message(2, value);
        self.message(field, entry);
    }

    /// Every `x-` field.
    fn extensions(&mut self, field: u64, map: &Map<String, Value>) {
        for (name, value) in map.iter().filter(|(name, _)| name.starts_with("x-")) {
            let mut entry = Self::default();
            entry.bytes(1, name.as_bytes());
            entry.any(2, value);
            self.message(field, entry);
        }
    }
}

/// The fields of an object.
fn fields(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

/// A document in protobuf.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, document.get("swagger"));
    let mut info = Message::default();
    info.text(1, document["info"].get("title"));
    info.text(2, document["info"].get("version"));
    out.message(2, info);
    let mut paths = Message::default();
    for (path, item) in fields(document.get("paths")) {
        paths.named(2, path, path_item(item));
    }
    out.message(8, paths);
    out.message(9, named_schemas(document.get("definitions")));
    out.0
}

fn named_schemas(schemas: Option<&Value>) -> Message {
    let mut out = Message::default();
    for (name, value) in fields(schemas) {
        out.named(1, name, schema(value));
    }
    out
}

fn path_item(item: &Value) -> Message {
    let mut out = Message::default();
    for (field, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")] {
        if let Some(found) = item.get(method).and_then(Value::as_object) {
            out.message(field, operation(found));
        }
    }
    parameters(&mut out, 9, item.get("parameters"));
    out
}

fn operation(operation: &Map<String, Value>) -> Message {
    let mut out = Message::default();
    out.text(5, operation.get("operationId"));
    out.texts(6, operation.get("produces"));
    out.texts(7, operation.get("consumes"));
    parameters(&mut out, 8, operation.get("parameters"));
    let mut responses = Message::default();
    for (code, response) in fields(operation.get("responses")) {
        let mut item = Message::default();
        item.message(1, schema(&response["schema"]));
        let mut answer = Message::default();
        answer.text(1, response.get("description"));
        answer.message(2, item);
        let mut value = Message::default();
        value.message(1, answer);
        responses.named(1, code, value);
    }
    out.message(9, responses);
    out.extensions(13, operation);
    out
}

fn parameters(out: &mut Message, field: u64, parameters: Option<&Value>) {
    for parameter in parameters.and_then(Value::as_array).into_iter().flatten() {
        let mut item = Message::default();
        item.message(1, self::parameter(parameter));
        out.message(field, item);
    }
}

fn parameter(parameter: &Value) -> Message {
    let (mut out, mut inner) = (Message::default(), Message::default());
    let get = |name: &str| parameter.get(name);
    if get("in").and_then(Value::as_str) == Some("body") {
        inner.text(2, get("name"));
        inner.text(3, get("in"));
        inner.flag(4, get("required"));
        inner.message(5, schema(&parameter["schema"]));
        out.message(1, inner);
        return out;
    }
    let is_path = get("in").and_then(Value::as_str) == Some("path");
    inner.flag(1, get("required"));
    inner.text(2, get("in"));
    inner.text(4, get("name"));
    inner.text(6, get("type"));
    inner.flag(if is_path { 19 } else { 20 }, get("uniqueItems"));
    let mut by_place = Message::default();
    by_place.message(if is_path { 4 } else { 3 }, inner);
    out.message(2, by_place);
    out
}

fn schema(schema: &Value) -> Message {
    let mut out = Message::default();
    let Some(map) = schema.as_object() else { return out };
    let get = |name: &str| map.get(name);
    out.text(1, get("$ref"));
    out.text(2, get("format"));
    out.text(3, get("title"));
    out.text(4, get("description"));
    get("default").into_iter().for_each(|default| out.any(5, default));
    out.double(6, get("multipleOf"));
    out.double(7, get("maximum"));
    out.flag(8, get("exclusiveMaximum"));
    out.double(9, get("minimum"));
    out.flag(10, get("exclusiveMinimum"));
    out.integer(11, get("maxLength"));
    out.integer(12, get("minLength"));
    out.text(13, get("pattern"));
    out.integer(14, get("maxItems"));
    out.integer(15, get("minItems"));
    out.flag(16, get("uniqueItems"));
    out.integer(17, get("maxProperties"));
    out.integer(18, get("minProperties"));
    out.texts(19, get("required"));
    get("enum").and_then(Value::as_array).into_iter().flatten().for_each(|value| out.any(20, value));
    if let Some(additional) = get("additionalProperties") {
        let mut item = Message::default();
        match additional {
            Value::Bool(_) => item.flag(2, Some(additional)),
            below => item.message(1, self::schema(below)),
        }
        out.message(21, item);
    }
    if let Some(kind) = get("type").and_then(Value::as_str) {
        let mut item = Message::default();
        item.bytes(1, kind.as_bytes());
        out.message(22, item);
    }
    if let Some(items) = get("items") {
        let mut item = Message::default();
        item.message(1, self::schema(items));
        out.message(23, item);
    }
    if get("properties").is_some() {
        out.message(25, named_schemas(get("properties")));
    }
    out.extensions(31, map);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_by_its_field_numbers() {
        let encoded = schema(&json!({
            "type": "string", "maxLength": 300, "minimum": 1, "x-a": {"b": 1}, "description": "d", "uniqueItems": true,
        }));
        let want: Vec<u8> = [
            &[4 << 3 | 2, 1, b'd'][..],
            &[9 << 3 | 1, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f],
            &[11 << 3, 0xac, 0x02],
            &[0x80, 0x01, 1],                                               // 16 << 3
            &[0xb2, 0x01, 8, 0x0a, 6, b's', b't', b'r', b'i', b'n', b'g'],  // 22 << 3 | 2
            &[0xfa, 0x01, 16, 0x0a, 3, b'x', b'-', b'a', 0x12, 9, 0x12, 7], // 31 << 3 | 2
            br#"{"b":1}"#,
        ]
        .concat();
        assert_eq!(encoded.0, want);
    }
}
