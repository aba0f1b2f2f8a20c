//! One object in the form that the client wants: itself, only its metadata, or a table's row.

use bytes::BytesMut;
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

    /// Appends an item of a list. Those of built-in kinds leave out what the list says already.
    pub fn write_item(&self, out: &mut BytesMut, object: &Object) -> Result<(), Failure> {
        if self.is_as_stored(object) {
            splice(out, object, self.kind.is_custom());
            return Ok(());
        }
        if let Form::Metadata { version } = self.form {
            write_metadata(out, object, version);
            return Ok(());
        }
        let mut item = self.item(object)?;
        if !self.kind.is_custom()
            && *self.form == Form::Plain
            && let Some(item) = item.as_object_mut()
        {
            item.remove("apiVersion");
            item.remove("kind");
        }
        write_value(out, &item);
        Ok(())
    }

    /// Appends a stored object, spliced as it is if nothing has to be done to it.
    pub fn write_stored(&self, out: &mut BytesMut, object: &Object) -> Result<(), Failure> {
        if self.is_as_stored(object) {
            splice(out, object, true);
            return Ok(());
        }
        if let Form::Metadata { version } = self.form {
            write_metadata(out, object, version);
            return Ok(());
        }
        let value = self.kind.read(object).map_err(broken)?;
        write_value(out, &self.shown(value, true));
        Ok(())
    }

    /// An object as it is shown alone; of a table, with its columns if `columns`.
    pub fn shown(&self, object: Value, columns: bool) -> Value {
        match self.form {
            Form::Plain => object,
            Form::Metadata { version } => metadata_only(&object, version),
            Form::Table { version } => {
                let revision = &object["metadata"]["resourceVersion"];
                let metadata = if revision.is_string() { json!({"resourceVersion": revision}) } else { json!({}) };
                let definitions = if columns { self.kind.columns.definitions() } else { Value::Null };
                json!({
                    "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata,
                    "columnDefinitions": definitions, "rows": [self.row(object, version)],
                })
            }
        }
    }

    /// A row of a table.
    pub fn row(&self, object: Value, version: &str) -> Value {
        let cells = self.kind.columns.cells(&object, self.now);
        match self.include {
            Include::None => json!({"cells": cells, "object": null}),
            Include::Metadata => json!({"cells": cells, "object": metadata_only(&object, version)}),
            Include::Object => json!({"cells": cells, "object": object}),
        }
    }

    /// An object as the whole answer.
    pub fn reply(&self, code: StatusCode, object: Value) -> Reply {
        Reply::value(code, &self.shown(object, true))
    }

    /// A stored object as the whole answer.
    pub fn reply_stored(&self, code: StatusCode, object: &Object) -> Result<Reply, Failure> {
        let mut out = BytesMut::new();
        self.write_stored(&mut out, object)?;
        Ok(Reply::json(code, out.freeze()))
    }

    /// A list's row or item.
    pub fn item(&self, object: &Object) -> Result<Value, Failure> {
        let value = self.kind.read(object).map_err(broken)?;
        Ok(match self.form {
            Form::Plain => value,
            Form::Metadata { version } => metadata_only(&value, version),
            Form::Table { version } => self.row(value, version),
        })
    }
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
