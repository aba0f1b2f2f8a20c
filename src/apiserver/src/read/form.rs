//! One object in the form that the client wants: itself, only its metadata, or a table's row.

use bytes::{BufMut, BytesMut};
use http::StatusCode;
use jiff::Timestamp;
use nubium_store::Object;
use serde_json::{Value, json};

use crate::computations::copying;
use crate::failure::Failure;
use crate::http::media::Form;
use crate::http::reply::Reply;
use crate::kind::Kind;
use crate::object::encode::{splice, splice_metadata, write_value};

/// What a table's row carries of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    None,
    Metadata,
    Object,
}

impl Include {
    pub fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            other => Err(Failure::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', \
                 'Object', 'None', or empty"
            ))),
        }
    }
}

/// How objects are shown in one answer.
pub(crate) struct Shape<'a> {
    pub kind: &'a Kind,
    pub form: &'a Form,
    pub include: Include,
    pub now: Timestamp,
}

fn broken(error: serde_json::Error) -> Failure {
    Failure::internal(format!("a stored object cannot be read: {error}"))
}

impl Shape<'_> {
    pub fn is_as_stored(&self, object: &Object) -> bool {
        *self.form == Form::Plain && self.kind.is_stored_as_served(object)
    }

    /// What it costs to show a stored object, in bytes of JSON worked on.
    pub fn cost(&self, object: &Object) -> usize {
        let bytes = object.value.len();
        let is_copied = self.is_as_stored(object) || matches!(self.form, Form::Metadata { .. });
        if is_copied { copying(bytes) } else { bytes }
    }

    /// Appends an item of a list, or a row of a table. Items of built-in kinds leave out what the list says already.
    pub fn write_item(&self, out: &mut BytesMut, object: &Object) -> Result<(), Failure> {
        match self.form {
            Form::Plain if self.is_as_stored(object) => splice(out, object, self.kind.is_custom()),
            Form::Plain => {
                let mut item = self.kind.read(object).map_err(broken)?;
                if !self.kind.is_custom()
                    && let Some(item) = item.as_object_mut()
                {
                    item.remove("apiVersion");
                    item.remove("kind");
                }
                write_value(out, &item);
            }
            Form::Metadata { version } => write_metadata(out, object, version),
            Form::Table { version } => self.write_row(out, object, version)?,
        }
        Ok(())
    }

    /// Appends a stored object as it is shown alone, spliced as it is if nothing has to be done to it.
    pub fn write_stored(&self, out: &mut BytesMut, object: &Object) -> Result<(), Failure> {
        match self.form {
            Form::Plain if self.is_as_stored(object) => splice(out, object, true),
            Form::Plain => write_value(out, &self.kind.read(object).map_err(broken)?),
            Form::Metadata { version } => write_metadata(out, object, version),
            Form::Table { version } => self.write_table(out, object, version, true)?,
        }
        Ok(())
    }

    /// Appends a table of one stored object, with its columns if `columns`.
    pub fn write_table(
        &self,
        out: &mut BytesMut,
        object: &Object,
        version: &str,
        columns: bool,
    ) -> Result<(), Failure> {
        let metadata = json!({"resourceVersion": object.modified.to_string()});
        let definitions = if columns { self.kind.columns.definitions() } else { Value::Null };
        begin_table(out, &metadata, &definitions, version);
        self.write_row(out, object, version)?;
        out.put_slice(b"]}");
        Ok(())
    }

    /// Appends a row of a table. Where the object is stored as it is served, only what the columns look at is read of it.
    fn write_row(&self, out: &mut BytesMut, object: &Object, version: &str) -> Result<(), Failure> {
        let columns = &self.kind.columns;
        let read = match self.kind.is_stored_as_served(object) {
            true => None,
            false => Some(self.kind.read(object).map_err(broken)?),
        };
        let cells = match &read {
            None => columns.cells_of_stored(object, self.now).map_err(broken)?,
            Some(object) => columns.cells(object, self.now),
        };
        out.put_slice(b"{\"cells\":");
        write_value(out, &Value::Array(cells));
        out.put_slice(b",\"object\":");
        match (self.include, read) {
            (Include::None, _) => out.put_slice(b"null"),
            (Include::Metadata, _) => write_metadata(out, object, version),
            (Include::Object, None) => splice(out, object, true),
            (Include::Object, Some(object)) => write_value(out, &object),
        }
        out.put_u8(b'}');
        Ok(())
    }

    /// An object as it is shown alone.
    fn shown(&self, object: Value) -> Value {
        match self.form {
            Form::Plain => object,
            Form::Metadata { version } => metadata_only(&object, version),
            Form::Table { version } => {
                let revision = &object["metadata"]["resourceVersion"];
                let metadata = if revision.is_string() { json!({"resourceVersion": revision}) } else { json!({}) };
                json!({
                    "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata,
                    "columnDefinitions": self.kind.columns.definitions(), "rows": [self.row(object, version)],
                })
            }
        }
    }

    /// A row of a table.
    fn row(&self, object: Value, version: &str) -> Value {
        let cells = self.kind.columns.cells(&object, self.now);
        match self.include {
            Include::None => json!({"cells": cells, "object": null}),
            Include::Metadata => json!({"cells": cells, "object": metadata_only(&object, version)}),
            Include::Object => json!({"cells": cells, "object": object}),
        }
    }

    /// An object as the whole answer.
    pub fn reply(&self, code: StatusCode, object: Value) -> Reply {
        Reply::value(code, &self.shown(object))
    }

    /// A stored object as the whole answer.
    pub fn reply_stored(&self, code: StatusCode, object: &Object) -> Result<Reply, Failure> {
        let mut out = BytesMut::new();
        self.write_stored(&mut out, object)?;
        Ok(Reply::json(code, out.freeze()))
    }
}

/// Appends a table up to its first row.
pub(crate) fn begin_table(out: &mut BytesMut, metadata: &Value, columns: &Value, version: &str) {
    let table = json!({
        "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata,
        "columnDefinitions": columns,
    });
    write_value(out, &table);
    out.truncate(out.len() - 1);
    out.put_slice(b",\"rows\":[");
}

/// Appends a stored object's metadata, spliced as it is: no version of a kind shows it differently.
fn write_metadata(out: &mut BytesMut, object: &Object, version: &str) {
    out.extend_from_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/");
    out.extend_from_slice(version.as_bytes());
    out.extend_from_slice(b"\",\"metadata\":");
    splice_metadata(out, object);
    out.extend_from_slice(b"}");
}

fn metadata_only(object: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object["metadata"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::encode;

    #[test]
    fn a_row_of_a_table_is_that_of_the_object_that_is_read() {
        let registry = crate::kind::registry();
        let snapshot = registry.snapshot();
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let form = Form::Table { version: "v1" };
        let metadata =
            json!({"name": "a", "uid": "u", "annotations": {"x": "}\"{"}, "creationTimestamp": "2026-01-01T00:00:00Z"});
        for (group, version, plural, of_kind, fields) in [
            ("", "v1", "configmaps", "ConfigMap", json!({"data": {"a": "1"}})),
            ("", "v1", "events", "Event", json!({"message": "m", "involvedObject": {"kind": "K", "name": "n"}})),
            // Stored in another form than it is served in.
            (
                "events.k8s.io",
                "v1",
                "events",
                "Event",
                json!({"message": "m", "involvedObject": {"kind": "K", "name": "n"}}),
            ),
        ] {
            let kind = snapshot.find(group, version, plural).unwrap();
            let mut object = json!({"apiVersion": "v1", "kind": of_kind, "metadata": metadata});
            object.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            // As it is stored.
            snapshot.find("", "v1", plural).unwrap().schema.default(&mut object);
            let stored = Object { key: "/k".into(), value: encode(&object), created: 1, modified: 77 };
            let read = kind.read(&stored).unwrap();
            let partial = metadata_only(&read, "v1");
            for (include, shown) in
                [(Include::None, Value::Null), (Include::Metadata, partial.clone()), (Include::Object, read.clone())]
            {
                let shape = Shape { kind, form: &form, include, now };
                let row = json!({"cells": kind.columns.cells(&read, now), "object": shown});
                let parsed = |out: &BytesMut| serde_json::from_slice::<Value>(out).unwrap();
                let mut out = BytesMut::new();
                shape.write_item(&mut out, &stored).unwrap();
                assert_eq!(parsed(&out), row, "{group} {plural}");
                out.clear();
                shape.write_stored(&mut out, &stored).unwrap();
                assert_eq!(parsed(&out), shape.shown(read.clone()), "{group} {plural}");
            }
        }
    }
}
