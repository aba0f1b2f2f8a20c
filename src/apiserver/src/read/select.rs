//! Which objects a client wants: label and field selectors, matched on an object's bytes.

use std::borrow::Cow;

use nubium_schema::selector::{FieldSelector, LabelSelector};
use nubium_store::Object;

use crate::failure::Failure;
use crate::http::options::Options;
use crate::kind::Kind;
use crate::object::scan;

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
