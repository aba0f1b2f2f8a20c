//! The conversions between versions that the tests make up.

use std::borrow::Cow;

use nubium_schema::ownership::{
    merge::{ConvertError, Converter},
    typed::{Duplicates, Typed},
};
use serde_json::{Map, Value};

use super::{call::Call, schemas::Kinds};

pub struct Made<'c> {
    pub call: &'c Call,
    pub kinds: &'c Kinds,
}

impl Converter for Made<'_> {
    fn convert<'a>(&self, object: &'a Typed<'a>, version: &str) -> Result<Cow<'a, Typed<'a>>, ConvertError> {
        let missing = || ConvertError::NoSuchVersion(version.to_owned());
        let failed = |why: String| ConvertError::Failed { version: version.to_owned(), source: why.into() };
        let is = || self.kinds.name_of(object.ty()).to_owned();
        let named = |name: &str| self.kinds.named(name).ok_or_else(|| failed(format!("no type {name}")));
        let (value, ty) = match self.call.text("converter") {
            "*fixture.dummyConverter" => return Ok(Cow::Borrowed(object)),
            "*merge_test.specificVersionConverter" => {
                let versions = self.call.get("versions").as_array().unwrap();
                return if versions.iter().any(|one| one == version) {
                    Ok(Cow::Borrowed(object))
                } else {
                    Err(missing())
                };
            }
            "merge_test.renamingConverter" => (renamed(object.value(), &is(), version), named(version)?),
            "merge_test.repeatingConverter" => {
                let number = version.strip_prefix('v').and_then(|number| number.parse().ok()).ok_or_else(missing)?;
                (repeated_below_root(object.value(), number), object.ty().clone())
            }
            "merge_test.reliantFieldsConverter" if is() == version => return Ok(Cow::Borrowed(object)),
            "merge_test.reliantFieldsConverter" => (reliant(object.value(), version).map_err(failed)?, named(version)?),
            "merge_test.versionDoesntMatchTypenameConverter" => {
                let ty = version.replace('v', "TypeV");
                if is() == ty {
                    return Ok(Cow::Borrowed(object));
                }
                (reliant(object.value(), version).map_err(failed)?, named(&ty)?)
            }
            other => panic!("unknown converter {other}"),
        };
        let converted = Typed::new(Cow::Owned(value), ty, Duplicates::Refused);
        Ok(Cow::Owned(converted.map_err(|violations| failed(violations.to_string()))?))
    }
}

/// Fields that end in the one version end in the other.
fn renamed(value: &Value, from: &str, to: &str) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| {
                let name = name.strip_suffix(from).map_or(name.clone(), |stem| format!("{stem}{to}"));
                (name, renamed(value, from, to))
            });
            Value::Object(fields.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| renamed(item, from, to)).collect()),
        scalar => scalar.clone(),
    }
}

/// In version n, the names in the first field are their first letter n times; nothing but maps has values.
fn repeated_below_root(value: &Value, times: usize) -> Value {
    match value {
        Value::Object(fields) => {
            let first = fields.iter().take(1).map(|(name, value)| {
                let inside = value.as_object().is_some_and(|fields| !fields.is_empty());
                (name.clone(), if inside { repeated(value, times) } else { value.clone() })
            });
            Value::Object(first.collect())
        }
        other => other.clone(),
    }
}

fn repeated(value: &Value, times: usize) -> Value {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let fields = fields.iter().map(|(name, value)| (name[..1].repeat(times), repeated(value, times)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        _ => Value::Null,
    }
}

/// A field has another name in v2, and v1 cannot do without it.
fn reliant(value: &Value, version: &str) -> Result<Value, String> {
    let (v1, v2) = ("field_foo_rely_on_bar", "required_field_bar");
    let (from, to) = if version == "v1" { (v2, v1) } else { (v1, v2) };
    let mut fields = value.as_object().cloned().unwrap_or_default();
    match fields.remove(from) {
        Some(value) => {
            fields.insert(to.to_owned(), value);
        }
        None if version == "v1" => return Err("the required field is missing".to_owned()),
        None => {}
    }
    Ok(Value::Object(fields))
}
