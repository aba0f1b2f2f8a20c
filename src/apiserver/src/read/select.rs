//! Which objects a client wants: label and field selectors, matched on an object's bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use nubium_schema::selector::{FieldSelector, LabelSelector};
use nubium_store::Object;
use parking_lot::Mutex;

use crate::failure::Failure;
use crate::http::options::Options;
use crate::kind::Kind;
use crate::object::scan;

/// What selectors ask of one state of an object: read from its bytes once, for all watches.
#[derive(Debug, Default)]
pub(crate) struct Index {
    labels: OnceLock<BTreeMap<String, String>>,
    /// Values by path. Few paths are selectable.
    fields: Mutex<Vec<(String, Option<String>)>>,
}

impl Index {
    fn field(&self, object: &Object, path: &str) -> Option<String> {
        let mut fields = self.fields.lock();
        if let Some((_, value)) = fields.iter().find(|(known, _)| known == path) {
            return value.clone();
        }
        let value = scan::scalar(&object.value, path);
        fields.push((path.to_owned(), value.clone()));
        value
    }

    fn label(&self, object: &Object, key: &str) -> Option<&str> {
        self.labels.get_or_init(|| scan::labels(&object.value)).get(key).map(String::as_str)
    }
}

/// Both selectors of a request.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    labels: LabelSelector,
    /// In the names that the stored form has.
    fields: FieldSelector,
}

impl Selection {
    pub fn parse(kind: &Kind, options: &Options) -> Result<Self, Failure> {
        let labels =
            LabelSelector::parse(&options.label_selector).map_err(|error| Failure::bad_request(error.to_string()))?;
        let mut fields =
            FieldSelector::parse(&options.field_selector).map_err(|error| Failure::bad_request(error.to_string()))?;
        for requirement in &mut fields.requirements {
            let field = requirement.field.as_str();
            let known = matches!(field, "metadata.name") || (kind.namespaced && field == "metadata.namespace");
            if !known && !kind.selectable.iter().any(|selectable| selectable == field) {
                return Err(Failure::bad_request(if kind.is_custom() || !kind.selectable.is_empty() {
                    format!("field label not supported: {field}")
                } else {
                    format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
                }));
            }
            requirement.field = stored_path(kind, field);
        }
        Ok(Self { labels, fields })
    }

    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// The name that a selected object must have, if the selector says one.
    pub fn only_name(&self) -> Option<&str> {
        self.fields.exact("metadata.name")
    }

    pub fn matches(&self, object: &Object) -> bool {
        let by_fields = self.fields.is_everything()
            || self.fields.matches(|field| scan::scalar(&object.value, field).map(Cow::Owned));
        if !by_fields || self.labels.is_everything() {
            return by_fields;
        }
        let labels = scan::labels(&object.value);
        self.labels.matches_with(|key| labels.get(key).map(String::as_str))
    }

    /// As [`Selection::matches`], with an index that others use too.
    pub fn matches_indexed(&self, object: &Object, index: &Index) -> bool {
        let by_fields =
            self.fields.is_everything() || self.fields.matches(|path| index.field(object, path).map(Cow::Owned));
        by_fields && (self.labels.is_everything() || self.labels.matches_with(|key| index.label(object, key)))
    }
}

/// Where the stored form has a field.
fn stored_path(kind: &Kind, field: &str) -> String {
    let (first, rest) = field.split_once('.').map_or((field, None), |(first, rest)| (first, Some(rest)));
    let stored = kind.storage.renames.iter().find(|(served, _)| served == first).map_or(first, |(_, stored)| stored);
    match (stored, rest) {
        // The one label that is no path: an event's source is its component.
        ("source", None) => "source.component".to_owned(),
        (stored, Some(rest)) => format!("{stored}.{rest}"),
        (stored, None) => stored.to_owned(),
    }
}
